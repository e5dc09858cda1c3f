# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a computation runs, and where its arrays lie: what every such place offers.

There are three places. On the processor (`devices.processor`), arrays of NumPy are the core's own.
On a GPU (`devices.gpu`), the arrays are either there already, and results are arrays of CuPy; or
they are NumPy's, and what the core reads and writes are copies of them. The core has the same
functions for all of them (`Place.core`). `devices.places` finds the place for given arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import fastntk._core as _core
from fastntk._support import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from fastntk._support.dtypes import FloatArray, FloatDType


class Place(ABC):
    """Where the core computes.

    Attributes
    ----------
    core : module
        The functions and classes of the core. They take arrays as `samples`, `for_core` and `fill`
        hand them out: of NumPy, or a `DeviceArray`.
    device : str
        By which `place_of` finds it: "cpu", "cuda:0", …
    copies_results : bool
        Whether the core writes into other memory than that of the arrays that are returned.
    """

    core: Any
    device: str
    copies_results = False

    @property
    @abstractmethod
    def xp(self) -> Any:
        """The module of the arrays that are taken and returned: NumPy or CuPy."""

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.core is not _core

    @abstractmethod
    def working(self) -> AbstractContextManager[Any]:
        """Enter where the core computes; yields what its functions take for it."""

    @property
    @abstractmethod
    def for_questions(self) -> Any:
        """What the core's functions take for it where they compute nothing, and have no threads."""

    @abstractmethod
    def array(self, values: Any, name: str) -> Any:
        """Return an array of `xp`."""

    @abstractmethod
    def matrix(self, values: Any, name: str, dtype: FloatDType, *, given: Any = None) -> Any:
        """Return a contiguous matrix of `xp` whose elements are finite.

        `given` is the array of `xp` that the user gave, if `values` are it in another shape.
        """

    @abstractmethod
    def samples(
        self, values: Any, name: str, dtype: FloatDType, *, columns: int | None = None
    ) -> Any:
        """Return samples, one a row, for the core: checked, with length, shape and slices."""

    @abstractmethod
    def host_array(self, values: Any, name: str) -> FloatArray:
        """Return an array of any numbers as one of NumPy, to look at before it is computed with."""

    @abstractmethod
    def from_host(self, matrix: FloatArray) -> Any:
        """Return a contiguous matrix of NumPy for the core to read, copied where it must be."""

    @abstractmethod
    def for_core(self, matrix: Any) -> Any:
        """Return a contiguous matrix of `xp` for the core to read, copied where it must be."""

    @abstractmethod
    def fill(self, outs: Sequence[Any], work: Callable[[list[Any], Any], Any]) -> None:
        """Call `work` with arrays for the core to write, and with where it computes.

        What it writes is then in `outs`: matrices of `xp` or of NumPy, or arrays of NumPy of one
        dimension, which on a GPU are matrices of a single row.
        """

    @abstractmethod
    def on_host(self, samples: Any) -> FloatArray:
        """Return what `samples` returned as an array of NumPy."""

    def with_dtype(self, samples: Any, dtype: FloatDType) -> Any:
        """Return what `samples` returned in another precision."""
        return self.from_host(self.on_host(samples).astype(dtype))

    @abstractmethod
    def take(self, samples: Any, rows: Any) -> Any:
        """Return some of the rows of what `samples` returned, by their indices."""

    @abstractmethod
    def available_memory(self) -> int | None:
        """Return the bytes that can still be used, or None where that is not known."""

    def empty(self, shape: tuple[int, ...], dtype: FloatDType) -> Any:
        """Return an array of `xp` whose elements are not set."""
        return self.xp.empty(shape, dtype=dtype)

    def is_always_there(self, needed: int) -> bool:
        """Return whether so few bytes are wanted that `require_memory` need not be told of them.

        It takes a description, and to write one takes as long as to compute with so little.
        """
        return not self.on_gpu and memory.is_always_there(needed)

    def require_memory(self, needed: int, what: str, instead: str) -> None:
        """Raise MemoryError, before any work, if `needed` bytes for `what` are not to be had."""
        whose = "the GPU's " if self.on_gpu else ""
        memory.require_of(self.available_memory(), needed, what, instead, whose)
