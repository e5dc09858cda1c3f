# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The one loop over the blocks of kernels, whatever they are computed from and wherever they go.

There are three ways to compute a block, in the order of preference:

- in a single call of the core, if it is the only block or if the core is to split its kernels by
  layers or outputs: from the samples, whose features are let go again;
- from the features of all samples, held while the loop runs, if there is memory for them;
- from features that are computed anew, those of the rows once for a row of blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastntk._support.progress import monitored
from fastntk.kernels.block_sizes import (
    block_rows,
    features_fit_beside_blocks,
    row_slices,
    samples_that_fit,
)
from fastntk.kernels.features import Features
from fastntk.kernels.ranges import KernelRanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastntk._support.progress import Monitor, Progress
    from fastntk.kernels.request import KernelRequest


@dataclass(frozen=True)
class KernelBlock:
    """A block of the kernels of a request; nothing is computed before it is filled.

    Attributes
    ----------
    rows, cols : slice
        Where it lies.
    mirrored : bool
        Whether its mirror image belongs to the kernels too, and is no block of the loop.
    """

    rows: slice
    cols: slice
    mirrored: bool
    _source: _Source
    _ranges: KernelRanges

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    def fill(self, outs: Sequence[Any], monitor: Monitor | None = None) -> None:
        """Fill matrices, one for each kernel, of the request's place or of NumPy.

        Raises
        ------
        OverflowError
            If the kernels leave the range of their numbers, or with the last of their blocks none
            of them was within.
        """
        self._source.fill(self.rows, self.cols, outs, monitor)
        self._ranges.look_at(self.rows, self.cols, outs)


class BlockLoop:
    """The blocks of the kernels that are asked for: without Z those on and below the diagonal."""

    def __init__(
        self,
        request: KernelRequest,
        rows: Sequence[slice],
        cols: Sequence[slice],
        *,
        hold_features: bool,
    ) -> None:
        self._request = request
        self._blocks = [
            (row, col)
            for row in rows
            for col in cols
            if not request.symmetric or col.start <= row.start
        ]
        self._hold_features = hold_features

    @classmethod
    def whole(cls, request: KernelRequest) -> BlockLoop:
        """Return the loop of a single block, whose memory has been seen to."""
        rows, cols = request.shape
        return cls(request, [slice(0, rows)], [slice(0, cols)], hold_features=True)

    @classmethod
    def within_memory(
        cls,
        request: KernelRequest,
        *,
        kept: int = 0,
        cut: Callable[[int, int], Sequence[slice]] = row_slices,
    ) -> BlockLoop:
        """Return blocks that fit in memory, of which `kept` bytes are used for something else.

        `cut` makes slices of at most so many rows of a number of rows.
        """
        memory = request.place.available_memory()
        room = None if memory is None else memory - kept
        size = block_rows(request, room)
        rows, cols = (cut(count, size) for count in request.shape)
        if len(rows) == len(cols) == 1:
            request.require_feature_memory()
        held = features_fit_beside_blocks(request, room)
        return cls(request, rows, cols, hold_features=held)

    @classmethod
    def of_size(cls, request: KernelRequest, size: int) -> BlockLoop:
        """Return blocks of so many rows and columns, which nobody keeps."""
        rows, cols = (row_slices(count, size) for count in request.shape)
        held = samples_that_fit(request) == request.samples
        if len(rows) == len(cols) == 1:
            request.require_feature_memory()
        return cls(request, rows, cols, hold_features=held)

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[KernelBlock]:
        request = self._request
        source: _Source
        if len(self) == 1 or not request.single:
            source = _FromSamples(request)
        elif self._hold_features:
            source = _FromHeldFeatures(request)
        else:
            source = _FromFeaturesOfBlocks(request)
        ranges = KernelRanges(request)
        for rows, cols in self._blocks:
            mirrored = request.symmetric and rows != cols
            yield KernelBlock(rows, cols, mirrored, source, ranges)

    def run(self, destination: Destination, progress: Progress, what: str = "kernel") -> None:
        """Hand every block to a destination; a single block shows the progress of the core."""
        with monitored(progress, what) as monitor:
            single = len(self) == 1
            for done, block in enumerate(self, start=1):
                destination.put(block, monitor if single else None)
                if monitor is not None and not single:
                    monitor("blocks", done, len(self))


class Destination(ABC):
    """Where kernels go, block by block."""

    @abstractmethod
    def put(self, block: KernelBlock, monitor: Monitor | None) -> None:
        """Compute a block, and keep of it what is wanted."""


class _Source(ABC):
    """What blocks are computed from."""

    def __init__(self, request: KernelRequest) -> None:
        self._request = request

    @abstractmethod
    def fill(self, rows: slice, cols: slice, outs: Sequence[Any], monitor: Monitor | None) -> None:
        """Fill one matrix for each kernel with the block of these rows and columns."""


class _FromSamples(_Source):
    def fill(self, rows: slice, cols: slice, outs: Sequence[Any], monitor: Monitor | None) -> None:
        request = self._request
        network, outputs = request.network, (request.outputs.start, len(request.outputs))
        X = request.X[rows]
        Z = None if request.symmetric and rows == cols else request.columns[cols]
        request.place.fill(
            outs,
            lambda matrices, where: request.place.core.ntk(
                network.handle, outputs, request.split, X, Z, matrices, where, monitor
            ),
        )


class _FromHeldFeatures(_Source):
    def __init__(self, request: KernelRequest) -> None:
        super().__init__(request)
        self._x = _features(request, request.X)
        self._z = self._x if request.symmetric else _features(request, request.Z)

    def fill(self, rows: slice, cols: slice, outs: Sequence[Any], monitor: Monitor | None) -> None:
        self._x.fill_kernel(self._z, rows, cols, outs[0], monitor)


class _FromFeaturesOfBlocks(_Source):
    def __init__(self, request: KernelRequest) -> None:
        super().__init__(request)
        self._rows: slice | None = None
        self._x: Features | None = None

    def fill(self, rows: slice, cols: slice, outs: Sequence[Any], monitor: Monitor | None) -> None:
        request = self._request
        if self._x is None or rows != self._rows:
            self._x = None  # before there are others
            self._x, self._rows = _features(request, request.X[rows]), rows
        same = request.symmetric and rows == cols
        z = self._x if same else _features(request, request.columns[cols])
        self._x.fill_kernel(z, slice(0, len(self._x)), slice(0, len(z)), outs[0], monitor)


def _features(request: KernelRequest, samples: Any) -> Features:
    return Features(request.network, samples, request.outputs, request.dtype)
