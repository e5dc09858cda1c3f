# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples in blocks of rows, wherever they lie, looked at once before the work begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support import arguments
from fastntk._support.digests import sha256
from fastntk.devices import matrices
from fastntk.distributed.requirements import dask, dask_array
from fastntk.infinite.sample_norms import Samples
from fastntk.kernels.block_sizes import row_slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.infinite.sample_norms import Norms

# So many samples of each block, those with the largest elements, come back to who asks: kernels
# that leave the range of their numbers do so there first.
_LARGEST = 4


class _Seen(NamedTuple):
    """What was seen of a block of samples."""

    digest: str
    bad: tuple[int, int, str, int] | None
    sizes: NDArray[np.float64]
    places: NDArray[np.intp]
    largest: FloatArray
    norms: Norms


@dataclass(frozen=True)
class BlocksOfSamples:
    """Samples (n, d) in blocks of rows, all of them finite.

    Attributes
    ----------
    array : dask.array.Array
        The samples, one block of columns.
    dtype : dtype
        The precision that they are worked on in, float32 or float64.
    slices : list of slice
        The rows of each block.
    digests : tuple of str
        Of each block: its numbers in that precision, and its shape.
    places, largest : ndarray (k,), (k, d)
        The samples with the largest elements.
    norms : Norms
        Of all samples.
    here : ndarray (n, d) or None
        The samples, if they are in the memory of this process.
    """

    array: Any
    dtype: FloatDType
    slices: list[slice]
    digests: tuple[str, ...]
    places: NDArray[np.intp]
    largest: FloatArray
    norms: Norms
    here: FloatArray | None = None

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def __getitem__(self, places: NDArray[np.intp]) -> FloatArray:
        """Return some of the samples; what lies elsewhere comes here."""
        if self.here is not None:
            return self.here[places]
        return np.asarray(self.array[places].compute())

    @property
    def digest(self) -> str:
        """The digest of all samples, in blocks of this size."""
        return sha256("\0".join(self.digests))

    def blocks(self, rows: slice) -> list[int]:
        """Return the numbers of the blocks that have some of these rows."""
        return [
            number
            for number, each in enumerate(self.slices)
            if each.start < rows.stop and rows.start < each.stop
        ]

    @classmethod
    def of(
        cls,
        given: Any,
        name: str,
        size: int,
        dtype: FloatDType | None,
        *,
        columns: int | None = None,
        why: str = "one for each input",
    ) -> BlocksOfSamples:
        """Check samples and cut them into blocks of `size` rows.

        Parameters
        ----------
        given : array_like, dask.array.Array or zarr.Array
            What is in memory is cut here; all other samples are read block by block where the
            computations of Dask take place, once for this look at them.
        name : str
            The argument.
        size : int
            Rows of a block.
        dtype : dtype or None
            The precision, by default that of the samples.
        columns : int, optional
            The number of inputs, which `why` explains.

        Raises
        ------
        ValueError, TypeError
            With the place of the first element that is not finite.
        """
        array, floats = _elsewhere(given, name), None
        if array is None:
            floats = matrices.samples(given, name, dtype, columns=columns, why=why)
            slices = row_slices(len(floats), size)
            seen = [_look_at(floats[rows], floats.dtype.name) for rows in slices]
            array = dask_array().from_array(floats, chunks=(size, -1))
            kind = floats.dtype
        else:
            matrices.require_columns(array.shape, name, columns, why)
            kind = np.dtype(dtype or (array.dtype if array.dtype == np.float32 else np.float64))
            array = array.rechunk((size, -1))
            slices = row_slices(array.shape[0], size)
            look = dask().delayed(_look_at)
            seen = list(
                dask().compute(*[look(block, kind.name) for block in array.to_delayed()[:, 0]])
            )
            array = array.astype(kind)
        _require_finite(seen, slices, name, kind)
        places = np.concatenate(
            [each.places + rows.start for each, rows in zip(seen, slices, strict=True)]
        )
        first = np.argsort(-np.concatenate([each.sizes for each in seen]), kind="stable")[:_LARGEST]
        norms = seen[0].norms
        if len(seen) > 1:
            norms = type(norms).joined([each.norms for each in seen])
        return cls(
            array,
            kind,
            slices,
            tuple(each.digest for each in seen),
            places[first],
            np.concatenate([each.largest for each in seen])[first],
            norms,
            floats,
        )


def _elsewhere(given: Any, name: str) -> Any:
    """Return samples of Dask or zarr as an array of Dask, checked; None for all others."""
    module = type(given).__module__.partition(".")[0]
    if module == "zarr":
        array = dask_array().from_zarr(given)
    elif module == "dask":
        array = given
    else:
        return None
    shape = getattr(array, "shape", None)
    if not isinstance(array, dask_array().Array) or shape is None:
        raise TypeError(f"{name}={arguments.shown(given)}: expected an array")
    if any(isinstance(length, float) for length in shape):
        raise ValueError(
            f"{name} has shape {shape}: expected known numbers of rows and columns; see "
            "compute_chunk_sizes of Dask"
        )
    if len(shape) != 2:
        raise ValueError(f"{name} has shape {shape}: expected a matrix, one sample a row")
    if 0 in shape:
        raise ValueError(f"{name} has shape {shape}: expected at least one row and column")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}: expected real numbers")
    return array


def _look_at(block: Any, dtype: str) -> _Seen:
    """Return what is to be known of a block; it runs on a worker."""
    given = np.asarray(block)
    floats = matrices.as_floats(given, "X", np.dtype(dtype))
    finite = np.isfinite(floats)
    bad = None
    if not finite.all():
        i, j = (int(k) for k in np.argwhere(~finite)[0])
        bad = i, j, arguments.shown(given[i, j]), int(finite.size - np.count_nonzero(finite))
        floats = np.where(finite, floats, 0)
    sizes = np.abs(floats).max(axis=1).astype(np.float64)
    places = np.argsort(-sizes, kind="stable")[:_LARGEST]
    digest = sha256(f"{floats.dtype.name} {floats.shape} ", floats)
    return _Seen(digest, bad, sizes[places], places, floats[places], Samples.of(floats).norms)


def _require_finite(seen: list[_Seen], slices: list[slice], name: str, dtype: FloatDType) -> None:
    found = [(rows, each.bad) for rows, each in zip(slices, seen, strict=True) if each.bad]
    if not found:
        return
    rows, first = found[0]
    assert first is not None
    i, j, value, _ = first
    count = sum(bad[3] for _, bad in found if bad is not None)
    raise ValueError(
        f"{name}[{rows.start + i}, {j}]={value}: expected numbers that are finite in {dtype} "
        f"({count} are not, in {len(found)} of {len(seen)} blocks)"
    )
