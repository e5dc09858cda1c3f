# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The processor, where arrays of NumPy are the core's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support import memory
from fastntk._support.threads import core_threads
from fastntk.devices import matrices
from fastntk.devices.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from fastntk._support.dtypes import FloatArray, FloatDType


class HostArrays(Place):
    """Any place that takes and returns arrays of NumPy."""

    @property
    def xp(self) -> Any:
        """NumPy."""
        return np

    def array(self, values: Any, name: str) -> Any:
        """Return an array of NumPy."""
        return matrices.host_array(values, name)

    def matrix(self, values: Any, name: str, dtype: FloatDType, *, given: Any = None) -> Any:
        """Return a contiguous matrix of NumPy whose elements are finite."""
        return matrices.matrix(values, name, dtype, given=given)

    def host_array(self, values: Any, name: str) -> FloatArray:
        """Return an array of any numbers."""
        return matrices.host_array(values, name)


class _Processor(HostArrays):
    core = _core
    device = "cpu"

    def __reduce__(self) -> str:
        return "PROCESSOR"  # of which there is one

    def working(self) -> AbstractContextManager[int]:
        return core_threads()

    @property
    def for_questions(self) -> int:
        return 1

    def samples(
        self, values: Any, name: str, dtype: FloatDType, *, columns: int | None = None
    ) -> Any:
        return matrices.samples(values, name, dtype, columns=columns)

    def from_host(self, matrix: FloatArray) -> Any:
        return matrix

    def for_core(self, matrix: Any) -> Any:
        return matrix

    def fill(self, outs: Sequence[Any], work: Callable[[list[Any], Any], Any]) -> None:
        # The core writes contiguous arrays only.
        contiguous = [
            out if out.flags.c_contiguous else np.empty(out.shape, dtype=out.dtype) for out in outs
        ]
        with self.working() as threads:
            work(contiguous, threads)
        for out, written in zip(outs, contiguous, strict=True):
            if written is not out:
                out[...] = written

    def on_host(self, samples: Any) -> FloatArray:
        array: FloatArray = samples
        return array

    def take(self, samples: Any, rows: Any) -> Any:
        return samples[rows]

    def available_memory(self) -> int | None:
        return memory.available_memory()

    def require_memory(self, needed: int, what: str, instead: str) -> None:
        memory.require_memory(needed, what, instead)


PROCESSOR: Place = _Processor()
