# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""GPUs as places: one that computes for arrays of NumPy, one for arrays that lie there."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk.devices import driver, gpu_arrays, matrices, options
from fastntk.devices.gpu_arrays import DeviceArray, device_matrix
from fastntk.devices.place import Place
from fastntk.devices.processor import HostArrays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastntk._support.dtypes import FloatArray, FloatDType


class UnusableGpuError(Exception):
    """A GPU cannot be used; the message says why."""


@cache  # which keeps what succeeds, and asks again after an error
def opened_gpu(number: int, options: options.Options) -> Any:
    """Return the core's view of a GPU; raise UnusableGpuError where there is a reason."""
    reason = driver.why_not()
    if reason is not None:
        raise UnusableGpuError(reason)
    gpus = driver.devices()
    if number >= len(gpus):
        raise ValueError(f"device='cuda:{number}': expected one of {len(gpus)} GPUs, from 'cuda:0'")
    reason = driver.too_old(gpus[number])
    if reason is not None:
        raise UnusableGpuError(reason)
    return _core.cuda.Gpu(
        number=number,
        arithmetic=options.arithmetic,
        tile=options.tile,
        lanes=2,  # one has work while the host prepares that of the other
        cublas=driver.cublas_library(),
    )


class _Gpu(Place):
    """A GPU, with the options that hold now."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._gpu = opened_gpu(number, options.current_options())
        self.core = _core.cuda
        self.device = f"cuda:{number}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._number,)

    def working(self) -> AbstractContextManager[Any]:
        return nullcontext(self._gpu)

    @property
    def for_questions(self) -> Any:
        return self._gpu

    def from_host(self, matrix: FloatArray) -> DeviceArray:
        result = self._allocated(matrix.shape, matrix.dtype)
        self.core.write(matrix, result, self._gpu)
        return result

    def fill(self, outs: Sequence[Any], work: Callable[[list[Any], Any], Any]) -> None:
        """Have `work` fill arrays on the GPU: those that lie there, or copies of the host's."""
        there = [
            self._allocated(out.shape if out.ndim == 2 else (1, out.size), out.dtype)
            if isinstance(out, np.ndarray)
            else device_matrix(out, "out", writable=True)
            for out in outs
        ]
        work(there, self._gpu)
        for out, written in zip(outs, there, strict=True):
            if isinstance(out, np.ndarray):
                self._read(written, out if out.ndim == 2 else out.reshape(1, -1))

    def _read(self, written: DeviceArray, out: FloatArray) -> None:
        if out.flags.c_contiguous:
            self.core.read(written, out, self._gpu)
        else:
            out[...] = self.on_host(written)

    def on_host(self, samples: DeviceArray) -> FloatArray:
        result: FloatArray = np.empty(samples.shape, dtype=samples.dtype)
        self.core.read(samples, result, self._gpu)
        return result

    def take(self, samples: DeviceArray, rows: Any) -> DeviceArray:
        return self.from_host(self.on_host(samples)[rows])

    def available_memory(self) -> int | None:
        free: int = self._gpu.memory[0]
        return free

    def _allocated(self, shape: tuple[int, ...], dtype: FloatDType) -> DeviceArray:
        rows, cols = shape
        memory = self.core.Memory(self._gpu, rows * cols * dtype.itemsize)
        return DeviceArray(
            memory.pointer, (rows, cols), (cols, 1), dtype, None, read_only=False, owner=memory
        )


class GpuForHostArrays(HostArrays, _Gpu):
    """A GPU that computes for arrays of NumPy, with copies of them."""

    copies_results = True

    def samples(
        self, values: Any, name: str, dtype: FloatDType, *, columns: int | None = None
    ) -> Any:
        """Return a checked copy of the samples on the GPU."""
        return self.from_host(matrices.samples(values, name, dtype, columns=columns))

    def for_core(self, matrix: Any) -> Any:
        """Return a copy on the GPU of a contiguous matrix of NumPy."""
        return self.from_host(matrix)


class GpuForDeviceArrays(_Gpu):
    """A GPU that computes with arrays that lie there."""

    @property
    def xp(self) -> Any:
        """CuPy."""
        try:
            return importlib.import_module("cupy")
        except ImportError as error:
            raise ImportError(
                f"results of arrays on a GPU are arrays of CuPy, which cannot be imported "
                f"({error}): pip install 'cupy-cuda13x[ctk]', or hand over arrays of the host with "
                "device='cuda'"
            ) from error

    def array(self, values: Any, name: str) -> Any:
        """Return an array of CuPy; what does not lie on the GPU is refused."""
        if not gpu_arrays.on_gpu(values):
            raise TypeError(
                f"{name} is a {type(values).__qualname__}: expected an array in the memory of the "
                f"GPU, as the others: cupy.asarray({name})"
            )
        if hasattr(values, "__cuda_array_interface__"):
            return self.xp.asarray(values)
        return self.xp.from_dlpack(values)

    def matrix(self, values: Any, name: str, dtype: FloatDType, *, given: Any = None) -> Any:
        """Return a contiguous matrix of CuPy whose elements are finite; none is converted."""
        array = self.array(values, name)
        if array.dtype != dtype:
            gpu_arrays.wrong_dtype(name, array.dtype, dtype)
        result = self.xp.ascontiguousarray(array)
        self._require_finite(device_matrix(result, name), name, given)
        return result

    def samples(
        self, values: Any, name: str, dtype: FloatDType, *, columns: int | None = None
    ) -> Any:
        """Return a description of the samples, checked and not copied."""
        result = device_matrix(values, name, dtype)
        matrices.require_columns(result.shape, name, columns)
        self._require_finite(result, name)
        return result

    def with_dtype(self, samples: Any, dtype: FloatDType) -> Any:
        """Return a description of samples in another precision, which do not leave the GPU."""
        try:
            xp = self.xp
        except ImportError:
            return super().with_dtype(samples, dtype)
        return device_matrix(xp.asarray(samples).astype(dtype), "samples")

    def host_array(self, values: Any, name: str) -> FloatArray:
        """Return a copy on the host of an array of any numbers on the GPU."""
        result: FloatArray = self.xp.asnumpy(self.array(values, name))
        return result

    def for_core(self, matrix: Any) -> Any:
        """Return a description of a matrix of CuPy, which is not copied."""
        return device_matrix(matrix, "matrix")

    def empty(self, shape: tuple[int, ...], dtype: FloatDType) -> Any:
        """Return an array of CuPy on this GPU whose elements are not set."""
        with self.xp.cuda.Device(self._number):
            return self.xp.empty(shape, dtype=dtype)

    def available_memory(self) -> int | None:
        """Return the bytes that are free once CuPy has let go of what it holds but does not use."""
        with suppress(ImportError):
            self.xp.get_default_memory_pool().free_all_blocks()
        return super().available_memory()

    def require_memory(self, needed: int, what: str, instead: str) -> None:
        """Raise MemoryError if the bytes are not to be had; else CuPy keeps what it holds."""
        free = super().available_memory()
        if free is None or needed > free:
            super().require_memory(needed, what, instead)

    def _require_finite(self, matrix: DeviceArray, name: str, given: Any = None) -> None:
        try:
            xp = self.xp
        except ImportError:
            matrices.require_finite(self.on_host(matrix), name)
            return
        finite = xp.isfinite(xp.asarray(matrix))
        if not bool(finite.all()):
            on_host = None if given is None else xp.asnumpy(given)
            matrices.require_finite(self.on_host(matrix), name, on_host)
