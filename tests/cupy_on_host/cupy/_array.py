# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The array type: memory of NumPy that says that it lies on a GPU."""

# ruff: noqa: ARG002 -- the parameters are those of CuPy

from __future__ import annotations

import ctypes
from typing import Any, NoReturn

import numpy as np

from cupy import cuda
from fastntk.devices import gpu_arrays

_DLPACK_CUDA = 2

# Bytes of each copy from the "GPU" to the host, in order; a test may clear it.
host_copies: list[int] = []


class _Block:
    """Memory of the default pool, as long as an array or a view of it lives."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        cuda.memory.default_pool.take(nbytes)

    def __del__(self) -> None:
        cuda.memory.default_pool.give_back(self.nbytes)


class _Pointer:
    """`cupy.cuda.MemoryPointer`: `ptr` is the address."""

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class ndarray:  # noqa: N801
    """Like `cupy.ndarray`: not a subclass of NumPy's, and never converted to it by itself."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: None = None,
        strides: None = None,
        order: str = "C",
    ) -> None:
        """Uninitialized memory, as in CuPy; here filled with NaN, which nobody must rely on."""
        assert memptr is None
        assert strides is None
        host: Any = np.empty(shape, dtype, order=order)  # type: ignore[call-overload]
        if host.dtype.kind == "f":
            host.fill(np.nan)
        self._host: Any = host
        self._owner: Any = _Block(host.nbytes)
        self._device = cuda.Device().id

    @classmethod
    def _of(cls, host: Any, owner: Any = None) -> Any:
        """Return an array over this memory of NumPy, new unless it belongs to `owner`."""
        self = cls.__new__(cls)
        self._host = np.asarray(host)
        self._owner = _Block(self._host.nbytes) if owner is None else owner
        self._device = cuda.Device().id
        return self

    def _view(self, host: Any) -> Any:
        view = ndarray._of(host, self._owner)
        view._device = self._device
        return view

    # What other libraries see

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3, with the current stream; strides are None if C-contiguous, in bytes else."""
        host = self._host
        return {
            "shape": host.shape,
            "typestr": host.dtype.str,
            "descr": host.dtype.descr,
            "stream": cuda.get_current_stream().ptr or cuda.runtime.streamLegacy,
            "version": 3,
            "strides": None if host.flags.c_contiguous else host.strides,
            "data": (self.data.ptr if host.size else 0, False),
        }

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule of version 1 if the consumer takes it; 0 is no stream."""
        if stream is not None and (stream < -1 or stream == 0):
            raise ValueError(
                "On CUDA, the valid stream for the DLPack protocol is -1, 1, 2, or any larger "
                f"value, but {stream} was provided"
            )
        versioned = max_version is not None and max_version[0] >= 1
        capsule = self._host.__dlpack__(**({"max_version": (1, 0)} if versioned else {}))
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        if versioned:
            address = get(capsule, b"dltensor_versioned")
            tensor = gpu_arrays._VersionedTensor.from_address(address).tensor
        else:
            tensor = gpu_arrays._DLTensor.from_address(get(capsule, b"dltensor"))
        tensor.device_type = _DLPACK_CUDA
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        """CUDA's number of the device."""
        return _DLPACK_CUDA, self.device.id

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        """No implicit copies to the host."""
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy's ufuncs compute on the GPU; arrays of NumPy as operands are refused."""
        if method != "__call__":
            return NotImplemented
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        return apply(ufunc, *inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """NumPy's functions call those of CuPy with the same name, where there is one."""
        import cupy

        module: Any = cupy
        for name in func.__module__.split(".")[1:]:
            module = getattr(module, name, None)
        found = getattr(module, func.__name__, None)
        return NotImplemented if found is None else found(*args, **kwargs)

    # Copies to the host

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> Any:
        """A copy in the memory of the host, after all work of the stream if `blocking`."""
        host_copies.append(self._host.nbytes)
        if out is None:
            return np.array(self._host, order=order)  # type: ignore[call-overload]
        out[...] = self._host
        return out

    def item(self) -> Any:
        """A Python scalar, by way of the host."""
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        """By way of the host."""
        return self.get().tolist()

    def __bool__(self) -> bool:
        """By way of the host."""
        return bool(self.get())

    def __int__(self) -> int:
        """By way of the host."""
        return int(self.get())

    def __float__(self) -> float:
        """By way of the host."""
        return float(self.get())

    def __index__(self) -> int:
        """By way of the host."""
        return self.get().__index__()  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """As that of NumPy's array, by way of the host."""
        return repr(self.get())

    def __format__(self, spec: str) -> str:
        """As that of NumPy's array, by way of the host."""
        return format(self.get(), spec)

    # Attributes

    @property
    def data(self) -> _Pointer:
        return _Pointer(int(self._host.__array_interface__["data"][0]))

    @property
    def device(self) -> Any:
        """The device that it lies on, which `with` makes current."""
        return cuda.Device(self._device)

    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    T = property(lambda self: self._view(self._host.T))

    @property
    def flags(self) -> Any:
        """Only c_contiguous, f_contiguous and owndata: everything is writable."""
        return _Flags(self._host.flags)

    def __len__(self) -> int:
        return len(self._host)

    # Views and copies

    def __getitem__(self, key: Any) -> Any:
        """A view for slices and integers, 0-dimensional for an element; else a copy."""
        result = self._host[_index(key)]
        if isinstance(result, np.generic):
            parts = key if isinstance(key, tuple) else (key,)
            return self._view(self._host[(*_index(parts), np.newaxis)].reshape(()))
        shares = np.may_share_memory(result, self._host)
        return self._view(result) if shares else ndarray._of(result)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Values are scalars or arrays on the GPU, which are broadcast."""
        self._host[_index(key)] = _operand(value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """A view where there can be one."""
        result = self._host.reshape(*shape, order=order)
        return (
            self._view(result) if np.may_share_memory(result, self._host) else ndarray._of(result)
        )

    def ravel(self, order: str = "C") -> Any:
        """A view where there can be one."""
        return self.reshape(-1, order=order)

    def transpose(self, *axes: Any) -> Any:
        """A view."""
        return self._view(self._host.transpose(*axes))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
        """A view that, unlike NumPy's, can be written."""
        view = self._host.diagonal(offset, axis1, axis2)
        view.flags.writeable = True
        return self._view(view)

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: Any = None,
        subok: Any = None,
        copy: bool = True,
    ) -> Any:
        """The array itself if nothing changes and `copy` is False."""
        dtype = np.dtype(dtype)
        flags = self._host.flags
        fits = (
            order in "KA"
            or (order == "C" and flags.c_contiguous)
            or (order == "F" and flags.f_contiguous)
        )
        if not copy and dtype == self.dtype and fits:
            return self
        return ndarray._of(self._host.astype(dtype, order=order, copy=True))

    def copy(self, order: str = "C") -> Any:
        """A copy on the GPU."""
        return ndarray._of(self._host.copy(order=order))

    def fill(self, value: Any) -> None:
        """All elements become the scalar."""
        self._host.fill(_operand(value))

    def set(self, arr: Any, stream: Any = None) -> None:
        """Copy an array of NumPy of the same dtype and shape here."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        self._host[...] = arr

    # Reductions: arrays of 0 dimensions, not scalars

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        return apply(np.sum, self, axis=axis, dtype=dtype, keepdims=keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return apply(np.max, self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return apply(np.min, self, axis=axis, keepdims=keepdims)

    def argmax(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        return apply(np.argmax, self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return apply(np.all, self, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return apply(np.any, self, axis=axis, keepdims=keepdims)


class _Flags:
    def __init__(self, flags: Any) -> None:
        self.c_contiguous: bool = flags.c_contiguous
        self.f_contiguous: bool = flags.f_contiguous
        self.owndata: bool = flags.owndata


def _operand(value: Any) -> Any:
    """Return what NumPy is to compute with: arrays on the current GPU and scalars."""
    if isinstance(value, ndarray):
        if value._device != cuda.Device().id:
            raise ValueError(
                "Array device must be same as the current device: array device = "
                f"{value._device} while current = {cuda.Device().id}"
            )
        return value._host
    if isinstance(value, (np.generic, bool, int, float, complex, type(None))):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_index(part) for part in key)
    return key._host if isinstance(key, ndarray) else key


def apply(function: Any, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """Return what a function of NumPy makes of the operands, on the GPU."""
    operands = [_operand(value) for value in inputs]
    if out is None:
        with np.errstate(all="ignore"):  # a GPU does not warn
            return ndarray._of(function(*operands, **kwargs))
    with np.errstate(all="ignore"):
        function(*operands, out=out._host, **kwargs)
    return out


def matmul(left: Any, right: Any, out: Any = None) -> Any:
    """By cuBLAS, which reads what is in C's or Fortran's order; other operands are copied first."""
    copies = [
        _Block(operand.nbytes)
        for operand in (left, right)
        if isinstance(operand, ndarray)
        and not (operand.flags.c_contiguous or operand.flags.f_contiguous)
    ]
    result = apply(np.matmul, left, right, out=out)
    del copies
    return result


def _operators() -> None:
    binary = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
        "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or,
    }  # fmt: skip
    comparisons = {
        "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
        "eq": np.equal, "ne": np.not_equal,
    }  # fmt: skip
    unary = {"neg": np.negative, "abs": np.absolute, "invert": np.invert}

    def define(name: str, method: Any) -> None:
        setattr(ndarray, f"__{name}__", method)

    for name, ufunc in (binary | comparisons).items():
        define(name, lambda self, other, ufunc=ufunc: apply(ufunc, self, other))
    for name, ufunc in binary.items():
        define(f"r{name}", lambda self, other, ufunc=ufunc: apply(ufunc, other, self))
        define(f"i{name}", lambda self, other, ufunc=ufunc: apply(ufunc, self, other, out=self))
    define("matmul", matmul)
    define("rmatmul", lambda self, other: matmul(other, self))
    for name, function in unary.items():
        define(name, lambda self, function=function: apply(function, self))


_operators()
