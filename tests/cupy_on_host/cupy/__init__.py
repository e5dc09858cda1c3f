# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A test double of CuPy: its arrays lie in the memory of the host, and behave as if on a GPU.

Only what this project uses is here, with the names and parameters of CuPy 14 (which
tests/test_cupy_on_host.py compares where CuPy is installed) and with the behaviour that makes a
difference: nothing is converted from or to NumPy unless it is asked for, operands of NumPy are
refused, elements and sums are arrays of 0 dimensions, cuSOLVER's errors are ignored unless asked
for. It also counts: bytes copied to the host (`host_copies`), memory in use and its peak
(`cuda.memory.default_pool`), streams waited for (`cuda.runtime.synchronized`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cupy import _array, cuda, linalg
from cupy._array import _operand, apply, host_copies, ndarray
from fastntk.devices import gpu_arrays

__all__ = ["cuda", "host_copies", "linalg", "ndarray"]

float32, float64 = np.float32, np.float64
int32, int64 = np.int32, np.int64
newaxis, inf, nan, pi = np.newaxis, np.inf, np.nan, np.pi


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> Any:
    """Arrays on the GPU, of whatever library, without a copy if `copy` is None; else from the host.

    Of other libraries' arrays the stream is waited for at once, and that they are read-only is not
    looked at; DLPack is not asked.
    """
    if isinstance(obj, ndarray):
        return obj.astype(
            obj.dtype if dtype is None else dtype, order=order or "K", copy=bool(copy)
        )
    if hasattr(obj, "__cuda_array_interface__"):
        interface = obj.__cuda_array_interface__
        if interface.get("mask") is not None:
            raise ValueError("CuPy currently does not support masked arrays.")
        if interface.get("stream") is not None:
            cuda.runtime.streamSynchronize(interface["stream"])
        return array(_foreign(interface, obj), dtype, copy, order)
    host = np.array(obj, dtype=dtype, order=order or "K")  # type: ignore[call-overload]
    if host.dtype.kind not in "?biufc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    return ndarray._of(host)


def asarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    copy: bool | None = None,
    blocking: bool = False,
) -> Any:
    """No copy of what is on the GPU already."""
    return array(a, dtype, copy, order or "K")


def _foreign(interface: dict[str, Any], owner: Any) -> ndarray:
    class Memory:
        __array_interface__: ClassVar = {
            "version": 3,
            "shape": interface["shape"],
            "typestr": interface["typestr"],
            "strides": interface.get("strides"),
            "data": (interface["data"][0], False),
        }

    return ndarray._of(np.asarray(Memory()), owner)  # type: ignore[no-any-return]


def from_dlpack(array: Any, *, device: Any = None, copy: bool | None = None) -> Any:
    """No copy of an array on the GPU; the current stream is the consumer's."""
    if array.__dlpack_device__()[0] not in {2, 13}:
        raise BufferError("expected an array on a CUDA device")
    stream = cuda.get_current_stream().ptr or cuda.runtime.streamLegacy
    given = gpu_arrays._of_dlpack(array, "array", stream)
    strides = given.strides and tuple(s * given.dtype.itemsize for s in given.strides)
    interface = {"shape": given.shape, "typestr": given.dtype.str, "strides": strides}
    return _foreign(interface | {"data": (given.pointer, given.read_only)}, given.owner)


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> Any:
    """A copy on the host of what is on the GPU; what is on the host as NumPy's asarray."""
    if isinstance(a, ndarray):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    return np.asarray(a, order=order)  # type: ignore[call-overload]


def empty(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    """Uninitialized."""
    return ndarray(shape, dtype, order=order)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    """As NumPy's."""
    return ndarray._of(np.zeros(shape, dtype, order=order))  # type: ignore[call-overload]


def ones(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    """As NumPy's."""
    return ndarray._of(np.ones(shape, dtype, order=order))  # type: ignore[call-overload]


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> Any:
    """As NumPy's."""
    return ndarray._of(np.full(shape, fill_value, dtype, order=order))  # type: ignore[call-overload]


def eye(N: int, M: Any = None, k: int = 0, dtype: Any = float, order: str = "C") -> Any:  # noqa: N803
    """As NumPy's."""
    return ndarray._of(np.eye(N, M, k, dtype, order=order))  # type: ignore[call-overload]


def arange(start: Any, stop: Any = None, step: int = 1, dtype: Any = None) -> Any:
    """As NumPy's."""
    values = (start,) if stop is None else (start, stop, step)
    return ndarray._of(np.arange(*values, dtype=dtype))


def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    """The array itself if it is in C's order and of that dtype, else a copy."""
    return a.astype(dtype or a.dtype, order="C", copy=False)


def empty_like(prototype: Any, dtype: Any = None, order: str = "K") -> Any:
    """Uninitialized; in Fortran's order if the prototype is and `order` says so."""
    fortran = prototype._host.flags.fnc and order in "KA"
    return ndarray(prototype.shape, dtype or prototype.dtype, order="F" if fortran else "C")


def diag(v: Any, k: int = 0) -> Any:
    """A matrix of a vector, a vector of a matrix; here always a copy."""
    return ndarray._of(np.array(np.diag(_operand(v), k)))


def tril(m: Any, k: int = 0) -> Any:
    """A copy with zeros, whatever was there."""
    return apply(np.tril, m, k)


def triu(m: Any, k: int = 0) -> Any:
    """A copy with zeros, whatever was there."""
    return apply(np.triu, m, k)


def stack(
    tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """A new array of arrays on the GPU."""
    assert out is None
    assert dtype is None
    return ndarray._of(np.stack([_operand(value) for value in tup], axis))


def matmul(*args: Any, out: Any = None) -> Any:
    """As the operator."""
    return _array.matmul(args[0], args[1], out)


def add(x1: Any, x2: Any, out: Any = None) -> Any:
    """A ufunc: only arrays on the GPU and scalars."""
    return apply(np.add, x1, x2, out=out)


def copyto(dst: Any, src: Any) -> None:
    """As NumPy's, of arrays on the GPU."""
    dst[...] = src


def isfinite(x: Any) -> Any:
    """A ufunc: only arrays on the GPU and scalars."""
    return apply(np.isfinite, x)


def exp(x: Any) -> Any:
    """Return e to the power of each element."""
    return apply(np.exp, x)


def sqrt(x: Any) -> Any:
    """A ufunc: only arrays on the GPU and scalars."""
    return apply(np.sqrt, x)


def absolute(x: Any) -> Any:
    """A ufunc: only arrays on the GPU and scalars."""
    return apply(np.absolute, x)


def argwhere(a: Any) -> Any:
    """As NumPy's, after waiting for the GPU."""
    return apply(np.argwhere, a)


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """An array of 0 dimensions."""
    return apply(np.array_equal, a1, a2, equal_nan=equal_nan)


def einsum(subscripts: str, *operands: Any) -> Any:
    """As NumPy's."""
    return ndarray._of(np.einsum(subscripts, *(_operand(value) for value in operands)))


def get_default_memory_pool() -> Any:
    """The pool that arrays are taken from."""
    return cuda.memory.default_pool
