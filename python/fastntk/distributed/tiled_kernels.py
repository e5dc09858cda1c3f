# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels as all tiles of a computation share them: what is computed of a tile, and how."""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastntk._support.dask_workers import aligned, share_of_threads
from fastntk._support.digests import sha256
from fastntk._support.worker_memory import KEPT
from fastntk.distributed.networks import finite_identity, infinite_identity
from fastntk.infinite.kernel_parts import KernelParts
from fastntk.infinite.sample_norms import Samples
from fastntk.kernels.destinations import new_kernels
from fastntk.kernels.features import Features
from fastntk.kernels.parts import kernel_part
from fastntk.kernels.planning import plan
from fastntk.kernels.request import KernelRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.distributed.samples import BlocksOfSamples
    from fastntk.infinite.sample_norms import Norms
    from fastntk.infinite.several_depths import SeveralDepths
    from fastntk.kernels.request import Split
    from fastntk.networks.any_network import AnyNetwork

# So many samples the rate of pairs is measured with, at infinite width.
_CALIBRATION_ROWS = 1024

OUTPUTS = ("trace", "diagonal", "full")


@dataclass(frozen=True)
class TilePlace:
    """Where a tile lies, and which samples it is made of.

    Attributes
    ----------
    rows, columns : slice
        Where it lies.
    first : tuple of int
        With which samples the blocks of X and of the columns begin that it is given.
    needed : tuple of slice
        The samples of X, and of the columns, that it is made of.
    keys : tuple of str
        The digests of these blocks.
    diagonal : bool
        Whether rows and columns are the same samples.
    """

    rows: slice
    columns: slice
    first: tuple[int, int]
    needed: tuple[slice, slice]
    keys: tuple[str, str]
    diagonal: bool


class TiledKernel(ABC):
    """One kernel, or several in a common array, for tasks of Dask: it can be pickled.

    Attributes
    ----------
    name : str
        Which kernel.
    dtype : dtype
        Its precision.
    """

    name: str
    dtype: FloatDType

    @property
    @abstractmethod
    def before(self) -> tuple[int, ...]:
        """The sizes of its array before those of the rows and columns."""

    @property
    @abstractmethod
    def after(self) -> tuple[int, ...]:
        """The sizes of its array after those of the rows and columns."""

    @property
    def mirror(self) -> tuple[int, ...]:
        """The axes of a tile in the order of its mirror image."""
        row, pair = len(self.before), list(range(len(self.after)))[::-1]
        # Of two outputs, which stand for rows and columns as the samples do, it is the other one.
        return (*range(row), row + 1, row, *(row + 2 + axis for axis in pair))

    @cached_property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that decides the numbers, but for the samples; for JSON."""

    @property
    def digest(self) -> str:
        """What tells it from all other kernels."""
        return sha256(json.dumps(self.settings, sort_keys=True))

    @property
    def bytes_of_pair(self) -> int:
        """The memory of the elements of a pair of samples."""
        count = int(np.prod((*self.before, *self.after), dtype=np.int64))
        return count * self.dtype.itemsize

    @property
    @abstractmethod
    def network_bytes(self) -> int:
        """The memory of what all tiles share."""

    @abstractmethod
    def seconds(self, samples: int, others: int | None) -> float:
        """Return the time for samples with themselves, or with others, of one process.

        From rates that are measured just now.
        """

    @abstractmethod
    def feature_bytes(self, samples: int) -> int:
        """Return the memory of what a worker keeps of so many samples."""

    @abstractmethod
    def require_in_range(self, X: BlocksOfSamples, Z: BlocksOfSamples | None) -> None:
        """Raise OverflowError or ValueError, before the work, for what cannot succeed."""

    def needed(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return the samples that a tile is made of: by default its own."""
        return rows, columns

    def tile(self, place: TilePlace, X: list[FloatArray], Z: list[FloatArray]) -> FloatArray:
        """Return a tile, from the blocks of samples that it is made of; it runs on a worker."""
        given = [
            joined(blocks)[needed.start - first : needed.stop - first]
            for blocks, needed, first in zip((X, Z), place.needed, place.first, strict=True)
        ]
        try:
            with share_of_threads():
                return self._tile(place, given[0], given[1])
        except OverflowError as error:
            rows, columns = place.rows, place.columns
            raise OverflowError(
                f"the tile of rows {rows.start} to {rows.stop - 1} and columns {columns.start} to "
                f"{columns.stop - 1}, counted from its first: {error}"
            ) from None

    @abstractmethod
    def _tile(self, place: TilePlace, X: FloatArray, Z: FloatArray) -> FloatArray: ...


def joined(blocks: list[FloatArray]) -> FloatArray:
    """Return the samples of neighbouring blocks."""
    return aligned(blocks[0]) if len(blocks) == 1 else np.concatenate(blocks)


@contextmanager
def numbered(places: Sequence[int] | NDArray[np.intp], name: str = "X") -> Iterator[None]:
    """Name samples in errors by their places among all, of which some were looked at."""
    try:
        yield
    except (OverflowError, ValueError) as error:
        message = re.sub(
            rf"^{name}\[(\d+)\]",
            lambda found: f"{name}[{places[int(found[1])]}]",
            str(error),
        )
        raise type(error)(message) from None


@dataclass(frozen=True)
class FiniteKernel(TiledKernel):
    """Tangent kernels of a network of finite width.

    Attributes
    ----------
    network : AnyNetwork
        With the ω of its layers.
    outputs, split, dtype
        As in `KernelRequest`.
    """

    network: AnyNetwork
    outputs: str | int
    split: Split | None
    dtype: FloatDType

    name: ClassVar[str] = "ntk"  # type: ignore[misc]

    @cached_property
    def _precise(self) -> AnyNetwork:
        """The network in the precision of the passes, which all tiles of a worker share."""
        more = self.dtype.itemsize > self.network.dtype.itemsize
        return self.network.with_dtype(self.dtype) if more else self.network

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels: not what each worker makes for itself."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def request(self, X: Any, Z: Any = None) -> KernelRequest:
        """Return the request for the kernels of some samples."""
        return KernelRequest.checked(
            self._precise,
            X,
            Z,
            outputs=self.outputs,
            names=OUTPUTS if self.split is None else ("trace",),
            split=self.split,
            dtype=self.dtype,
        )

    @cached_property
    def _empty(self) -> KernelRequest:
        return self.request(np.zeros((1, self.network.input_width)))

    @property
    def before(self) -> tuple[int, ...]:
        """The layers, if they are split; the depths, if the network has several readouts."""
        several = self._empty.split == "none" and self._empty.count > 1
        return (self._empty.count,) if self._empty.split == "layers" or several else ()

    @property
    def after(self) -> tuple[int, ...]:
        """The outputs, or pairs of them, if they are split."""
        outputs = len(self._empty.outputs)
        return {"outputs": (outputs,), "output_pairs": (outputs, outputs)}.get(
            self._empty.split, ()
        )

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides the numbers, but for the samples; for JSON."""
        return {
            "kernel": "ntk by layer" if self.split == "layers" else "ntk",
            "network": finite_identity(self.network),
            "outputs": self.outputs,
            "dtype": self.dtype.name,
        }

    @property
    def network_bytes(self) -> int:
        """The memory of what all tiles share."""
        return 8 * self.network.n_parameters

    def seconds(self, samples: int, others: int | None) -> float:
        """Return the time for samples with themselves, or with others, of one process."""
        X, Z = (
            None if count is None else np.broadcast_to(0.0, (count, self.network.input_width))
            for count in (samples, others)
        )
        assert X is not None
        return plan(self.network.with_dtype(self.dtype), X, Z).seconds

    def feature_bytes(self, samples: int) -> int:
        """Return the memory of what a worker keeps of so many samples."""
        return self._empty.feature_bytes(samples)

    def require_in_range(self, X: BlocksOfSamples, Z: BlocksOfSamples | None) -> None:
        """Raise an error, before the work, for what cannot succeed."""
        with numbered(X.places):
            new_kernels(self.request(X.largest, None if Z is None else Z.largest), progress=False)

    def _tile(self, place: TilePlace, X: FloatArray, Z: FloatArray) -> FloatArray:
        request = self.request(X, None if place.diagonal else Z)
        features = None
        if request.single:
            x = self.features(request, request.X, place.keys[0])
            z = x if place.diagonal else self.features(request, request.Z, place.keys[1])
            features = x, z
        kernels = kernel_part(request, features)
        if self.before:
            return kernels
        count = len(request.outputs)
        if request.split == "output_pairs":
            pairs = kernels.reshape(count, count, *request.shape)
            return np.ascontiguousarray(pairs.transpose(2, 3, 0, 1))
        if request.split == "outputs":
            return np.ascontiguousarray(kernels.transpose(1, 2, 0))
        kernel: FloatArray = kernels[0]
        return kernel

    def features(self, request: KernelRequest, samples: FloatArray, key: str) -> Features:
        """Return the features of a block of samples of this digest, which this worker keeps."""
        features: Features = KEPT.get(
            (self.digest, key),
            request.feature_bytes(len(samples)),
            lambda: Features(request.network, samples, request.outputs, request.dtype),
        )
        return features


def factor_bytes(network: SeveralDepths, samples: int) -> int:
    """Return the memory of what so many samples bring into the recursion at infinite width."""
    # Of each layer five factors, a size, and what the duals hold: about as much again.
    return 8 * samples * (16 * network.layer_count + 8)


@dataclass(frozen=True)
class InfiniteKernel(TiledKernel):
    """A kernel of a network of infinite width, of samples whose norms are known.

    Attributes
    ----------
    network : SeveralDepths
    name : str
        "nngp" or "ntk".
    normalize : bool
    dtype : dtype
    X, Z : Norms
        Of all samples; Z is None for the kernel of X with itself.
    samples : str
        The digest of all samples.
    """

    network: SeveralDepths
    name: str
    normalize: bool
    dtype: FloatDType
    X: Norms
    Z: Norms | None
    samples: str

    @property
    def before(self) -> tuple[int, ...]:
        """The depths, if there are several."""
        depth = self.network.depth
        return (len(depth),) if isinstance(depth, tuple) else ()

    @property
    def after(self) -> tuple[int, ...]:
        """Nothing."""
        return ()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides the numbers, but for the samples; for JSON."""
        return {
            "kernel": f"infinite {self.name}",
            "network": infinite_identity(self.network),
            "normalize": self.normalize,
            "dtype": self.dtype.name,
        }

    @property
    def network_bytes(self) -> int:
        """The memory of what all tiles share."""
        return 24 * (len(self.X) + (0 if self.Z is None else len(self.Z)))

    def seconds(self, samples: int, others: int | None) -> float:
        """Return the time for samples with themselves, or with others, of one process.

        Random samples with some of the norms take as long as these: a kernel of samples of one norm
        has a simpler recursion than others.
        """
        count = min(samples, _CALIBRATION_ROWS)
        norms = np.ldexp(self.X.significands[:count], self.X.exponents[:count])
        rows = np.random.default_rng(0).standard_normal((2, count, self.X.dimension))
        rows *= (norms / np.linalg.norm(rows, axis=2))[..., np.newaxis]
        X, Z = rows.astype(self.dtype)
        parts = KernelParts.of(
            self.network,
            (self.name,),
            Samples.of(X),
            Samples.of(Z),
            self.dtype,
            normalize=self.normalize,
        )
        whole, spent = slice(0, count), []
        for _ in range(3):
            began = time.perf_counter()
            parts.part(whole, whole, X, Z)
            spent.append(time.perf_counter() - began)
        pairs = samples * (samples + 1) / 2 if others is None else samples * others
        return min(spent) * pairs / count**2

    def feature_bytes(self, samples: int) -> int:
        """Return the memory of what a worker keeps of so many samples."""
        return factor_bytes(self.network, samples)

    def require_in_range(self, X: BlocksOfSamples, Z: BlocksOfSamples | None) -> None:  # noqa: ARG002
        """Raise an error, before the work, for what cannot succeed."""
        self.parts()

    def needed(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return the samples that a tile is made of: those of whole tiles of the library's own."""
        return self.parts().needed(rows, columns)

    def parts(self) -> KernelParts:
        """Return what tiles are made by, which this worker keeps; no sample is at hand in it."""
        parts: KernelParts = KEPT.get(
            (self.digest, self.samples),
            self.feature_bytes(len(self.X) + (0 if self.Z is None else len(self.Z))),
            lambda: KernelParts.of(
                self.network,
                (self.name,),
                Samples.unseen(self.X),
                None if self.Z is None else Samples.unseen(self.Z),
                self.dtype,
                normalize=self.normalize,
            ),
        )
        return parts

    def _tile(self, place: TilePlace, X: FloatArray, Z: FloatArray) -> FloatArray:
        return self.parts().part(place.rows, place.columns, X, Z)
