# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays that lie on a GPU: layouts, streams, whose they are; and what is refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tolerances import assert_close

import fastntk
from fastntk import activations, cuda
from fastntk.devices import gpu, gpu_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from on_host import Runtime

pytestmark = pytest.mark.usefixtures("runtime")

NET: Any = fastntk.MLP([5, 12, 7, 2], activation="tanh", bias_std=0.2)
X = np.random.default_rng(0).standard_normal((11, 5))
K = NET.ntk(X)


@dataclass
class Foreign:
    """An array of some other library, which offers the CUDA Array Interface alone."""

    array: Any
    changes: dict[str, Any]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.array.__cuda_array_interface__, **self.changes}


class OnlyDLPack:
    def __init__(self, array: Any, number: int = 0) -> None:
        self._array, self._number = array, number
        _ = array.__cuda_array_interface__  # the runtime learns of its memory

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._number


def test_nothing_is_copied_to_the_host(xp: Any) -> None:
    given = xp.asarray(X)
    xp.host_copies.clear()
    NET.ntk(given)
    NET.ntk_operator(given) @ xp.ones(len(X))
    # Whether all numbers are finite, and the largest of the products.
    assert sum(xp.host_copies) <= 3 + 8


def test_rows_may_be_apart(xp: Any) -> None:
    wide = xp.asarray(np.random.default_rng(1).standard_normal((22, 9)))
    part = wide[::2, 2:7]
    assert_close(NET.ntk(part).get(), NET.ntk(np.ascontiguousarray(part.get())), "float64")
    out = xp.asarray(np.full((11, 20), np.nan))
    assert NET.ntk(part, out=out[:, 4:15]) is not None
    assert_close(out[:, 4:15].get(), NET.ntk(np.ascontiguousarray(part.get())), "float64")
    assert np.isnan(out.get()[:, :4]).all()
    assert np.isnan(out.get()[:, 15:]).all()
    with pytest.raises(ValueError, match=r"X has strides .* hand over cupy.ascontiguousarray\(X\)"):
        NET.ntk(wide[:, ::2][:, :5])


def test_arrays_of_any_library(xp: Any) -> None:
    given = xp.asarray(X)
    for array in (Foreign(given, {}), Foreign(given, {"stream": None}), OnlyDLPack(given)):
        found = NET.ntk(array)
        assert isinstance(found, xp.ndarray)
        assert_close(found.get(), K, "float64")
        v = np.ones(NET.n_parameters)
        assert_close(NET.jvp(given, type(array)(xp.asarray(v), {}) if isinstance(array, Foreign)
                     else OnlyDLPack(xp.asarray(v))).get(), NET.jvp(X, v), "float64")  # fmt: skip


def test_work_on_the_stream_of_an_input_is_waited_for(xp: Any, runtime: Runtime) -> None:
    given = xp.asarray(np.where(X[0, 0] == X, 0.0, X))
    stream = runtime.stream()
    runtime.write_later(stream, given.data.ptr, X[0, 0])
    assert_close(NET.ntk(Foreign(given, {"stream": stream})).get(), K, "float64")
    given = xp.asarray(np.where(X[0, 0] == X, 0.0, X))
    with xp.cuda.ExternalStream(stream):  # which arrays of CuPy name
        runtime.write_later(stream, given.data.ptr, X[0, 0])
        assert_close(NET.ntk(given).get(), K, "float64")


def test_work_on_the_stream_of_a_result_is_waited_for(xp: Any, runtime: Runtime) -> None:
    stream, out = runtime.stream(), xp.empty(K.shape)
    runtime.write_later(stream, out.data.ptr, 1e6)
    NET.ntk(Foreign(xp.asarray(X), {"stream": None}), out=Foreign(out, {"stream": stream}))
    # What is still to be done on the stream must have been done before.
    NET(Foreign(xp.asarray(X), {"stream": stream}))
    assert_close(out.get(), K, "float64")


def test_outputs_that_cannot_be_written(xp: Any) -> None:
    given, out = xp.asarray(X), xp.empty(K.shape)
    read_only = Foreign(out, {"data": (out.data.ptr, True)})
    with pytest.raises(TypeError, match="out is read-only: expected an array that can be written"):
        NET.ntk(given, out=read_only)
    with pytest.raises(TypeError, match="out has dtype float64: expected float32"):
        NET.ntk(given, out=out, dtype="float32")
    with pytest.raises(ValueError, match=r"out has shape \(3, 11\): expected \(11, 11\)"):
        NET.ntk(given, out=out[:3])
    # What is only read may be read-only.
    source = Foreign(given, {"data": (given.data.ptr, True)})
    assert_close(NET.ntk(source).get(), K, "float64")


MIXED: list[tuple[str, Callable[[Any], Any], str]] = [
    ("Z", lambda give: NET.ntk(give(X), X), "X"),
    ("X", lambda give: NET.ntk(X, give(X)), "Z"),
    ("v", lambda give: NET.jvp(give(X), np.ones(NET.n_parameters)), "X"),
    ("X", lambda give: NET.vjp(X, give(np.ones((11, 2)))), "u"),
    ("y", lambda give: fastntk.train(NET, give(X), np.zeros(11, int), learning_rate=1.0), "X"),
    (
        r"validation\[1\]",
        lambda give: fastntk.train(
            NET, give(X), give(np.zeros(11, int)), learning_rate=1.0,
            validation=(give(X), np.zeros(11, int)),
        ),
        "X",
    ),
    ("X", lambda give: fastntk.train(NET, X, np.zeros(11), learning_rate=1.0, probe=give(X)), "pr"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "other"), MIXED)
def test_arrays_on_both_sides(name: str, call: Callable[[Any], Any], other: str, xp: Any) -> None:
    with pytest.raises(
        TypeError,
        match=rf"^{name} is an array of the host, but {other}.* lies in the memory of a GPU: "
        rf"expected both on the same side, such as cupy.asarray\({name}\)",
    ):
        call(xp.asarray)
    with pytest.raises(TypeError, match="V is a ndarray: expected an array in the memory of the G"):
        NET.ntk_operator(xp.asarray(X)) @ np.ones(11)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", 0, "cuda:1:2", ""])
def test_devices_that_do_not_exist(device: Any) -> None:
    expected = rf"device={device!r}: expected 'cpu', 'cuda', or 'cuda:1' and so on"
    for call in (NET, NET.ntk, NET.ntk_operator, NET.smallest_angle):
        with pytest.raises(ValueError, match=expected):
            call(X, device=device)
    with pytest.raises(ValueError, match=expected):
        fastntk.ntk_depths(X, [1], device=device)
    with pytest.raises(ValueError, match=expected):
        fastntk.train(NET, X, np.zeros(11, int), learning_rate=1.0, device=device)


def test_several_gpus(xp: Any, runtime: Runtime) -> None:
    with pytest.raises(ValueError, match=r"device='cuda:1': expected one of 1 GPUs, from 'cuda:0'"):
        NET.ntk(X, device="cuda:1")
    runtime.set_gpus(2)
    assert_close(NET.ntk(X, device="cuda:1"), K, "float64")
    assert runtime.current_gpu() == 0  # as before
    given = xp.asarray(X)
    assert_close(NET.ntk(OnlyDLPack(given, 1)).get(), K, "float64")
    assert_close(NET.ntk(given, device="cuda").get(), K, "float64")
    with pytest.raises(ValueError, match="X lies on GPU 0: expected device='cuda:1'"):
        NET.ntk(given, device="cuda:1")
    with pytest.raises(ValueError, match="Z lies on GPU 1: expected that of X"):
        NET.ntk(given, OnlyDLPack(given, 1))
    with pytest.raises(TypeError, match=r"X lies in the memory of a GPU: expected an array of the"):
        NET.ntk(given, device="cpu")
    assert_close(NET.ntk(X, device="cpu"), K, "float64")


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            X.astype("float32"),
            TypeError,
            "X has dtype float32: expected float64; arrays on a GPU a",
        ),
        (X[:, :4], ValueError, r"X has strides|X has shape \(11, 4\): expected 5 columns"),
        (
            X[:, :4].copy(),
            ValueError,
            r"X has shape \(11, 4\): expected 5 columns, one for each in",
        ),
        (X[0], ValueError, r"X has shape \(5,\): expected a matrix, one sample a row"),
        (X[:0], ValueError, r"X has shape \(0, 5\): expected at least one row and column"),
        (np.where(X[3, 2] == X, np.nan, X), ValueError, r"X\[3, 2\]=.*nan.*\(1 of 55 are not\)"),
        (np.arange(5), TypeError, "X has dtype int64: expected float"),
    ],
)
def test_bad_samples(values: Any, error: type[Exception], message: str, xp: Any) -> None:
    for call in (NET, NET.ntk, NET.jacobian, NET.smallest_angle):
        with pytest.raises(error, match=message):
            call(xp.asarray(values))


def test_bad_vectors(xp: Any) -> None:
    given = xp.asarray(X)
    with pytest.raises(
        ValueError, match=r"v has shape \(3,\): expected \(.*\), one entry for each"
    ):
        NET.jvp(given, xp.ones(3))
    with pytest.raises(TypeError, match="v has dtype float32: expected float64"):
        NET.jvp(given, xp.ones(NET.n_parameters, dtype="float32"))
    with pytest.raises(ValueError, match=r"u has shape \(11, 3\): expected \(11, 2\[, k\]\)"):
        NET.vjp(given, xp.ones((11, 3)))
    with pytest.raises(ValueError, match=r"^u\[2, 0\]=inf: expected"):
        NET.vjp(given, xp.asarray(np.where(np.arange(22) == 4, np.inf, 1.0).reshape(11, 2)))
    with pytest.raises(ValueError, match=r"y\[2\]=7: expected labels from 0 to 1"):
        fastntk.train(NET, given, xp.asarray(np.where(np.arange(11) == 2, 7, 0)), learning_rate=1.0)


def test_operator(xp: Any) -> None:
    operator: Any = NET.ntk_operator(xp.asarray(X))
    v = xp.ones(11)
    assert (operator.shape, operator.dtype) == ((11, 11), np.float64)
    for product in (operator @ v, operator.matvec(v), operator.rmatvec(v.reshape(11, 1))[:, 0],
                    operator.matmat(v.reshape(11, 1))[:, 0]):  # fmt: skip
        assert_close(product.get(), K.sum(axis=1), "float64")
    with pytest.raises(ValueError, match=r"V has shape \(3, 1\): expected \(11, k\)"):
        operator @ xp.ones(3)


def test_custom_activations_stay_on_the_processor(xp: Any) -> None:
    custom = activations.custom(lambda z: z**3, lambda z: 3 * z**2, "cubic")
    net = fastntk.MLP([5, 6, 1], activation=custom)
    for call in (net, net.ntk, net.ntk_operator):
        with pytest.raises(
            ValueError, match=r"activation=.*cubic.*: expected one of those that the"
        ):
            call(X, device="cuda")
        with pytest.raises(
            ValueError, match="a GPU cannot call a function that was compiled for t"
        ):
            call(xp.asarray(X))


def test_what_computes_on_the_processor_alone(xp: Any) -> None:
    given = xp.asarray(K)
    for call in (fastntk.gradient_angles, fastntk.smallest_angle, fastntk.angle_bound):
        with pytest.raises(
            TypeError, match=r"K is a cupy.* but this function computes on the proc"
        ):
            call(given)
    with pytest.raises(
        TypeError, match=r"X is a cupy.* but this function computes on the processor"
    ):
        NET.plan(xp.asarray(X))


def test_without_cupy(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = xp.asarray(X)
    bad = xp.asarray(np.where(X[3, 2] == X, np.nan, X))
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        ImportError, match=r"results of arrays on a GPU are arrays of CuPy, .*: pip"
    ):
        NET.ntk(given)
    # What has no array as its result does without.
    assert NET.smallest_angle(given) == NET.smallest_angle(X)
    with pytest.raises(ValueError, match=r"X\[3, 2\]=.*nan"):
        NET.smallest_angle(bad)
    assert_close(NET.ntk(X, device="cuda"), K, "float64")


def test_where_no_gpu_can_be_used(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastntk.devices.driver.why_not", lambda: "there is a reason")
    gpu.opened_gpu.cache_clear()
    with pytest.raises(RuntimeError, match="device='cuda': there is a reason"):
        NET.ntk(X, device="cuda")
    with pytest.raises(
        TypeError, match=r"X is a cupy.* but there is a reason. Or hand over a copy"
    ):
        NET.ntk(xp.asarray(X))


def test_arithmetic_only_by_option(runtime: Runtime) -> None:
    def products(dtype: str) -> list[int]:
        before = [runtime.products(kind) for kind in range(3)]
        NET.astype(dtype).ntk(X.astype(dtype), device="cuda")
        return [runtime.products(kind) - count for kind, count in enumerate(before)]

    asked = products("float64")[0]
    assert products("float64") == products("float32") == [asked, 0, 0]
    with cuda.options(arithmetic="tf32"):
        assert products("float64") == [asked, 0, 0]
        assert products("float32") == [0, asked, 0]
        with cuda.options(tile=64, arithmetic="emulated_float64") as now:
            assert now == cuda.Options("emulated_float64", 64)
            assert products("float32") == [asked, 0, 0]
            assert products("float64") == [0, 0, asked]
        assert cuda.current_options() == cuda.Options("tf32", 4096)
    assert products("float32") == [asked, 0, 0]
    for options, message in (
        ({"arithmetic": "fast"}, "arithmetic='fast': expected one of 'standard', 'tf32', 'emulate"),
        ({"tile": 0}, "tile=0: expected an integer of at least 1"),
    ):
        with pytest.raises(ValueError, match=message), cuda.options(**options):
            pass


def test_matrices_of_any_shape_are_described(xp: Any) -> None:
    array = gpu_arrays.device_matrix(xp.asarray(X), "X")
    assert len(array) == 11
    assert (array[3:7].shape, array[3:7].pointer) == ((4, 5), array.pointer + 3 * 5 * 8)
    assert np.array_equal(xp.asarray(array[3:7]).get(), X[3:7])
