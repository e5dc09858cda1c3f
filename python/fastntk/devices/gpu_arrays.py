# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in the memory of a GPU, whoever made them: recognized and described, never copied.

They are recognized by the protocols that they offer, ``__cuda_array_interface__`` [1]_ and DLPack
[2]_, so that neither CuPy nor PyTorch is imported.

References
----------
.. [1] https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html, version 3
.. [2] https://dmlc.github.io/dlpack/latest, version 1
"""

from __future__ import annotations

import ctypes
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fastntk._support.dtypes import FLOAT_DTYPES

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatDType

# Streams that have a number instead of a handle, in both protocols.
LEGACY_DEFAULT_STREAM = 1

# Devices of DLPack. Managed memory can be read by the processor too, but only once the GPU's work
# on it is done, and of that only the GPU's side knows; pinned memory of the host is the host's.
_DLPACK_CUDA, _DLPACK_CUDA_HOST, _DLPACK_CUDA_MANAGED = 2, 3, 13
_ON_GPU = (_DLPACK_CUDA, _DLPACK_CUDA_MANAGED)
_READABLE_BY_GPU = (_DLPACK_CUDA, _DLPACK_CUDA_HOST, _DLPACK_CUDA_MANAGED)
_DLPACK_FLOAT = 2
_DLPACK_READ_ONLY = 1


@dataclass(frozen=True)
class DeviceArray:
    """A matrix in the memory of a GPU, for the core.

    Attributes
    ----------
    pointer : int
        The address of the first element.
    shape : (int, int)
        The numbers of rows and columns.
    strides : (int, int)
        Counted in elements. The elements of a row lie next to each other, ``strides[1] == 1``; rows
        do not overlap, but may be apart.
    dtype : dtype
        float32 or float64.
    stream : int or None
        The stream whose work, as far as it is given to it by now, must be done before the array is
        read or written: 1 for the legacy default stream, 2 for that of the thread, or a handle.
        None: there is nothing to wait for.
    read_only : bool
        Whether the array must not be written.
    owner : object
        Keeps the memory alive.
    """

    pointer: int
    shape: tuple[int, int]
    strides: tuple[int, int]
    dtype: FloatDType
    stream: int | None
    read_only: bool
    owner: object

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> DeviceArray:
        """Return some of the rows, one after the other, without copying them."""
        first, last, _ = rows.indices(len(self))
        pointer = self.pointer + first * self.strides[0] * self.dtype.itemsize
        return replace(self, pointer=pointer, shape=(last - first, self.shape[1]))

    @property
    def diagonal(self) -> DeviceArray:
        """The diagonal of a square matrix as a column, without copying it."""
        return replace(self, shape=(len(self), 1), strides=(self.strides[0] + 1, 1))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The description that CuPy and other libraries read."""
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": tuple(stride * self.dtype.itemsize for stride in self.strides),
            "data": (self.pointer, self.read_only),
            "stream": self.stream,
        }


@dataclass(frozen=True)
class _Description:
    """What a protocol says, before it is checked; strides in elements, None for C-contiguous."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: FloatDType
    stream: int | None
    read_only: bool
    owner: object


def on_gpu(values: object) -> bool:
    """Return whether `values` is an array in the memory of a GPU.

    Examples
    --------
    >>> import numpy as np
    >>> on_gpu(np.ones(2)), on_gpu([1.0, 2.0])
    (False, False)
    """
    if type(values) is np.ndarray:
        return False
    device = _dlpack_device(values)
    if device is not None:
        return device in _ON_GPU
    return _has_interface(values)


def gpu_number(values: object) -> int:
    """Return the number of the GPU on which an array lies; 0 if the array cannot tell."""
    try:
        _, number = values.__dlpack_device__()  # type: ignore[attr-defined]
        return operator.index(number)
    except (AttributeError, TypeError, ValueError, RuntimeError, BufferError):
        return 0


def refuse(values: object, name: str) -> NoReturn:
    """Raise the TypeError for an array on the GPU where only the host's can be taken."""
    from fastntk.devices import driver  # rarely needed

    reason = driver.why_not() or "this function computes on the processor"
    raise TypeError(
        f"{name} is a {type(values).__module__}.{type(values).__qualname__} in the memory of a "
        f"GPU, but {reason}. Or hand over a copy in the memory of the host: cupy.asnumpy({name}), "
        f"or {name}.cpu() of PyTorch"
    )


def device_matrix(
    values: object,
    name: str,
    dtype: FloatDType | None = None,
    *,
    writable: bool = False,
    stream: int = LEGACY_DEFAULT_STREAM,
) -> DeviceArray:
    """Return the description of a non-empty matrix on a GPU, without copying it.

    Parameters
    ----------
    values : object
        An array with ``__cuda_array_interface__`` or ``__dlpack__``.
    name : str
        The name of the argument, for errors.
    dtype : dtype, optional
        The precision that is expected; nothing is converted.
    writable : bool
        Whether it is going to be written.
    stream : int
        The stream that DLPack's producer is told to make wait for its work.

    Raises
    ------
    TypeError
        If it is no such array, masked, read-only where it is written, or not of that precision.
    ValueError
        If it is not a matrix, or its layout is not that of `DeviceArray`.
    """
    given = _described(values, name, stream)
    if dtype is not None and given.dtype != dtype:
        wrong_dtype(name, given.dtype, dtype)
    if writable and given.read_only:
        raise TypeError(f"{name} is read-only: expected an array that can be written")
    shape = given.shape
    if len(shape) != 2:
        raise ValueError(f"{name} has shape {shape}: expected a matrix, one sample a row")
    if 0 in shape:
        raise ValueError(f"{name} has shape {shape}: expected at least one row and column")
    if given.pointer == 0 or given.pointer % given.dtype.itemsize:
        raise ValueError(
            f"{name} begins at address {given.pointer:#x}: expected a multiple of "
            f"{given.dtype.itemsize}, not 0"
        )
    strides = _row_strides(given, name)
    return DeviceArray(
        given.pointer,
        (shape[0], shape[1]),
        strides,
        given.dtype,
        given.stream,
        given.read_only,
        given.owner,
    )


def wrong_dtype(name: str, dtype: object, wanted: FloatDType | None = None) -> NoReturn:
    """Raise the TypeError for an array on a GPU of another precision than is wanted."""
    raise TypeError(
        f"{name} has dtype {dtype}: expected {wanted or 'float32 or float64'}; arrays on a GPU are "
        f"not converted: hand over {name}.astype({str(wanted or 'float64')!r}), or "
        f"{name}.to(torch.{wanted or 'float64'}) of PyTorch"
    )


def _row_strides(given: _Description, name: str) -> tuple[int, int]:
    rows, cols = given.shape
    if given.strides is None:
        return cols, 1
    # The stride of a single row or column is never used, and may be anything.
    between_rows = given.strides[0] if rows > 1 else cols
    within_row = given.strides[1] if cols > 1 else 1
    if within_row != 1 or between_rows < cols:
        raise ValueError(
            f"{name} has strides of {given.strides} elements for shape {given.shape}: expected "
            f"rows whose elements lie next to each other, one row after the other: hand over "
            f"cupy.ascontiguousarray({name}), or {name}.contiguous() of PyTorch"
        )
    return between_rows, within_row


def _described(values: object, name: str, stream: int) -> _Description:
    if _has_interface(values):
        return _of_interface(values, name)
    if _dlpack_device(values) in _READABLE_BY_GPU:
        return _of_dlpack(values, name, stream)
    raise TypeError(
        f"{name} is a {type(values).__qualname__}: expected an array in the memory of a GPU, with "
        "__cuda_array_interface__ or __dlpack__"
    )


# The CUDA Array Interface


def _has_interface(values: object) -> bool:
    try:
        return hasattr(values, "__cuda_array_interface__")
    except Exception:  # as of a CUDA tensor of PyTorch that requires a gradient
        return False


def _of_interface(values: Any, name: str) -> _Description:
    interface = values.__cuda_array_interface__
    try:
        version = operator.index(interface["version"])
        shape = tuple(operator.index(size) for size in interface["shape"])
        pointer, read_only = interface["data"]
        pointer = operator.index(pointer or 0)
        dtype = np.dtype(interface["typestr"])
        byte_strides = interface.get("strides")
        strides = None if byte_strides is None else tuple(operator.index(s) for s in byte_strides)
        stream = interface.get("stream")
        stream = None if stream is None else operator.index(stream)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TypeError(
            f"{name} has a __cuda_array_interface__ that cannot be read: {error!r}"
        ) from None
    if not 0 <= version <= 3:
        raise TypeError(f"{name} has a __cuda_array_interface__ of version {version}: expected 0-3")
    if dtype not in FLOAT_DTYPES:
        wrong_dtype(name, dtype)
    if interface.get("mask") is not None:
        raise TypeError(f"{name} is a masked array: expected one without a mask")
    if version < 3:
        # Before there was a stream to name, producers worked on the default one.
        stream = LEGACY_DEFAULT_STREAM
    elif stream == 0:
        raise TypeError(f"{name} names stream 0 in its interface: expected 1 or 2 for the defaults")
    if strides is not None and (
        len(strides) != len(shape) or any(s % dtype.itemsize for s in strides)
    ):
        raise ValueError(
            f"{name} has strides of {strides} bytes for shape {shape} of {dtype}: expected a "
            f"multiple of {dtype.itemsize} for each dimension"
        )
    in_elements = None if strides is None else tuple(s // dtype.itemsize for s in strides)
    return _Description(pointer, shape, in_elements, dtype, stream, bool(read_only), values)


# DLPack


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _VersionedTensor(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    ]


def _dlpack_device(values: object) -> int | None:
    """Return the type of the device that an array names in DLPack, if it does."""
    try:
        kind, _ = values.__dlpack_device__()  # type: ignore[attr-defined]
        return operator.index(kind)
    except Exception:  # those of libraries, or any other of an object of somebody's own
        return None


def _of_dlpack(values: Any, name: str, stream: int) -> _Description:
    try:
        try:
            capsule = values.__dlpack__(stream=stream, max_version=(1, 0))
        except TypeError:  # a producer of before version 1
            capsule = values.__dlpack__(stream=stream)
    except (BufferError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be exported by __dlpack__: {error}") from error
    tensor, read_only = _tensor_of(capsule, name)
    if tensor.device_type not in _READABLE_BY_GPU:
        raise TypeError(
            f"{name} is on a device of DLPack's type {tensor.device_type}: expected a CUDA GPU"
        )
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None
    pointer = (tensor.data or 0) + tensor.byte_offset
    dtype = _dlpack_dtype(tensor, name)
    # Nobody takes the tensor out of the capsule, which then deletes it with itself.
    return _Description(pointer, shape, strides, dtype, stream, read_only, capsule)


def _tensor_of(capsule: object, name: str) -> tuple[_DLTensor, bool]:
    valid = ctypes.pythonapi.PyCapsule_IsValid
    valid.restype, valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    if valid(capsule, b"dltensor_versioned"):
        versioned = _VersionedTensor.from_address(pointer(capsule, b"dltensor_versioned"))
        if versioned.major != 1:
            raise TypeError(
                f"{name} exports version {versioned.major}.{versioned.minor} of DLPack: "
                "expected 1, which was asked for"
            )
        return versioned.tensor, bool(versioned.flags & _DLPACK_READ_ONLY)
    if valid(capsule, b"dltensor"):
        return _DLTensor.from_address(pointer(capsule, b"dltensor")), False
    raise TypeError(f"{name} returns {capsule!r} from __dlpack__: expected a fresh capsule")


def _dlpack_dtype(tensor: _DLTensor, name: str) -> FloatDType:
    if tensor.code == _DLPACK_FLOAT and tensor.lanes == 1 and tensor.bits in {32, 64}:
        return np.dtype(f"f{tensor.bits // 8}")
    wrong_dtype(name, f"of DLPack's code {tensor.code} with {tensor.bits} bits")
