# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a computation runs, and where its arrays lie: on the processor, or on an NVIDIA GPU.

There are three places. On the processor, arrays of NumPy are the core's own. On a GPU, the arrays
are either there already, and results are arrays of CuPy; or they are NumPy's, and what the core
reads and writes are copies of them. The core has the same functions for all (`Place.core`).
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support import memory
from fastntk._support.threads import core_threads
from fastntk.devices import driver, gpu_arrays, matrices, options
from fastntk.devices.gpu_arrays import DeviceArray, device_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastntk._support.dtypes import FloatArray, FloatDType


class Place(ABC):
    """Where the core computes.

    Attributes
    ----------
    core : module
        The functions and classes of the core. They take arrays as `samples`, `given` and `fill`
        hand them out: of NumPy, or a `DeviceArray`.
    device : str
        By which `place_of` finds it: "cpu", "cuda:0", …
    results_elsewhere : bool
        Whether the core writes into other memory than that of the arrays that are returned.
    """

    core: Any
    device: str
    results_elsewhere = False

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

    @abstractmethod
    def array(self, values: Any, name: str) -> Any:
        """Return an array of `xp`."""

    @abstractmethod
    def matrix(self, values: Any, name: str, dtype: FloatDType) -> Any:
        """Return a contiguous matrix of `xp` whose elements are finite."""

    @abstractmethod
    def samples(
        self, values: Any, name: str, dtype: FloatDType, *, columns: int | None = None
    ) -> Any:
        """Return samples, one a row, for the core: checked, with length, shape and slices."""

    @abstractmethod
    def targets(self, values: Any, name: str) -> FloatArray:
        """Return an array of any numbers on the host, to look at before `uploaded`."""

    @abstractmethod
    def uploaded(self, matrix: FloatArray) -> Any:
        """Return a contiguous matrix of NumPy for the core to read."""

    @abstractmethod
    def given(self, matrix: Any) -> Any:
        """Return a contiguous matrix of `xp` for the core to read."""

    @abstractmethod
    def fill(self, outs: Sequence[Any], work: Callable[[list[Any], Any], Any]) -> None:
        """Call `work` with matrices for the core to write and where it computes.

        What it writes is then in `outs`, matrices of `xp`.
        """

    @abstractmethod
    def fill_on_host(self, out: FloatArray, work: Callable[[Any, Any], Any]) -> None:
        """Call `work` with what stands for an array of NumPy, and where the core computes.

        An array of one dimension is a single row on a GPU.
        """

    @abstractmethod
    def on_host(self, samples: Any) -> FloatArray:
        """Return what `samples` returned as an array of NumPy."""

    @abstractmethod
    def take(self, samples: Any, rows: Any) -> Any:
        """Return some of the rows."""

    @abstractmethod
    def available_memory(self) -> int | None:
        """Return the bytes that can still be used, or None where that is not known."""

    def empty(self, shape: tuple[int, ...], dtype: FloatDType) -> Any:
        """Return an array of `xp` whose elements are not set."""
        return self.xp.empty(shape, dtype=dtype)

    def require_memory(self, needed: int, what: str, instead: str) -> None:
        """Raise MemoryError, before any work, if `needed` bytes for `what` are not to be had."""
        whose = "the GPU's " if self.on_gpu else ""
        memory.require_of(self.available_memory(), needed, what, instead, whose)


class _HostArrays(Place):
    """Any place that takes and returns arrays of NumPy."""

    @property
    def xp(self) -> Any:
        return np

    def array(self, values: Any, name: str) -> Any:
        return matrices.host_array(values, name)

    def matrix(self, values: Any, name: str, dtype: FloatDType) -> Any:
        return matrices.matrix(values, name, dtype)

    def targets(self, values: Any, name: str) -> FloatArray:
        return matrices.host_array(values, name)


class _Processor(_HostArrays):
    core = _core
    device = "cpu"

    def working(self) -> AbstractContextManager[int]:
        return core_threads()

    def samples(
        self, values: Any, name: str, dtype: FloatDType, *, columns: int | None = None
    ) -> Any:
        return matrices.samples(values, name, dtype, columns=columns)

    def uploaded(self, matrix: FloatArray) -> Any:
        return matrix

    def given(self, matrix: Any) -> Any:
        return matrix

    def fill(self, outs: Sequence[Any], work: Callable[[list[Any], Any], Any]) -> None:
        with self.working() as threads:
            work(list(outs), threads)

    def fill_on_host(self, out: FloatArray, work: Callable[[Any, Any], Any]) -> None:
        contiguous = out if out.flags.c_contiguous else np.empty(out.shape, dtype=out.dtype)
        with self.working() as threads:
            work(contiguous, threads)
        if contiguous is not out:
            out[...] = contiguous

    def on_host(self, samples: Any) -> FloatArray:
        array: FloatArray = samples
        return array

    def take(self, samples: Any, rows: Any) -> Any:
        return samples[rows]

    def available_memory(self) -> int | None:
        return memory.available_memory()


PROCESSOR: Place = _Processor()


class _Gpu(Place):
    """A GPU, with the options that hold now."""

    def __init__(self, number: int) -> None:
        self._gpu = _opened(number, options.current_options())
        self.core = _core.cuda
        self.device = f"cuda:{number}"

    def working(self) -> AbstractContextManager[Any]:
        return nullcontext(self._gpu)

    def uploaded(self, matrix: FloatArray) -> DeviceArray:
        """Return a copy of a contiguous matrix of NumPy in the memory of the GPU."""
        result = self._allocated(matrix.shape, matrix.dtype)
        self.core.write(matrix, result, self._gpu)
        return result

    def fill_on_host(self, out: FloatArray, work: Callable[[Any, Any], Any]) -> None:
        row = out.reshape(1, -1) if out.ndim == 1 else out
        self._fill_copies([row], lambda copies, gpu: work(copies[0], gpu))

    def _fill_copies(
        self, outs: Sequence[FloatArray], work: Callable[[list[Any], Any], Any]
    ) -> None:
        """Have `work` fill matrices on the GPU, and copy them."""
        copies = [self._allocated(out.shape, out.dtype) for out in outs]
        work(copies, self._gpu)
        for copy, out in zip(copies, outs, strict=True):
            if out.flags.c_contiguous:
                self.core.read(copy, out, self._gpu)
            else:
                out[...] = self.on_host(copy)

    def on_host(self, samples: DeviceArray) -> FloatArray:
        result: FloatArray = np.empty(samples.shape, dtype=samples.dtype)
        self.core.read(samples, result, self._gpu)
        return result

    def take(self, samples: DeviceArray, rows: Any) -> DeviceArray:
        return self.uploaded(self.on_host(samples)[rows])

    def available_memory(self) -> int | None:
        free: int = self._gpu.memory[0]
        return free

    def _allocated(self, shape: tuple[int, ...], dtype: FloatDType) -> DeviceArray:
        rows, cols = shape
        memory = self.core.Memory(self._gpu, rows * cols * dtype.itemsize)
        return DeviceArray(
            memory.pointer, (rows, cols), (cols, 1), dtype, None, read_only=False, owner=memory
        )


class _GpuCopies(_HostArrays, _Gpu):
    """A GPU that computes for arrays of NumPy."""

    results_elsewhere = True

    def samples(
        self, values: Any, name: str, dtype: FloatDType, *, columns: int | None = None
    ) -> Any:
        return self.uploaded(matrices.samples(values, name, dtype, columns=columns))

    def given(self, matrix: Any) -> Any:
        return self.uploaded(matrix)

    def fill(self, outs: Sequence[Any], work: Callable[[list[Any], Any], Any]) -> None:
        self._fill_copies(outs, work)


class GpuArrays(_Gpu):
    """A GPU that computes with arrays that lie there."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._number = number

    @property
    def xp(self) -> Any:
        try:
            return importlib.import_module("cupy")
        except ImportError as error:
            raise ImportError(
                f"results of arrays on a GPU are arrays of CuPy, which cannot be imported "
                f"({error}): pip install 'cupy-cuda13x[ctk]', or hand over arrays of the host with "
                "device='cuda'"
            ) from error

    def array(self, values: Any, name: str) -> Any:
        if not gpu_arrays.on_gpu(values):
            raise TypeError(
                f"{name} is a {type(values).__qualname__}: expected an array in the memory of the "
                f"GPU, as the others: cupy.asarray({name})"
            )
        if hasattr(values, "__cuda_array_interface__"):
            return self.xp.asarray(values)
        return self.xp.from_dlpack(values)

    def matrix(self, values: Any, name: str, dtype: FloatDType) -> Any:
        array = self.array(values, name)
        if array.dtype != dtype:
            gpu_arrays.wrong_dtype(name, array.dtype, dtype)
        result = self.xp.ascontiguousarray(array)
        self._require_finite(device_matrix(result, name), name)
        return result

    def samples(
        self, values: Any, name: str, dtype: FloatDType, *, columns: int | None = None
    ) -> Any:
        result = device_matrix(values, name, dtype)
        matrices.require_columns(result.shape, name, columns)
        self._require_finite(result, name)
        return result

    def targets(self, values: Any, name: str) -> FloatArray:
        result: FloatArray = self.xp.asnumpy(self.array(values, name))
        return result

    def given(self, matrix: Any) -> Any:
        return device_matrix(matrix, "matrix")

    def empty(self, shape: tuple[int, ...], dtype: FloatDType) -> Any:
        with self.xp.cuda.Device(self._number):
            return self.xp.empty(shape, dtype=dtype)

    def fill(self, outs: Sequence[Any], work: Callable[[list[Any], Any], Any]) -> None:
        work([device_matrix(out, "out", writable=True) for out in outs], self._gpu)

    def available_memory(self) -> int | None:
        # What CuPy holds but does not use is not free for others.
        with suppress(ImportError):
            self.xp.get_default_memory_pool().free_all_blocks()
        return super().available_memory()

    def require_memory(self, needed: int, what: str, instead: str) -> None:
        free = super().available_memory()
        if free is None or needed > free:  # or CuPy keeps what it holds
            super().require_memory(needed, what, instead)

    def _require_finite(self, matrix: DeviceArray, name: str) -> None:
        try:
            xp = self.xp
        except ImportError:
            matrices.require_finite(self.on_host(matrix), name)
            return
        finite = xp.isfinite(xp.asarray(matrix))
        if not bool(finite.all()):
            matrices.require_finite(self.on_host(matrix), name)


def place_of(device: str | None, arrays: Mapping[str, Any]) -> Place:
    """Return where to compute.

    Parameters
    ----------
    device : str or None
        "cpu", "cuda" (the first GPU) or "cuda:1" (the second); None: where the arrays are.
    arrays : mapping of str to array_like or None
        By the names of the arguments; None is left out.

    Raises
    ------
    ValueError
        If there is no such device.
    TypeError
        If some arrays lie on a GPU and others do not, or if they lie where they cannot be used.
    RuntimeError
        If a GPU is asked for, and cannot be used: the reason.
    """
    number = _gpu_number(device)
    given = {name: values for name, values in arrays.items() if values is not None}
    there = [name for name, values in given.items() if gpu_arrays.on_gpu(values)]
    if not there:
        if number is None:
            return PROCESSOR
        try:
            return _GpuCopies(number)
        except _UnusableError as reason:
            raise RuntimeError(f"device={device!r}: {reason}") from None
    first = there[0]
    if device == "cpu":
        raise TypeError(
            f"{first} lies in the memory of a GPU: expected an array of the host for "
            f"device='cpu', such as cupy.asnumpy({first})"
        )
    lies_on = gpu_arrays.gpu_number(given[first])
    try:
        place = GpuArrays(lies_on)
    except _UnusableError:
        gpu_arrays.refuse(given[first], first)
    for name in given:
        if name not in there:
            raise TypeError(
                f"{name} is an array of the host, but {first} lies in the memory of a GPU: "
                f"expected both on the same side, such as cupy.asarray({name})"
            )
    for name in there:
        found = gpu_arrays.gpu_number(given[name])
        if found != (lies_on if number is None else number):
            expected = f"that of {first}" if number is None else f"device={device!r}"
            raise ValueError(f"{name} lies on GPU {found}: expected {expected}")
    return place


class _UnusableError(Exception):
    """Why a GPU cannot be used."""


@cache  # of what succeeds
def _opened(number: int, options: options.Options) -> Any:
    reason = driver.why_not()
    if reason is not None:
        raise _UnusableError(reason)
    gpus = driver.devices()
    if number >= len(gpus):
        raise ValueError(f"device='cuda:{number}': expected one of {len(gpus)} GPUs, from 'cuda:0'")
    reason = driver.too_old(gpus[number])
    if reason is not None:
        raise _UnusableError(reason)
    return _core.cuda.Gpu(
        number=number,
        arithmetic=options.arithmetic,
        tile=options.tile,
        lanes=2,  # one has work while the host prepares that of the other
        cublas=driver.cublas_library(),
    )


def _gpu_number(device: object) -> int | None:
    if device is None or device == "cpu":
        return None
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", device) if isinstance(device, str) else None
    if match is None:
        raise ValueError(f"device={device!r}: expected 'cpu', 'cuda', or 'cuda:1' and so on")
    return int(match[1] or 0)
