# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Everything that computes on a GPU, for arrays of the host and of CuPy, beside the processor."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tolerances import assert_close

import fastntk
from fastntk import PackedKernel, activations, paper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt
    from on_host import Runtime

    Array = npt.NDArray[Any]

N, M, INPUTS, OUTPUTS = 37, 9, 5, 2
WIDTHS = [INPUTS, 33, 8, OUTPUTS]


def normal(*shape: int, seed: int = 0, dtype: npt.DTypeLike = "float64") -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def network(dtype: str = "float64", activation: str = "gelu", **options: Any) -> fastntk.MLP:
    settings = {"bias_std": 0.3, "seed": 3, **options}
    return fastntk.MLP(WIDTHS, activation=activation, dtype=dtype, **settings)


# Both ways of handing over arrays: what makes them of NumPy's, the options, and the way back.
HANDING_OVER = ["of the host", "of CuPy"]


class Way:
    def __init__(self, name: str, xp: Any) -> None:
        self._xp = xp if name == "of CuPy" else None
        self.options: dict[str, Any] = {} if self._xp else {"device": "cuda"}

    def give(self, values: Any) -> Any:
        return values if self._xp is None else self._xp.asarray(values)

    def back(self, values: Any) -> Any:
        if self._xp is None:
            assert isinstance(values, np.ndarray)
            return values
        assert isinstance(values, self._xp.ndarray)
        return values.get()


@pytest.fixture(params=HANDING_OVER)
def way(request: pytest.FixtureRequest, xp: Any) -> Way:
    return Way(request.param, xp)


@dataclass(frozen=True)
class Job:
    """A network, samples, what hands over further arrays, and options."""

    net: fastntk.MLP
    X: Any
    Z: Any
    give: Callable[[Any], Any]
    on: dict[str, Any]


LAYER_WEIGHTS = [[0.5, 1.0], [0.0, 2.0], [1.5, 0.0]]

QUANTITIES: dict[str, Any] = {
    "outputs": lambda j: j.net(j.X, **j.on),
    "trace": lambda j: j.net.ntk(j.X, **j.on),
    "cross": lambda j: j.net.ntk(j.X, j.Z, **j.on),
    "one output": lambda j: j.net.ntk(j.X, outputs=1, **j.on),
    "one output, cross": lambda j: j.net.ntk(j.X, j.Z, outputs=0, **j.on),
    "diagonal": lambda j: j.net.ntk(j.X, outputs="diagonal", **j.on),
    "full": lambda j: j.net.ntk(j.X, outputs="full", **j.on),
    "full, cross": lambda j: j.net.ntk(j.X, j.Z, outputs="full", **j.on),
    "weighted": lambda j: j.net.ntk(j.X, layer_weights=LAYER_WEIGHTS, **j.on),
    "by layer": lambda j: j.net.ntk_by_layer(j.X, j.Z, **j.on),
    "conjugate": lambda j: j.net.conjugate_kernel(j.X, **j.on),
    "gradient features": lambda j: j.net.gradient_features(j.Z, 1, **j.on),
    "jacobian": lambda j: j.net.jacobian(j.Z, **j.on),
    "input jacobian": lambda j: j.net.input_jacobian(j.X, **j.on),
    "jvp": lambda j: j.net.jvp(j.Z, j.give(normal(j.net.n_parameters, dtype=j.net.dtype)), **j.on),
    "jvp of several": lambda j: j.net.jvp(
        j.Z, j.give(normal(j.net.n_parameters, 2, dtype=j.net.dtype)), **j.on
    ),
    "vjp": lambda j: j.net.vjp(j.Z, j.give(normal(M, OUTPUTS, dtype=j.net.dtype)), **j.on),
    "vjp of several": lambda j: j.net.vjp(
        j.Z, j.give(normal(M, OUTPUTS, 2, dtype=j.net.dtype)), **j.on
    ),
    "linearized": lambda j: j.net.linearize()(
        j.Z, j.give(normal(j.net.n_parameters, dtype=j.net.dtype)), **j.on
    ),
    "operator": lambda j: (
        j.net.ntk_operator(j.Z, layer_weights=LAYER_WEIGHTS, **j.on)
        @ j.give(normal(M, 2, dtype=j.net.dtype))
    ),
    "operator on a vector": lambda j: (
        j.net.ntk_operator(j.Z, outputs=1, **j.on) @ j.give(normal(M, dtype=j.net.dtype))
    ),
    "Hessian product": lambda j: fastntk.linearity.hessian_vector_product(
        j.net,
        j.Z,
        j.give(normal(j.net.n_parameters, 2, dtype=j.net.dtype)),
        coefficients=j.give(normal(M, OUTPUTS, dtype=j.net.dtype)),
        **j.on,
    ),
    "Hessian product of one output": lambda j: fastntk.linearity.hessian_vector_product(
        j.net, j.Z, j.give(normal(j.net.n_parameters, dtype=j.net.dtype)), output=1, **j.on
    ),
    "Hessian operator": lambda j: (
        fastntk.linearity.hessian_operator(j.net, j.Z, output=1, **j.on)
        @ j.give(normal(j.net.n_parameters, 2, dtype=j.net.dtype))
    ),
    "Hessian of a loss": lambda j: (
        fastntk.linearity.loss_hessian(
            j.net, j.Z, j.give(normal(M, OUTPUTS, dtype=j.net.dtype)), loss="mse", **j.on
        )
        @ j.give(normal(j.net.n_parameters, dtype=j.net.dtype))
    ),
    "full operator": lambda j: (
        j.net.ntk_operator(j.Z, outputs="full", **j.on)
        @ j.give(normal(M * OUTPUTS, dtype=j.net.dtype))
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", QUANTITIES)
def test_quantities(name: str, dtype: str, way: Way) -> None:
    net = network(dtype)
    X, Z = normal(N, INPUTS, dtype=dtype), normal(M, INPUTS, seed=1, dtype=dtype)
    exact = Job(net.astype("float64"), X, Z, lambda v: v.astype("float64"), {})
    expected = QUANTITIES[name](exact)
    found = way.back(QUANTITIES[name](Job(net, way.give(X), way.give(Z), way.give, way.options)))
    assert found.dtype == dtype
    assert found.shape == expected.shape
    assert_close(found, expected, dtype)


@pytest.mark.parametrize("activation", activations.FINITE_WIDTH)
def test_activations(activation: str, way: Way) -> None:
    net = network(activation=activation, parametrization="standard")
    X = normal(M, INPUTS)
    found = way.back(net.ntk(way.give(X), **way.options))
    assert_close(found, net.ntk(X), "float64")
    assert np.array_equal(found, found.T)


OUTPUT_ACTIVATIONS = ["square", "tanh", "sigmoid", "softmax", "softplus"]


@pytest.mark.parametrize("psi", OUTPUT_ACTIVATIONS)
@pytest.mark.parametrize("name", [name for name in QUANTITIES if name != "conjugate"])
def test_quantities_of_output_activations(name: str, psi: str, xp: Any) -> None:
    net = network(output_activation=psi)
    X, Z = normal(N, INPUTS), normal(M, INPUTS, seed=1)
    way = Way("of the host", xp)
    expected = QUANTITIES[name](Job(net, X, Z, way.give, {}))
    found = QUANTITIES[name](Job(net, X, Z, way.give, way.options))
    assert found.shape == expected.shape
    assert_close(found, expected, "float64")


@pytest.mark.parametrize("psi", OUTPUT_ACTIVATIONS)
@pytest.mark.parametrize("batch", [10, N])
def test_training_of_output_activations(psi: str, batch: int, way: Way) -> None:
    net, X, y = network(output_activation=psi), normal(N, INPUTS), normal(N, OUTPUTS, seed=4)
    options: Any = {"loss": "mse", "learning_rate": 0.05, "epochs": 3, "batch_size": batch}
    expected = fastntk.train(net, X, y, **options)
    found = fastntk.train(net, way.give(X), way.give(y), **options, **way.options)
    assert_close(found.loss, expected.loss, "float64")
    for now, truth in zip(found.net.weights, expected.net.weights, strict=True):
        assert_close(now, truth, "float64")


def test_a_first_batch_that_fits_is_no_measure(way: Way) -> None:
    """The losses of all samples at the start are found where the network is trained."""
    X, y = np.sqrt(11.0) * np.eye(11), np.ones(11)
    net = fastntk.MLP([11, 1], seed=1)
    options: Any = {"loss": "mse", "learning_rate": 0.1, "epochs": 2, "batch_size": 1, "seed": 5}
    history = fastntk.train(net, way.give(X), way.give(y), **options, **way.options)
    assert history.status == "completed"


def cube(x: Any) -> Any:
    return x**3


def cube_slope(x: Any) -> Any:
    return 3 * x**2


def cube_bend(x: Any) -> Any:
    return 6 * x


def test_custom_output_activations_are_refused(way: Way) -> None:
    psi = activations.custom(cube, cube_slope, "cube", curvature=cube_bend)
    net = network(output_activation=psi)
    with pytest.raises(ValueError, match=r"output_activation=Activation\(cube\): .* a GPU cannot"):
        net(way.give(normal(M, INPUTS)), **way.options)


@pytest.mark.parametrize("widths", [[5, 1], [5, 3, 1], [5, 40, 35, 3]])
@pytest.mark.parametrize("bias_std", [0.0, 0.5])
def test_depths_and_biases(widths: list[int], bias_std: float, way: Way) -> None:
    net = fastntk.MLP(widths, bias_std=bias_std)
    X = normal(M, INPUTS)
    assert_close(way.back(net(way.give(X), **way.options)), net(X), "float64")
    assert_close(way.back(net.ntk(way.give(X), **way.options)), net.ntk(X), "float64")


def test_single_precision_network_with_double_precision_kernel(way: Way) -> None:
    net = network("float32")
    X = normal(N, INPUTS, dtype="float32")
    found = way.back(net.ntk(way.give(X), dtype="float64", **way.options))
    assert found.dtype == np.float64
    assert_close(found, net.ntk(X, dtype="float64"), "float32")
    narrowed = way.back(network().ntk(way.give(normal(N, INPUTS)), dtype="float32", **way.options))
    assert narrowed.dtype == np.float32
    assert_close(narrowed, network().ntk(normal(N, INPUTS)), "float32")


@pytest.mark.parametrize("shared", [True, False])
def test_depth_sweep(shared: bool, way: Way) -> None:
    X = normal(M, INPUTS)
    options: Any = {"width": 17, "bias_std": 0.2, "shared": shared}
    expected = fastntk.ntk_depths(X, [3, 0, 1], **options)
    found: Any = fastntk.ntk_depths(way.give(X), [3, 0, 1], **options, **way.options)
    assert list(found) == [3, 0, 1]
    for depth, kernel in expected.items():
        assert_close(way.back(found[depth]), kernel, "float64")


@pytest.mark.parametrize("with_z", [False, True])
def test_tiles(with_z: bool, way: Way) -> None:
    net, X, Z = network(), normal(N, INPUTS), normal(M, INPUTS, seed=1)
    other = Z if with_z else None
    expected = list(net.ntk_tiles(X, other, tile=11))
    given = None if other is None else way.give(other)
    found = list(net.ntk_tiles(way.give(X), given, tile=11, **way.options))
    assert [(t.rows, t.cols) for t in found] == [(t.rows, t.cols) for t in expected]
    for tile, truth in zip(found, expected, strict=True):
        assert_close(way.back(tile.kernel), truth.kernel, "float64")


def test_smallest_angles(way: Way) -> None:
    net = network("float32")
    X = normal(N, INPUTS, dtype="float32")
    X[20] = X[7] * np.float32(1 + 1e-6)
    # The same pairs, whose angles are computed on the processor: to the last bit.
    assert net.smallest_angle(way.give(X), 5, **way.options) == net.smallest_angle(X, 5)
    pair = net.smallest_angle(way.give(X), **way.options)
    assert (pair.i, pair.j) == (7, 20)
    assert net.pair_angles(way.give(X), [(7, 20)]) == [pair]


def test_outputs_that_go_elsewhere(way: Way, tmp_path: Path) -> None:
    net, X, Z = network(), normal(N, INPUTS), normal(M, INPUTS, seed=1)
    K = net.ntk(X)
    given = way.give(X)
    packed = net.ntk(given, out="packed", **way.options)
    assert isinstance(packed, PackedKernel)
    assert_close(packed.to_dense(), K, "float64")
    array = np.full((N, N), np.nan)
    assert net.ntk(given, out=array, **way.options) is array
    assert_close(array, K, "float64")
    wide = np.full((N, 2 * M), np.nan)  # rows that are apart
    net.ntk(given, way.give(Z), out=wide[:, ::2], **way.options)
    assert_close(wide[:, ::2], net.ntk(X, Z), "float64")
    assert np.isnan(wide[:, 1::2]).all()
    mapped = net.ntk(given, out=tmp_path / "kernel.npy", outputs=1, **way.options)
    assert isinstance(mapped, np.memmap)
    assert_close(np.load(tmp_path / "kernel.npy"), net.ntk(X, outputs=1), "float64")


TRAINING: list[dict[str, Any]] = [
    {"loss": "mse"},
    {"loss": "cross_entropy", "batch_size": 10, "momentum": 0.5},
    {"loss": "mse", "batch_size": 16, "momentum": 0.9, "trainable": [True, False, True]},
    {"loss": "cross_entropy", "layer_rates": [[1, 0], [0, 2], [0, 1]]},
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", TRAINING, ids=str)
def test_training(options: dict[str, Any], dtype: str, way: Way) -> None:
    net = network(dtype)
    X, labels = normal(N, INPUTS, dtype=dtype), np.arange(N) % OUTPUTS
    y = labels if options["loss"] == "cross_entropy" else normal(N, OUTPUTS, dtype=dtype)
    arguments: Any = {"learning_rate": 0.3, "epochs": 3, "seed": 5, **options}
    expected = fastntk.train(net, X, y, validation=(X[:M], y[:M]), probe=X[:4], **arguments)
    found = fastntk.train(
        net,
        way.give(X),
        way.give(y),
        validation=(way.give(X[:M]), way.give(y[:M])),
        probe=way.give(X[:4]),
        **arguments,
        **way.options,
    )
    assert found.status == "completed"
    for name in ("loss", "accuracy", "validation_loss", "weight_change", "gradient_norm"):
        assert_close(getattr(found, name), getattr(expected, name), dtype)
    for k, (now, truth) in enumerate(zip(found.net.weights, expected.net.weights, strict=True)):
        assert_close(now, truth, dtype)
        assert np.array_equal(now, net.weights[k]) == np.array_equal(truth, net.weights[k])
    for now, truth in zip(found.net.biases or (), expected.net.biases or (), strict=True):
        assert_close(now, truth, dtype)
    assert [p.step for p in found.probe] == [p.step for p in expected.probe]
    assert_close(
        [p.relative_change for p in found.probe], [p.relative_change for p in expected.probe], dtype
    )


def test_training_goes_on_from_a_checkpoint(way: Way, tmp_path: Path) -> None:
    net, X, y = network(), normal(N, INPUTS), np.arange(N) % OUTPUTS
    options: Any = {"learning_rate": 0.3, "batch_size": 10, "momentum": 0.5, **way.options}
    whole = fastntk.train(net, way.give(X), way.give(y), epochs=4, **options)
    for epochs in (2, 4):
        parts = fastntk.train(
            net, way.give(X), way.give(y), epochs=epochs, checkpoint=tmp_path / "c.npz", **options
        )
    assert np.array_equal(parts.loss, whole.loss)
    for a, b in itertools.zip_longest(parts.net.weights, whole.net.weights):
        assert np.array_equal(a, b)


def test_training_in_place_with_a_callback(way: Way) -> None:
    net, X, y = network(), normal(N, INPUTS), np.arange(N) % OUTPUTS
    seen: list[Any] = []
    fastntk.train(
        net, way.give(X), way.give(y), learning_rate=0.3, batch_size=10, inplace=True,
        **way.options,
        callback=lambda step, now: seen.append((step, now.weights[0].copy())), callback_every=2,
    )  # fmt: skip
    expected = network()
    fastntk.train(expected, X, y, learning_rate=0.3, batch_size=10, inplace=True)
    assert_close(net.weights[0], expected.weights[0], "float64")
    assert [step for step, _ in seen] == [2, 4]
    assert not np.array_equal(seen[0][1], seen[1][1])
    assert np.array_equal(seen[1][1], net.weights[0])


OUT_OF_RANGE: dict[str, Any] = {
    "outputs": lambda net, X, j: net(X, **j),
    "trace": lambda net, X, j: net.ntk(X, **j),
    "cross": lambda net, X, j: net.ntk(X, X[:3], **j),
    "full": lambda net, X, j: net.ntk(X, outputs="full", **j),
    "by layer": lambda net, X, j: net.ntk_by_layer(X, **j),
    "tiles": lambda net, X, j: list(net.ntk_tiles(X, tile=9, **j)),
    "packed": lambda net, X, j: net.ntk(X, out="packed", **j),
    "jacobian": lambda net, X, j: net.jacobian(X, **j),
    "input jacobian": lambda net, X, j: net.input_jacobian(X, **j),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_what_leaves_the_range_is_an_error_wherever_it_lies(name: str, way: Way) -> None:
    """As on the processor: overflow, and kernels of which nothing is left."""
    deep = fastntk.MLP([INPUTS, *[16] * 40, 2], weight_std=30.0, dtype="float32")
    X = normal(N, INPUTS, dtype="float32")
    with pytest.raises(OverflowError, match=r"X.* with elements of at most .* not finite in floa"):
        OUT_OF_RANGE[name](deep, way.give(X), way.options)
    if name in {"outputs", "jacobian", "input jacobian"}:
        return
    shallow = network("float32", activation="relu", bias_std=0.0)
    with pytest.raises(OverflowError, match=r"X with elements of at most .*: the largest element"):
        OUT_OF_RANGE[name](shallow, way.give(X * np.float32(1e-25)), way.options)
    OUT_OF_RANGE[name](shallow, way.give(X), way.options)


def test_products_out_of_range_are_errors_wherever_they_lie(way: Way) -> None:
    net = network("float32", activation="relu", bias_std=0.0)
    X, v = normal(N, INPUTS, dtype="float32"), normal(net.n_parameters, 1, dtype="float32")
    u = normal(N, OUTPUTS, dtype="float32")
    huge = np.float32(1e37)
    with pytest.raises(OverflowError, match=r"X with .* and v with .* is not finite in float32"):
        net.jvp(way.give(100 * X), way.give(huge * v), **way.options)
    with pytest.raises(OverflowError, match=r"X with .* and u with .* is not finite in float32"):
        net.vjp(way.give(100 * X), way.give(huge * u), **way.options)
    operator = net.ntk_operator(way.give(X), **way.options)
    with pytest.raises(OverflowError, match=r"X with .* and vectors with .* is not finite in f"):
        operator @ way.give(10 * huge * u[:, :1])
    small = net.ntk_operator(way.give(X * np.float32(1e-25)), **way.options)
    with pytest.raises(OverflowError, match=r"X with .* and vectors with .* too small for float32"):
        small @ way.give(u[:, :1])


def test_the_hessian_of_the_cross_entropy(way: Way) -> None:
    net, X, y = network(), normal(N, INPUTS), np.arange(N) % OUTPUTS
    V = normal(net.n_parameters, 2)
    for part in ("full", "gauss_newton"):
        expected = fastntk.linearity.loss_hessian(net, X, y, part=part) @ V
        operator = fastntk.linearity.loss_hessian(
            net, way.give(X), way.give(y), part=part, **way.options
        )
        assert_close(way.back(operator @ way.give(V)), expected, "float64")


def test_kernels_that_move(way: Way) -> None:
    """Numbers come back to the host, wherever the samples are."""
    net, X = network(), normal(N, INPUTS)
    direction = 0.1 * normal(net.n_parameters)
    calls: Any = (
        (fastntk.linearity.kernel_change, net, direction),
        (fastntk.linearity.kernel_drift, [net, network(seed=4)]),
    )
    for call, first, *others in calls:
        expected = call(first, X, *others)
        found = call(first, way.give(X), *others, **way.options)
        for name, values in vars(expected).items():
            assert isinstance(getattr(found, name), np.ndarray)
            np.testing.assert_allclose(getattr(found, name), values, rtol=1e-8, atol=1e-12)


@pytest.mark.usefixtures("runtime")
def test_studies_of_convergence(runtime: Runtime) -> None:
    X, y = normal(N, INPUTS), np.arange(N) % OUTPUTS
    options: dict[str, Any] = {
        "width": 8, "seeds": 1, "test": (X[:M], y[:M]), "activation": "tanh", "batch_size": 10,
        "epochs": 3, "rate_samples": 4, "rate_steps": 20, "dtype": "float64", "progress": False,
        "jobs": 1,  # what stands in for CUDA serves one thread at a time
    }  # fmt: skip
    expected = fastntk.convergence_study(X, y, [1, 2], **options)
    multiplied = runtime.products(0)
    found = fastntk.convergence_study(X, y, [1, 2], device="cuda", **options)
    assert runtime.products(0) > multiplied  # it was there
    assert found.to_frame()["learning_rate"].tolist() == expected.to_frame()[
        "learning_rate"
    ].tolist()  # fmt: skip
    for ours, theirs in zip(found.results, expected.results, strict=True):
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-8)
        np.testing.assert_array_equal(ours.test_accuracy, theirs.test_accuracy)


@pytest.mark.usefixtures("runtime")
def test_figures_of_the_paper(runtime: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "samples.npy"
    np.save(file, normal(N, INPUTS))
    settings: dict[str, Any] = {"seeds": 1, "width": 8, "progress": False}
    expected = paper.figure(3, str(file), **settings).tables["minibatches"]
    multiplied = runtime.products(0)
    part = paper.figure(3, str(file), device="cuda", **settings)
    assert runtime.products(0) > multiplied
    assert part.command.endswith("--device cuda")
    found = part.tables["minibatches"]
    assert found["i"].tolist() == expected["i"].tolist()
    np.testing.assert_allclose(found["smallest_angle"], expected["smallest_angle"], rtol=1e-7)
