# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays on a GPU, as their makers offer them: what is read from the protocols, what is refused.

The arrays are made for the test: they lie in the memory of the host and say that they do not.
"""

from __future__ import annotations

import ctypes
import gc
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk
from fastntk.devices import gpu, gpu_arrays
from fastntk.devices.gpu_arrays import DeviceArray, device_matrix, on_gpu


class OnGpu:
    """What CuPy and Numba offer: the interface, and no way to NumPy."""

    def __init__(self, array: np.ndarray[Any, Any], **changes: Any) -> None:
        self._array = array
        interface = dict(array.__array_interface__) | {"version": 3, "stream": None} | changes
        self.__cuda_array_interface__ = {k: v for k, v in interface.items() if v != "left out"}

    def __array__(self, *arguments: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


class ByDLPack:
    """What PyTorch offers, with NumPy's own capsule and another device written into it."""

    def __init__(
        self, array: np.ndarray[Any, Any], device: int = 2, versioned: bool = True, **changes: int
    ) -> None:
        self.array, self.device, self.versioned, self.changes = array, device, versioned, changes
        self.stream: int | None = None

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, *, stream: int, **arguments: Any) -> Any:
        self.stream = stream
        if arguments and not self.versioned:
            raise TypeError("unexpected keyword argument 'max_version'")
        capsule = self.array.__dlpack__(**arguments)
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        if self.versioned:
            address = get(capsule, b"dltensor_versioned")
            whole = gpu_arrays._VersionedTensor.from_address(address)
            whole.major = self.changes.get("major", whole.major)
            tensor = whole.tensor
        else:
            tensor = gpu_arrays._DLTensor.from_address(get(capsule, b"dltensor"))
        tensor.device_type = self.device
        for field, value in self.changes.items():
            if field != "major":
                setattr(tensor, field, value)
        return capsule


X = np.arange(12.0).reshape(3, 4)


def address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_the_interface_says(dtype: str) -> None:
    array = X.astype(dtype)
    values = OnGpu(array, stream=7)
    assert on_gpu(values)
    expected = DeviceArray(address(array), (3, 4), (4, 1), np.dtype(dtype), 7, False, values)
    assert device_matrix(values, "X") == expected
    assert device_matrix(values, "X", np.dtype(dtype), writable=True) == expected


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_dlpack_says(dtype: str, versioned: bool) -> None:
    array = X.astype(dtype)[1:]  # not at the beginning of its memory
    values = ByDLPack(array, versioned=versioned)
    assert on_gpu(values)
    found = device_matrix(values, "X", stream=2)
    assert (found.pointer, found.shape, found.strides) == (address(array), (2, 4), (4, 1))
    assert (found.dtype, found.stream, found.read_only) == (np.dtype(dtype), 2, False)
    assert values.stream == 2


def test_dlpack_adds_the_offset() -> None:
    assert device_matrix(ByDLPack(X, byte_offset=32), "X").pointer == address(X) + 32


@pytest.mark.parametrize(("device", "expected"), [(1, False), (2, True), (3, False), (13, True)])
def test_which_devices_are_gpus(device: int, expected: bool) -> None:
    values = ByDLPack(X, device)
    assert on_gpu(values) is expected
    if device == 1:
        with pytest.raises(TypeError, match="X is a ByDLPack: expected an array in the memory of"):
            device_matrix(values, "X")
    else:
        assert device_matrix(values, "X").shape == (3, 4)


@pytest.mark.parametrize("wrap", [OnGpu, ByDLPack])
def test_the_memory_lives_as_long_as_its_description(wrap: Any) -> None:
    array = np.ones((2, 3))
    alive = weakref.ref(array)
    found = device_matrix(wrap(array), "X")
    del array
    gc.collect()
    assert alive() is not None
    del found
    gc.collect()
    assert alive() is None


@given(
    rows=st.integers(1, 4),
    cols=st.integers(1, 4),
    start=st.integers(0, 3),
    steps=st.tuples(st.sampled_from([-2, -1, 1, 2]), st.sampled_from([-2, -1, 1, 2])),
    transposed=st.booleans(),
    by_dlpack=st.booleans(),
)
def test_every_accepted_layout_reads_what_numpy_reads(
    rows: int, cols: int, start: int, steps: tuple[int, int], transposed: bool, by_dlpack: bool
) -> None:
    whole = np.arange(144.0).reshape(12, 12)
    i, j = (start + (0 if step > 0 else -step * (n - 1))
            for step, n in zip(steps, (rows, cols), strict=True))  # fmt: skip
    view = np.lib.stride_tricks.as_strided(
        whole[i:, j:], (rows, cols), (96 * steps[0], 8 * steps[1])
    )
    view = view.T if transposed else view
    values = ByDLPack(view) if by_dlpack else OnGpu(view)
    n, m = view.shape
    row, col = (stride // 8 for stride in view.strides)
    readable = (m == 1 or col == 1) and (n == 1 or row >= m)
    if not readable:
        with pytest.raises(ValueError, match=r"X has strides of .*: expected rows whose elements"):
            device_matrix(values, "X")
        return
    found = device_matrix(values, "X")
    strides = tuple(8 * s for s in found.strides)
    buffer = (ctypes.c_double * ((n - 1) * found.strides[0] + m)).from_address(found.pointer)
    read = np.lib.stride_tricks.as_strided(np.frombuffer(buffer), found.shape, strides)
    assert np.array_equal(read, view)


@pytest.mark.parametrize(
    ("changes", "stream"),
    [
        ({"stream": None}, None),
        ({"stream": "left out"}, None),
        ({"stream": 1}, 1),
        ({"stream": 2}, 2),
        ({"stream": 0x7F0000001000}, 0x7F0000001000),
        ({"version": 2, "stream": "left out"}, 1),
        ({"version": 0, "stream": "left out"}, 1),
    ],
)
def test_streams(changes: dict[str, Any], stream: int | None) -> None:
    assert device_matrix(OnGpu(X, **changes), "X").stream == stream


BAD: list[tuple[Any, type[Exception], str]] = [
    (OnGpu(X.astype(np.int64)), TypeError, r"X has dtype int64: expected float32 or float64; arr"),
    (OnGpu(X.astype(np.float16)), TypeError, r"dtype float16: .*hand over X.astype\('float64'\)"),
    (OnGpu(X.astype(">f8")), TypeError, "X has dtype >f8: expected float32 or float64"),
    (OnGpu(X, typestr="|V0"), TypeError, "X has dtype .*V0"),
    (OnGpu(X, typestr="nonsense"), TypeError, "X has a __cuda_array_interface__ that cannot be r"),
    (OnGpu(X, mask=object()), TypeError, "X is a masked array"),
    (OnGpu(X, stream=0), TypeError, "X names stream 0"),
    (OnGpu(X, version=4), TypeError, "interface__ of version 4: expected 0-3"),
    (OnGpu(X, version="left out"), TypeError, r"cannot be read: KeyError\('version'\)"),
    (OnGpu(X, data="left out"), TypeError, r"cannot be read: KeyError\('data'\)"),
    (OnGpu(X, shape=(3.5, 4)), TypeError, "cannot be read: TypeError"),
    (OnGpu(X, strides=(32,)), ValueError, r"strides of \(32,\) bytes for shape \(3, 4\)"),
    (OnGpu(X, strides=(33, 8)), ValueError, "expected a multiple of 8 for each dimension"),
    (OnGpu(X, data=(0, False)), ValueError, "X begins at address 0x0: expected a multiple of 8"),
    (OnGpu(X, data=(4097, False)), ValueError, "X begins at address 0x1001"),
    (OnGpu(X[0]), ValueError, r"X has shape \(4,\): expected a matrix, one sample a row"),
    (OnGpu(X[:0]), ValueError, r"X has shape \(0, 4\): expected at least one row"),
    (OnGpu(X[::-1]), ValueError, r"X has strides of \(-4, 1\) elements .*ascontiguousarray\(X\)"),
    (OnGpu(X.T), ValueError, r"X has strides of \(1, 4\) elements for shape \(4, 3\)"),
    (OnGpu(np.broadcast_to(X[0], (3, 4))), ValueError, r"X has strides of \(0, 1\)"),
    (ByDLPack(X, bits=16), TypeError, "DLPack's code 2 with 16 bits: expected float32 or float64"),
    (ByDLPack(X, code=0), TypeError, "DLPack's code 0 with 64 bits"),
    (ByDLPack(X, code=4), TypeError, "DLPack's code 4 with 64 bits"),  # bfloat
    (ByDLPack(X, lanes=2), TypeError, "DLPack's code 2"),
    (ByDLPack(X, major=2), TypeError, r"X exports version 2\.\d of DLPack: expected 1"),
    (ByDLPack(X, device_type=10), TypeError, "X is on a device of DLPack's type 10"),
    (X, TypeError, "X is a ndarray: expected an array in the memory of a GPU"),
    ([[1.0]], TypeError, "X is a list: expected an array in the memory of a GPU"),
]


@pytest.mark.parametrize(("values", "error", "message"), BAD)
def test_bad_arrays(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        device_matrix(values, "X")


def test_another_precision_is_not_converted() -> None:
    with pytest.raises(TypeError, match=r"expected float32; .*hand over X.astype\('float32'\)"):
        device_matrix(OnGpu(X), "X", np.dtype(np.float32))


def test_read_only_arrays() -> None:
    fixed = X.copy()
    fixed.flags.writeable = False
    for values in (OnGpu(fixed), ByDLPack(fixed)):
        assert device_matrix(values, "out").read_only
        with pytest.raises(TypeError, match="out is read-only"):
            device_matrix(values, "out", writable=True)


def test_tensors_that_require_a_gradient() -> None:
    class Tensor(ByDLPack):
        @property
        def __cuda_array_interface__(self) -> Any:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")

        def __dlpack__(self, *, stream: int, **arguments: Any) -> Any:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")

    assert on_gpu(Tensor(X))
    with pytest.raises(TypeError, match=r"X cannot be exported .*use tensor.detach\(\)"):
        device_matrix(Tensor(X), "X")


def test_a_capsule_that_was_used() -> None:
    class Used(ByDLPack):
        def __dlpack__(self, *, stream: int, **arguments: Any) -> Any:
            return None

    with pytest.raises(TypeError, match="X returns None from __dlpack__: expected a fresh capsule"):
        device_matrix(Used(X), "X")


@pytest.mark.parametrize("values", [OnGpu(X), ByDLPack(X), ByDLPack(X, 13)])
def test_networks_say_what_to_do_with_such_arrays(
    values: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = fastntk.cuda.why_not() or "none of its GPUs is for tests"
    monkeypatch.setattr("fastntk.devices.driver.why_not", lambda: reason)
    gpu.opened_gpu.cache_clear()
    net = fastntk.MLP([4, 5, 2])
    y = np.eye(3, 2)
    calls: list[tuple[str, Any]] = [
        ("X", lambda: net(values)),
        ("X", lambda: net.ntk(values)),
        ("Z", lambda: net.ntk(X, values)),
        ("X", lambda: net.smallest_angle(values)),
        ("u", lambda: net.vjp(X, values)),
        ("v", lambda: net.jvp(X, values)),
        ("K", lambda: fastntk.smallest_angle(values)),
        ("X", lambda: fastntk.infinite.ntk(values, depth=1)),
        ("X", lambda: fastntk.train(net, values, y, learning_rate=0.1)),
        ("y", lambda: fastntk.train(net, X, values, learning_rate=0.1)),
        (r"weights\[0\]", lambda: fastntk.MLP.from_weights([values])),
        (r"biases\[0\]", lambda: fastntk.MLP.from_weights([X], [values])),
    ]
    for name, call in calls:
        with pytest.raises(
            TypeError, match=rf"^{name} is a test_device_arrays\.\w+ in the mem"
        ) as e:
            call()
        assert reason in str(e.value)
        assert "cupy.asnumpy" in str(e.value)


def test_pinned_memory_is_the_hosts() -> None:
    net = fastntk.MLP([4, 5, 1])

    class Pinned(ByDLPack):
        def __dlpack__(self, **arguments: Any) -> Any:
            return super().__dlpack__(**{"stream": 1} | arguments)

    pinned: Any = Pinned(X, 3)
    assert np.array_equal(net(pinned), net(X))
