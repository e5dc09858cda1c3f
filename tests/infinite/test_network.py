# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of infinite width as objects; layers that differ, against an explicit formula."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infinite_reference import layered_kernels
from sklearn.base import clone
from tolerances import assert_close

from fastntk import activations, infinite
from fastntk.infinite.tiles import for_each_tile, tiles

generator = np.random.default_rng(0)
X = generator.standard_normal((3, 3))
Z = generator.standard_normal((2, 3))
Y = generator.standard_normal(3)

# Piecewise linear, in closed form and by Hermite series, in all orders; biases here and there.
MIXTURES: dict[str, tuple[list[str], list[float], list[float]]] = {
    "compiled": (["relu", "identity", "abs"], [1.0, 1.3, 0.7, 2.0], [0.0, 0.0, 0.0, 0.0]),
    "compiled, one bias": (["relu", "abs"], [1.0, 1.5, 0.8], [0.0, 0.6, 0.0]),
    "compiled, bias of the inputs": (["abs", "relu"], [1.2, 1.0, 1.0], [0.4, 0.0, 0.0]),
    "compiled, bias of the outputs": (["relu", "relu"], [1.2, 1.0, 1.0], [0.0, 0.0, 0.7]),
    "one activation": (["relu", "relu", "relu"], [0.5, 2.0, 1.0, 1.1], [0.0, 0.2, 0.0, 0.1]),
    "closed forms": (["gelu", "erf"], [1.1, 0.9, 1.4], [0.0, 0.3, 0.0]),
    "compiled, closed form": (["relu", "gelu"], [1.0, 1.4, 0.9], [0.0, 0.0, 0.0]),
    "closed form, compiled": (["gelu", "relu"], [1.0, 1.4, 0.9], [0.1, 0.0, 0.5]),
    "compiled, series": (["abs", "tanh", "relu"], [1.0, 1.4, 0.9, 1.1], [0.0, 0.2, 0.0, 0.0]),
    "series, closed form": (["silu", "erf"], [1.0, 1.4, 0.9], [0.0, 0.0, 0.3]),
}


def reference(
    name: str, depth: int | None = None, **options: Any
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    phis, weight_std, bias_std = MIXTURES[name]
    depth = len(phis) if depth is None else depth
    functions = [activations.get(phi) for phi in phis[:depth]]
    both = np.concatenate([X, Z])
    return layered_kernels(both, functions, weight_std, bias_std, **options)


def close(actual: npt.NDArray[Any], expected: npt.NDArray[np.float64]) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-9 * np.abs(expected).max())


@pytest.mark.parametrize("name", MIXTURES)
def test_layers_that_differ(name: str) -> None:
    phis, weight_std, bias_std = MIXTURES[name]
    network = infinite.Network(None, phis, weight_std, bias_std)
    assert network.depth == len(phis)
    sigma, theta = reference(name)
    for kernels in (network.kernels(np.concatenate([X, Z])), network.kernels(X, Z)):
        part = np.s_[:] if len(kernels.ntk) > len(X) else np.s_[: len(X), len(X) :]
        close(kernels.nngp, sigma[part])
        close(kernels.ntk, theta[part])
    cosines = network.ntk(np.concatenate([X, Z]), normalize=True)
    roots = np.sqrt(np.diag(theta))
    close(cosines, theta / np.outer(roots, roots))
    np.testing.assert_array_equal(network.ntk(X), network.kernels(X).ntk)
    np.testing.assert_array_equal(network.nngp(X), network.kernels(X).nngp)


@pytest.mark.parametrize("name", MIXTURES)
def test_shallower_networks_are_made_of_the_first_layers(name: str) -> None:
    phis, weight_std, bias_std = MIXTURES[name]
    depths = [len(phis), 0, 1]
    network = infinite.Network(depths, phis, weight_std, bias_std)
    found = network.kernels(np.concatenate([X, Z]))
    for k, depth in enumerate(depths):
        sigma, theta = reference(name, depth)
        close(found.nngp[k], sigma)
        close(found.ntk[k], theta)
        single = network.at_depth(depth)
        assert single.depth == depth
        close(single.ntk(X), theta[:3, :3])
    with pytest.raises(ValueError, match=f"depth=7: expected at most {len(phis)}"):
        network.at_depth(7)


@pytest.mark.parametrize("name", ["compiled", "compiled, one bias", "compiled, series"])
def test_layer_weights_and_scales_of_layers_that_differ(name: str) -> None:
    phis, weight_std, bias_std = MIXTURES[name]
    rates = [(float(w), float(b)) for w, b in generator.uniform(0, 2, (len(phis) + 1, 2))]
    scales = [1.5, 0.8, 1.2][: len(phis)]
    sigma, theta = reference(name, scales=scales, layer_weights=rates)
    options: dict[str, Any] = {"activation_scale": scales, "layer_weights": rates}
    found = infinite.Network(None, phis, weight_std, bias_std, **options).kernels(X)
    close(found.nngp, sigma[:3, :3])
    close(found.ntk, theta[:3, :3])
    defaults = [activations.get(phi).scale for phi in phis[1:]]
    some = [1.5, *[None] * len(defaults)]
    K = infinite.ntk(X, None, None, phis, weight_std, bias_std, activation_scale=some)
    all_given = [1.5, *defaults]
    assert_close(
        K,
        infinite.ntk(X, None, None, phis, weight_std, bias_std, activation_scale=all_given),
        "float64",
    )


def test_standard_parametrization_of_layers_that_differ() -> None:
    weight_std, bias_std = [1.0, 1.5, 0.8], [0.0, 0.6, 0.2]
    network = infinite.Network(
        None, "relu", weight_std, bias_std, parametrization="standard", width=32
    )
    widths = (3, 32, 32)
    rates = [
        (n / s**2, 1 / b**2 if b else 0.0)
        for n, s, b in zip(widths, weight_std, bias_std, strict=True)
    ]
    other = infinite.Network(None, "relu", weight_std, bias_std, layer_weights=rates)
    assert_close(network.ntk(X), other.ntk(X), "float64")


@given(
    st.lists(st.sampled_from(["relu", "abs", "identity", "gelu", "erf"]), min_size=1, max_size=4),
    st.integers(0, 10**6),
)
@settings(max_examples=20)
def test_symmetry_and_cross_kernels(phis: list[str], seed: int) -> None:
    random = np.random.default_rng(seed)
    samples = random.standard_normal((9, 4))
    weight_std = random.uniform(0.5, 2, len(phis) + 1).tolist()
    bias_std = (random.uniform(0, 1, len(phis) + 1) * random.integers(0, 2)).tolist()
    depths = sorted({0, len(phis)})
    network = infinite.Network(depths, phis, weight_std, bias_std)
    whole, block = network.ntk(samples), network.ntk(samples[:4], samples[4:])
    np.testing.assert_array_equal(whole, whole.swapaxes(1, 2))
    assert_close(block, whole[:, :4, 4:], "float64")
    assert np.linalg.eigvalsh(whole[-1])[0] > -1e-11 * whole[-1].max()


@pytest.mark.parametrize("bias_std", [0.0, 0.3])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_layers_that_are_the_same_give_the_same_bits(activation: str, bias_std: float) -> None:
    one = infinite.Network([0, 3], activation, 1.2, bias_std)
    each = infinite.Network([0, 3], [activation] * 3, [1.2] * 4, [bias_std] * 4)
    assert one == each
    assert hash(one) == hash(each)
    assert repr(one) == repr(each)
    np.testing.assert_array_equal(one.ntk(X), each.ntk(X))


def test_long_products_of_layers_that_differ_do_not_overflow() -> None:
    weight_std = [1e100, 1e-100] * 500 + [1.0]
    network = infinite.Network([999, 1000], "relu", weight_std)
    with pytest.raises(OverflowError, match="depth=999"):
        infinite.Network(999, "relu", [1e100, *[1e-100, 1e100] * 499, 1e100]).ntk(X)
    assert_close(network.at_depth(1000).ntk(X), infinite.ntk(X, depth=1000), "float64")
    assert_close(network.ntk(X, normalize=True)[1], infinite.ntk(X, depth=1000, normalize=True),
                 "float64")  # fmt: skip


def test_opposite_and_equal_samples_in_a_mixture() -> None:
    network = infinite.Network(activation=["identity", "erf", "abs", "relu"])
    samples = np.array([[1.0, 2.0], [-1.0, -2.0], [1.0, 2.0], [2.0, 4.0]])
    K = network.ntk(samples, normalize=True)
    assert np.isfinite(K).all()
    assert K[0, 2] == pytest.approx(1.0, rel=1e-12, abs=0)
    pair = network.smallest_angle(samples)
    assert pair.angle < 1e-5
    assert not pair.resolved
    assert infinite.Network(activation=["identity", "abs"]).smallest_angle(samples).resolved


@pytest.mark.parametrize("name", MIXTURES)
def test_angles_of_layers_that_differ(name: str) -> None:
    phis, weight_std, bias_std = MIXTURES[name]
    depths = [len(phis), 0, 1]
    network = infinite.Network(depths, phis, weight_std, bias_std)
    theta = 0.7
    samples = np.sqrt(2) * np.array([[1.0, 0.0], [np.cos(theta), np.sin(theta)]])
    for angles, kernel in (
        (network.gradient_angle(theta), network.ntk(samples, normalize=True)),
        (network.embedding_angle(theta), network.nngp(samples, normalize=True)),
    ):
        np.testing.assert_allclose(angles, np.arccos(kernel[:, 0, 1]), rtol=1e-8)
    for depth, angle in zip(depths, network.gradient_angle(theta), strict=True):
        pair = network.at_depth(depth).smallest_angle(samples)
        assert (pair.i, pair.j) == (0, 1)
        assert pair.angle == pytest.approx(float(angle), rel=1e-8, abs=0)


NETWORK: dict[str, Any] = {
    "depth": 2,
    "activation": ["relu", "gelu"],
    "weight_std": [1.0, 1.2, 0.9],
    "bias_std": [0.1, 0.0, 0.2],
    "activation_scale": [1.3, None],
    "layer_weights": [1.0, 0.5, 2.0],
    "tolerance": 1e-8,
}


def test_functions_take_all_that_the_object_takes() -> None:
    network = infinite.Network(**NETWORK)
    np.testing.assert_array_equal(infinite.ntk(X, Z, **NETWORK), network.ntk(X, Z))
    np.testing.assert_array_equal(infinite.nngp(X, Z, **NETWORK), network.nngp(X, Z))
    for a, b in zip(infinite.kernels(X, **NETWORK), network.kernels(X), strict=True):
        np.testing.assert_array_equal(a, b)
    assert infinite.smallest_angle(X, **NETWORK) == network.smallest_angle(X)
    np.testing.assert_array_equal(
        infinite.gradient_angle([0.1, 2.0], **NETWORK), network.gradient_angle([0.1, 2.0])
    )
    np.testing.assert_array_equal(
        infinite.embedding_angle(0.1, **NETWORK), network.embedding_angle(0.1)
    )
    others = {name: value for name, value in NETWORK.items() if name != "depth"}
    (found,) = infinite.conditioning(X, 2, **others)
    expected = network.conditioning(X)
    assert found.condition_number == expected.condition_number
    assert expected.condition_number == pytest.approx(
        np.linalg.cond(network.ntk(X)), rel=1e-6, abs=0
    )
    with pytest.raises(ValueError, match=r"layer_weights=.*: expected 3 numbers"):
        infinite.conditioning(X, 2, layer_weights=[1.0])


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
def test_regression(kernel: str) -> None:
    network = infinite.Network(**NETWORK)
    given = infinite.Regression(X, kernel=kernel, ridge=0.1, **NETWORK).predict(Z, Y)
    found = network.regression(X, kernel=kernel, ridge=0.1).predict(Z, Y)
    options: dict[str, Any] = {"kernel": kernel, "ridge": 0.1}
    for each in (
        found,
        network.predict(X, Y, Z, **options),
        infinite.predict(X, Y, Z, **options, **NETWORK),
    ):
        np.testing.assert_array_equal(each.mean, given.mean)
    function = getattr(network, kernel)
    expected = function(Z, X) @ np.linalg.solve(function(X) + 0.1 * np.eye(len(X)), Y)
    np.testing.assert_allclose(given.mean, expected, rtol=1e-9)


def test_regression_with_the_prior_needs_no_tangent_kernel() -> None:
    network = infinite.Network(1, "sign", bias_std=0.5)
    mean, covariance = network.predict(X, Y, Z, kernel="nngp", ridge=0.2, covariance=True)
    K, cross = network.nngp(X) + 0.2 * np.eye(len(X)), network.nngp(Z, X)
    np.testing.assert_allclose(mean, cross @ np.linalg.solve(K, Y), rtol=1e-9)
    assert covariance is not None
    expected = network.nngp(Z) - cross @ np.linalg.solve(K, cross.T)
    np.testing.assert_allclose(covariance, expected, atol=1e-10)


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_scikit_learn_kernel(kind: str) -> None:
    kernel = infinite.NeuralKernel(kind, **NETWORK)
    network = infinite.Network(**NETWORK)
    np.testing.assert_array_equal(kernel(X, Z), getattr(network, kind)(X, Z))
    assert_close(kernel.diag(X), np.diag(kernel(X)), "float64")
    np.testing.assert_array_equal(clone(kernel)(X), kernel(X))
    again = eval(repr(kernel), {"NeuralKernel": infinite.NeuralKernel})
    np.testing.assert_array_equal(again(X), kernel(X))
    with pytest.raises(TypeError, match=r"depth=\[1, 2\]: expected an integer"):
        infinite.NeuralKernel(kind, depth=[1, 2])(X)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("network", "shown"),
    [
        (
            infinite.Network(),
            "Network(depth=3, activation='relu', weight_std=1.0, bias_std=0.0)",
        ),
        (
            infinite.Network(range(2), ["relu"], tolerance=1e-6),
            (
                "Network(depth=(0, 1), activation='relu', weight_std=1.0, bias_std=0.0, "
                "tolerance=1e-06)"
            ),
        ),
        (
            infinite.Network(activation=["relu", activations.leaky_relu(0.2)]),
            (
                "Network(depth=2, activation=('relu', activations.leaky_relu(0.2)), "
                "weight_std=1.0, bias_std=0.0)"
            ),
        ),
        (
            infinite.Network(1, layer_weights=[[1, 1], [0, 0]], activation_scale=[None]),
            (
                "Network(depth=1, activation='relu', weight_std=1.0, bias_std=0.0, "
                "layer_weights=(1.0, 0.0))"
            ),
        ),
        (
            infinite.Network(0, [], [2], parametrization="standard"),
            (
                "Network(depth=0, activation=(), weight_std=2.0, bias_std=0.0, "
                "parametrization='standard')"
            ),
        ),
    ],
)
def test_repr(network: infinite.Network, shown: str) -> None:
    assert repr(network) == shown
    assert eval(shown, {"Network": infinite.Network, "activations": activations}) == network
    assert pickle.loads(pickle.dumps(network)) == network


@pytest.mark.parametrize(
    "activation",
    [
        activations.elu(0.1 + 0.2),
        activations.sine(30.0),
        activations.erf(2.0, 1.0),
        activations.polynomial(0.0, 1.0, 0.5),
        activations.exponential(0.3),
        "sin",
        "relu2",
        ["relu", activations.rbf(0.7)],
        [activations.abrelu(0.1, 0.2), "abs"],
    ],
)
@pytest.mark.parametrize("depth", [None, 0, 2])
def test_repr_makes_an_equal_network(activation: Any, depth: int | None) -> None:
    if depth == 0 and isinstance(activation, list):
        activation = []
    network = infinite.Network(depth, activation, bias_std=0.1 + 0.2)
    names = {"Network": infinite.Network, "activations": activations}
    assert eval(repr(network), names) == network


def test_a_depth_at_which_no_layer_is_trained() -> None:
    X = np.random.default_rng(0).standard_normal((4, 3))
    network = infinite.Network(range(3), ["relu", "erf"], layer_weights=[0.0, 0.0, 1.0])
    every = network.ntk(X)
    assert (every[:2] == 0).all()
    assert (every[2] != 0).all()
    for depth in range(3):
        np.testing.assert_array_equal(network.at_depth(depth).ntk(X), every[depth])
    with pytest.raises(ValueError, match="kernel of 0 at depth 1"):
        network.at_depth(1).smallest_angle(X)
    with pytest.raises(ValueError, match="not all 0"):
        infinite.Network(1, layer_weights=[0.0, 0.0])


def test_rows_of_zeros_have_no_angle() -> None:
    X = [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    for name in ("relu", "erf"):
        with pytest.raises(ValueError, match=r"X\[1\] has a kernel of 0 at depth 3"):
            infinite.smallest_angle(X, activation=name)
        assert infinite.smallest_angle(X, activation=name, bias_std=0.1).angle > 0


def test_networks_are_values() -> None:
    network = infinite.Network(2, "gelu", bias_std=0.1)
    assert network == infinite.Network(2, activations.gelu(), 1, 0.1)
    assert network != infinite.Network(2, "gelu", bias_std=0.2)
    assert len({network, infinite.Network(2, "gelu", bias_std=0.1), infinite.Network()}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.depth = 3  # type: ignore[misc]
    assert dataclasses.replace(network, depth=4).depth == 4
    # The parameters count, also those that no kernel of the network depends on.
    flat, other = infinite.Network(0, "relu"), infinite.Network(0, "tanh")
    assert flat == infinite.Network(0, activations.relu())
    assert flat != other
    assert len({flat, other, infinite.Network(0)}) == 2
    assert_close(flat.ntk(X), other.ntk(X), "float64")
    one, two = (dataclasses.replace(net, depth=1).ntk(X) for net in (flat, other))
    assert not np.allclose(one, two)
    # A function without a hash does for all but the hash of the network.
    cube = activations.custom(np.polynomial.Polynomial([0.0, 0.0, 0.0, 1.0]), name="cube")
    K = infinite.Network(activation=[cube, "relu"]).nngp(X)
    expected = infinite.Network(activation=[activations.monomial(3), "relu"]).nngp(X)
    np.testing.assert_allclose(K, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"depth": 2, "weight_std": [1, 1]}, ValueError,
         r"weight_std=\[1, 1\]: expected 3 values, one for each of the layers, or a single one"),
        ({"depth": [1, 2], "bias_std": [0, 1]}, ValueError, r"bias_std=\[0, 1\]: expected 3 valu"),
        ({"depth": 3, "activation": ["relu"]}, ValueError,
         r"activation=\['relu'\]: expected 3 values, one for each of the hidden layers"),
        ({"activation_scale": [1.0], "weight_std": [1, 1, 1]}, ValueError,
         r"activation_scale=\[1.0\]: expected 2 values"),
        ({"activation": ["relu", "rleu"]}, ValueError, "activation='rleu': expected one of"),
        ({"weight_std": [1, 0]}, ValueError, r"weight_std\[1\]=0: expected a finite number above"),
        ({"bias_std": [1, -1]}, ValueError, r"bias_std\[1\]=-1: expected a finite number of at le"),
        ({"bias_std": ["a"]}, TypeError, r"bias_std\[0\]='a': expected a finite number"),
        ({"weight_std": []}, ValueError, r"weight_std=\[\]: expected at least one number"),
        ({"weight_std": "1"}, TypeError, "weight_std='1': expected a finite number"),
        ({"activation_scale": [0.0]}, ValueError, r"activation_scale\[0\]=0.0: expected a finite"),
    ],
)  # fmt: skip
def test_bad_parameters(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        infinite.Network(**options)


def test_what_is_asked_of_one_network() -> None:
    several = infinite.Network([1, 2])
    for ask in (several.smallest_angle, several.conditioning, several.regression):
        with pytest.raises(TypeError, match=r"depth=\[1, 2\]: expected an integer, .* at_depth"):
            ask(X)


def test_tangent_kernels_that_do_not_exist() -> None:
    jump = infinite.Network(activation=["relu", "sign"])
    with pytest.raises(ValueError, match="'sign': no tangent kernel exists for it at depth 2"):
        jump.ntk(X)
    with pytest.raises(ValueError, match="'sign': no tangent kernel"):
        jump.gradient_angle(1.0)
    with pytest.raises(ValueError, match="'sign': no tangent kernel"):
        infinite.ntk(X, activation=["sign", "relu"], layer_weights=[1, 0, 0])
    # Gradients of the layers behind the jump exist.
    after = infinite.Network(activation=["sign", "relu"], layer_weights=[0, 1, 1])
    assert np.isfinite(after.ntk(X)).all()
    assert_close(
        infinite.ntk(X, activation=["relu", "sign"], layer_weights=[0, 0, 1]),
        jump.nngp(X),
        "float64",
    )


def test_angles_that_are_not_defined() -> None:
    with pytest.raises(ValueError, match="parametrization='standard': expected 'ntk'"):
        infinite.gradient_angle(1.0, parametrization="standard", width=5)
    standard = infinite.embedding_angle(1.0, parametrization="standard", width=5)
    assert standard == infinite.embedding_angle(1.0)
    with pytest.raises(ValueError, match="kernel of 0 at depth 0"):
        infinite.gradient_angle(1.0, [0, 1], layer_weights=[0, 1])
    augmented = infinite.Network(0, bias_std=1.0)
    assert float(augmented.gradient_angle(np.pi / 2)) == pytest.approx(
        np.arccos(0.5), rel=1e-9, abs=0
    )


def test_arrays_that_numba_has_no_memory_for_have_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(message: str) -> Any:
        def work(_: Any) -> None:
            raise MemoryError(message)

        return for_each_tile(
            work, list(tiles(300, 200, 1, symmetric=False, shape=(64, 1024))), False, ""
        )

    with pytest.raises(MemoryError, match=r"of 64 × 200 pairs, of 100\.0 KiB each, do not fit"):
        fail("Allocation failed (probably too large).")
    with pytest.raises(MemoryError, match="Unable to allocate 5 KiB"):
        fail("Unable to allocate 5 KiB")


@pytest.mark.parametrize("tolerance", [0.0, 1.1, float("nan")])
def test_an_error_of_more_than_everything_is_no_tolerance(tolerance: float) -> None:
    assert infinite.Network(1, tolerance=1.0).tolerance == 1.0
    with pytest.raises(ValueError, match=r"tolerance=.*: expected a finite number above 0 and at"):
        infinite.Network(1, tolerance=tolerance)
