# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Blocks of samples that operators compute with, in this process or on workers, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dask_workers import large_graphs, results_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastntk._support.dtypes import FloatArray
    from fastntk.distributed.samples import BlocksOfSamples

# So many results come here together: one by one, the way to the scheduler would take longest.
_AT_ONCE = 64


class _Later:
    """Samples of a block, which are read where they lie if they are needed."""

    def __init__(self, array: Any, block: int, count: int) -> None:
        self._array, self._block, self._count = array, block, count

    def __len__(self) -> int:
        return self._count

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> FloatArray:
        return np.asarray(self._array.blocks[self._block].compute(), dtype=dtype)


class BlocksHere:
    """Blocks of samples whose work is done in this process, one after the other.

    Parameters
    ----------
    kernel : object
        What all functions take first.
    samples : BlocksOfSamples
    """

    def __init__(self, kernel: Any, samples: BlocksOfSamples) -> None:
        self.keys, self._slices = samples.digests, samples.slices
        self._kernel, self._array = kernel, samples.array

    def samples(self, block: int) -> Any:
        """Return what stands for the samples of a block."""
        rows = self._slices[block]
        return _Later(self._array, block, rows.stop - rows.start)

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """Return what stands for a result of a function of the kernel and what is given."""
        return function(self._kernel, *given)

    def each(
        self, function: Callable[..., Any], blocks: Iterable[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Any]:
        """Yield what stands for the results of a function of some blocks, and what is given.

        It takes the kernel, and the digest and the samples of a block.
        """
        for block, given in blocks:
            yield function(self._kernel, self.keys[block], self.samples(block), *given)

    def shared(self, value: Any) -> Any:
        """Return what stands for a value that many calls are given."""
        return value

    def add(self, one: Any, other: Any) -> Any:
        """Return what stands for a sum."""
        return _sum(one, other)

    def results(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yield the results themselves, in their order."""
        yield from values


class BlocksOnWorkers(BlocksHere):
    """Blocks of samples on the workers of a client; futures stand for what is there."""

    def __init__(self, kernel: Any, samples: BlocksOfSamples, client: Any) -> None:
        # The kernel is the result of a task, and not scattered: it can be made again if a worker is
        # lost. So are samples.
        self._client = client
        super().__init__(self.shared(kernel), samples)
        with large_graphs():
            self._samples = [
                client.compute(self._array.blocks[block], **where)
                for block, where in enumerate(self._places())
            ]

    def _places(self) -> list[dict[str, Any]]:
        """Return on which worker each block is: neighbours on the same one, while it is there."""
        workers = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            return [{}] * len(self.keys)
        numbers = [block * len(workers) // len(self.keys) for block in range(len(self.keys))]
        return [{"workers": [workers[i]], "allow_other_workers": True} for i in numbers]

    def samples(self, block: int) -> Any:
        """Return the future of the samples of a block."""
        return self._samples[block]

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """Return the future of a function, wherever there is a worker without work."""
        with large_graphs():
            return self._client.submit(function, self._kernel, *given, pure=False)

    def each(
        self, function: Callable[..., Any], blocks: Iterable[tuple[int, tuple[Any, ...]]]
    ) -> Iterator[Any]:
        """Yield futures of a function of some blocks, each where the block is."""
        places = self._places()
        for block, given in blocks:
            task = self._kernel, self.keys[block], self._samples[block], *given
            with large_graphs():
                future = self._client.submit(function, *task, pure=False, **places[block])
            yield future

    def shared(self, value: Any) -> Any:
        """Return the future of a value, which goes to each worker once."""
        with large_graphs():
            return self._client.submit(_same, value, pure=False)

    def add(self, one: Any, other: Any) -> Any:
        """Return the future of a sum."""
        return self._client.submit(_sum, one, other, pure=False)

    def results(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yield the results of futures, all of which work before the first is waited for.

        Workers forget what has come.
        """
        waiting = list(values)
        while waiting:
            found = results_of(self._client, waiting[:_AT_ONCE])
            del waiting[:_AT_ONCE]
            yield from found


def blocks_of(kernel: Any, samples: BlocksOfSamples, client: Any) -> BlocksHere:
    """Return the blocks on the workers of a client, or here for None."""
    return (
        BlocksHere(kernel, samples) if client is None else BlocksOnWorkers(kernel, samples, client)
    )


def take(kernel: Any, key: str, X: Any, places: Any) -> FloatArray:  # noqa: ARG001
    """Return some of the samples of a block; a function for `each`."""
    return np.ascontiguousarray(np.asarray(X)[places])


def _same(value: Any) -> Any:
    return value


def _sum(one: Any, other: Any) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        return one + other
