# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks with skip connections and normalization at finite width."""

from __future__ import annotations

import copy
import pickle
import re
from typing import TYPE_CHECKING, Any

import layer_reference as reference
import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_close

import fastntk
from fastntk import layers
from fastntk.architectures.finite import FiniteNetwork
from fastntk.layers import Dense, LayerNorm, Residual, RMSNorm
from fastntk.networks.wired import with_arrays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 5))
BLOCK = Residual(
    [LayerNorm(gain=True, shift=True), Dense(12, bias_std=0.2), layers.Tanh(), Dense(9)], scale=0.5
)
# Every kind of step: two maps of one node, a branch that begins with an activation.
DESCRIPTION = fastntk.Network(
    [
        Dense(9),
        BLOCK,
        Residual([layers.SiLU(), Dense(7)], projection=Dense(7, bias_std=0.3)),
        RMSNorm(gain=True, epsilon=0.1),
        Dense(3, bias_std=0.5),
    ],
    inputs=5,
)


def with_parameters(description: fastntk.Network, seed: int) -> tuple[FiniteNetwork, list[Any]]:
    """Return a network whose gains and shifts are not those of the start, and its parameters."""
    numbers = np.random.default_rng(seed)
    start = description.sample().parameters
    arrays = [numbers.standard_normal(array.shape) for array in start]
    wired = with_arrays(tuple(description.layers), description.inputs, arrays)
    return FiniteNetwork.of_network(wired), arrays


def assert_near(actual: Any, expected: Any) -> None:
    """Assert that results agree, whose terms are about 1 and may cancel."""
    scale = 1 + np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11 * scale)


@settings(max_examples=15)
@given(description=networks(activations=("tanh", "silu"), limit=False), seed=st.integers(0, 99))
def test_outputs_derivatives_and_kernels(description: fastntk.Network, seed: int) -> None:
    net, parameters = with_parameters(description, seed)
    numbers = np.random.default_rng(seed)
    x = numbers.standard_normal((6, description.inputs))
    count, outputs = net.n_parameters, net.n_outputs
    assert count == description.n_parameters == sum(array.size for array in parameters)
    assert_near(net(x), reference.outputs(description, parameters, x))
    J = reference.jacobian(description, parameters, x)
    assert_near(net.jacobian(x), J)
    assert_near(net.input_jacobian(x), reference.input_jacobian(description, parameters, x))
    v, u = numbers.standard_normal((count, 2)), numbers.standard_normal((6, outputs, 2))
    assert_near(net.jvp(x, v), J @ v)
    assert_near(net.vjp(x, u), np.einsum("icp,ick->pk", J, u))

    weighted = J * np.sqrt(reference.rates(description))
    full = np.einsum("icp,jdp->ijcd", weighted, weighted)
    trace = np.einsum("ijcc->ij", full)
    assert_near(net.ntk(x, outputs="full"), full)
    assert_near(net.ntk(x, outputs="diagonal"), np.einsum("ijcc->ijc", full))
    assert_near(net.ntk(x), trace)
    assert_near(net.ntk(x, x[2:4], outputs=outputs - 1), full[:, 2:4, -1, -1])
    assert_near(net.ntk_by_layer(x).sum(axis=0), trace)
    assert_near(net.ntk_operator(x) @ u[:, 0], trace @ u[:, 0])
    pairs = full.transpose(0, 2, 1, 3).reshape(6 * outputs, 6 * outputs)
    assert_near(net.ntk_operator(x, outputs="full") @ np.ones(6 * outputs), pairs.sum(1))


@pytest.mark.parametrize("epsilon", [1e-5, 0.5, 10.0])
def test_a_single_neuron_that_is_normalized(epsilon: float) -> None:
    """With an ε it keeps more than its sign, and the slope ε/(u² + ε)^{3/2}."""
    norm = RMSNorm(epsilon=epsilon, gain=True)
    described = [norm, Dense(1), norm, Dense(4), layers.Tanh(), Dense(1)]
    description = fastntk.Network(described, inputs=1)
    net, parameters = with_parameters(description, 0)
    x = np.random.default_rng(0).standard_normal((6, 1))
    J = reference.jacobian(description, parameters, x)[:, 0]
    assert_near(net(x), reference.outputs(description, parameters, x))
    assert_near(net.jacobian(x)[:, 0], J)
    assert_near(net.ntk(x), J @ J.T)
    # The difference of 1 and ĥ² loses digits, of which the proved bounds know.
    inner = fastntk.Network([Dense(1), RMSNorm(epsilon=epsilon), Dense(1, trained=0)], inputs=1)
    net, parameters = with_parameters(inner, 0)
    J = (reference.jacobian(inner, parameters, x) * np.sqrt(reference.rates(inner)))[:, 0]
    of_features = net.ntk_errors(x)["feature_error"]
    assert of_features < 1e-6
    lengths = np.linalg.norm(J, axis=1)
    off = np.abs(net.ntk(x) - J @ J.T) / np.outer(lengths, lengths)
    assert (off <= 2.1 * of_features).all()


def test_layers_of_the_kernel() -> None:
    net, parameters = with_parameters(DESCRIPTION, 1)
    J = reference.jacobian(DESCRIPTION, parameters, X)
    steps = [step for step in DESCRIPTION.steps.steps if hasattr(step, "n_parameters")]
    parts = np.split(J, np.cumsum([step.n_parameters for step in steps])[:-1], axis=2)
    by_layer = net.ntk_by_layer(X)
    assert len(by_layer) == len(parts) == 8
    for k, (kernel, part) in enumerate(zip(by_layer, parts, strict=True)):
        assert_close(kernel, np.einsum("icp,jcp->ij", part, part), np.float64)
        alone = net.ntk(X, layer_weights=np.eye(8)[k])
        assert_close(alone, kernel, np.float64)
    # ω of a gain and of its shift.
    omega = np.zeros((8, 2))
    omega[1] = 3.0, 0.5
    gain, shift = parts[1][:, :, :9], parts[1][:, :, 9:]
    expected = 3 * np.einsum("icp,jcp->ij", gain, gain) + 0.5 * np.einsum(
        "icp,jcp->ij", shift, shift
    )
    assert_close(net.ntk(X, layer_weights=omega), expected, np.float64)
    of_one = reference.jacobian(DESCRIPTION, parameters, X)[:, 0, -parts[-1].shape[2] :]
    assert_close(net.conjugate_kernel(X), of_one @ of_one.T, np.float64)
    with pytest.raises(ValueError, match=r"layer_weights=\[1, 2\]: expected 8 numbers"):
        net.ntk(X, layer_weights=[1, 2])


def test_kernels_in_all_forms_and_precisions(tmp_path: Path) -> None:
    net = DESCRIPTION.sample(seed=2)
    K = net.ntk(X)
    assert_close(net.ntk(X, out="packed").to_dense(), K, np.float64)
    assert_close(net.ntk(X, out=str(tmp_path / "K.npy")), K, np.float64)
    for tile in net.ntk_tiles(X, tile=16):
        assert_close(tile.kernel, K[tile.rows, tile.cols], np.float64)
    in_blocks = net.ntk_operator(X, block_rows=7)
    assert_close(in_blocks.columns([3, 30]), K[:, [3, 30]], np.float64)
    assert_close(in_blocks.diagonal(), np.diagonal(K), np.float64)
    single = DESCRIPTION.sample(seed=2, dtype="float32")
    assert single.dtype == np.float32
    for mine, other in zip(single.parameters, net.parameters, strict=True):
        assert np.array_equal(mine, other.astype(np.float32))
    assert_close(single.ntk(X), K, np.float32)
    assert_close(single(X), net(X), np.float32)
    rounded = X.astype(np.float32)  # passes in float64 have all digits of the kernel
    exact = single.astype("float64").ntk(rounded)
    assert_close(single.ntk(X, dtype="float64"), exact, np.float64)
    assert_close(single.ntk(X, dtype="float64"), K, np.float32)


def test_a_chain_of_layers_is_the_mlp_of_the_same_seed() -> None:
    described = [Dense(30), layers.ReLU(), Dense(20, bias_std=0.0), layers.ReLU(), Dense(2)]
    net = fastntk.Network(described, inputs=5).sample(seed=4)
    mlp = fastntk.MLP([5, 30, 20, 2], seed=4)
    for mine, other in zip(net.parameters, mlp.weights, strict=True):
        assert np.array_equal(mine, other)
    assert_close(net.ntk(X, outputs="full"), mlp.ntk(X, outputs="full"), np.float64)
    assert_close(net.ntk_by_layer(X), mlp.ntk_by_layer(X), np.float64)
    assert net.feature_error == mlp.feature_error


def test_what_alpha_and_scale_do() -> None:
    plain = fastntk.Network([Dense(9), Dense(2)], inputs=5).sample()
    skipped = fastntk.Network([Dense(9), Residual([Dense(9)], scale=0.0), Dense(2)], inputs=5)
    first, branch, last = skipped.sample().parameters
    assert np.array_equal(first, plain.parameters[0])
    wired = with_arrays(
        tuple(skipped.layers), 5, [*plain.parameters[:1], branch, plain.parameters[1]]
    )
    assert last.shape == plain.parameters[1].shape
    assert np.array_equal(FiniteNetwork.of_network(wired)(X), plain(X))  # the identity
    # A normalization makes nothing of the size of what it is given, whatever that is.
    net = fastntk.Network([RMSNorm(), Dense(8), layers.Tanh(), Dense(1)], inputs=5).sample()
    for power in (1000, -900):
        assert np.array_equal(net(np.ldexp(X, power)), net(X))
        assert np.array_equal(net.ntk(np.ldexp(X, power)), net.ntk(X))


@pytest.mark.parametrize("kind", [RMSNorm, LayerNorm])
def test_samples_without_a_direction_are_refused(kind: Any) -> None:
    net = fastntk.Network([Dense(9), BLOCK, kind(), Dense(2)], inputs=5).sample()
    bad = X.copy()
    bad[7] = 0.0
    label = r"layers\[1\]\.layers\[0\]=LayerNorm\(gain=True, shift=True\)"
    message = rf"^{{}}\[7\]: the values before {label} are all equal and have no direction: expec"
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("X", lambda: net(bad)),
        ("X", lambda: net.ntk(bad)),
        ("X", lambda: net.ntk(bad, X)),
        ("Z", lambda: net.ntk(X, bad)),
        ("X", lambda: net.ntk(bad, out="packed")),
        ("X", lambda: net.jacobian(bad)),
        ("X", lambda: net.input_jacobian(bad)),
        ("X", lambda: net.jvp(bad, np.ones(net.n_parameters))),
        ("X", lambda: net.vjp(bad, np.ones((40, 2)))),
        ("X", lambda: net.ntk_operator(bad) @ np.ones(40)),
        ("X", lambda: net.smallest_angle(bad)),
    ]
    for name, call in calls:
        with pytest.raises(ValueError, match=message.format(name)):
            call()
    alone = fastntk.Network([kind(), Dense(2)], inputs=5).sample()
    bad[7] = 2.0 if kind is LayerNorm else 0.0
    what = "all equal" if kind is LayerNorm else "all 0"
    with pytest.raises(ValueError, match=rf"before layers\[0\]={kind.__name__}\(\) are {what}"):
        alone.ntk(bad)
    soft = fastntk.Network([kind(epsilon=1e-5), Dense(2)], inputs=5).sample()
    assert np.array_equal(soft(bad)[7], [0.0, 0.0])
    assert np.isfinite(soft.ntk(bad)).all()


@pytest.mark.parametrize("kind", [RMSNorm, LayerNorm])
def test_samples_that_overflow_are_not_said_to_have_no_direction(kind: Any) -> None:
    net = fastntk.Network([Dense(9), kind(), Dense(2)], inputs=5).sample()
    large = np.finfo(float).max / np.abs(X).max() * X
    with pytest.raises(OverflowError, match=r"^X\[\d+\] .* not finite"):
        net(large)
    with pytest.raises(OverflowError, match=r"^X\[\d+\] .* not finite"):
        net.ntk(large)


@pytest.mark.parametrize(("dtype", "weight_std"), [("float64", 1e90), ("float32", 1e12)])
def test_the_layer_that_overflows_is_named_whatever_scales_its_branch(
    dtype: str, weight_std: float
) -> None:
    block = Residual([Dense(4, weight_std=weight_std), layers.Monomial(4), Dense(9)], scale=0.0)
    net = fastntk.Network([Dense(9), block, Dense(2)], inputs=5).sample(dtype=dtype)
    message = (
        rf"not finite in {dtype}, as the values after layers\[1\]\.layers\[1\]=Monomial\(4\) are"
    )
    calls: list[Any] = [
        net,
        net.ntk,
        lambda samples: net.ntk(samples, samples[:3]),
        net.gradient_features,
    ]
    for call in calls:
        with pytest.raises(OverflowError, match=message):
            call(X)
    last = fastntk.Network([Dense(9), layers.Tanh(), Dense(2, weight_std=1e200)], inputs=5).sample()
    with pytest.raises(OverflowError, match="kernel is not finite in float64: expected samples"):
        last.ntk(1e200 * X)  # whose values are all finite, and gradients are not


def test_kernels_that_vanish_or_are_0() -> None:
    net = fastntk.Network([Dense(9), Residual([layers.ReLU(), Dense(9)]), Dense(2)], inputs=5)
    sampled = net.sample()
    with pytest.raises(OverflowError, match="the largest element of the kernel is too small"):
        sampled.ntk(1e-200 * X)
    with pytest.raises(OverflowError, match="not finite"):
        sampled.ntk(1e200 * X)
    with pytest.raises(OverflowError, match="too small"):
        sampled.vjp(1e-200 * X, 1e-200 * np.ones((40, 2)))
    assert not sampled.ntk(0 * X).any()
    assert not sampled(0 * X).any()
    frozen = fastntk.Network([Dense(9, trained=False), Dense(2, trained=False)], inputs=5).sample()
    assert not frozen.ntk(X).any()
    with pytest.raises(ValueError, match="expected one above 0 for a layer that is not frozen"):
        frozen.ntk(X, layer_weights=[1, 1])


def test_angles() -> None:
    net = DESCRIPTION.sample(seed=3)
    close = np.vstack([X, X[4] + 1e-6 * X[5], X[6]])
    K = net.ntk(close)
    angles = fastntk.gradient_angles(K)
    found = net.smallest_angle(close, k=3)
    assert (found[0].i, found[0].j, found[0].resolved) == (6, 41, False)
    assert (found[1].i, found[1].j, found[1].resolved) == (4, 40, True)
    # Angles grow with the distance, to all digits that the distance leaves.
    (twice,) = net.pair_angles(np.vstack([X, X[4] + 2e-6 * X[5]]), [(4, 40)])
    assert found[1].angle == pytest.approx(twice.angle / 2, rel=1e-4)
    assert found[2].angle == pytest.approx(angles[found[2].i, found[2].j], rel=1e-9)
    # With the rates of the layers.
    half = fastntk.Network([Dense(9, trained=False), layers.Tanh(), Dense(2)], inputs=5).sample()
    angle = fastntk.gradient_angles(half.ntk(X))[0, 1]
    assert half.pair_angles(X, [(0, 1)])[0].angle == pytest.approx(angle, rel=1e-9)


def test_the_rule_is_no_proof() -> None:
    net = DESCRIPTION.sample()
    # Of 8 layers with parameters, and a block that begins with an activation.
    assert net.feature_error == pytest.approx(256 * 8**0.5 * 2.0**-52)
    by_rule = fastntk.conditioning(net.ntk(X), feature_error=net.feature_error)
    assert by_rule.resolved


@pytest.mark.parametrize("norm", ["before", "after", "none"])
def test_the_margin_of_the_rule_holds(norm: str) -> None:
    """Of deep networks whose signals grow, with digits to lose in float32."""
    before, after = ([LayerNorm()] if norm == place else [] for place in ("before", "after"))
    block = [Residual([*before, Dense(24, bias_std=0.1), layers.Tanh(), Dense(24)]), *after]
    description = fastntk.Network([Dense(24), *block * 30, LayerNorm(), Dense(1)], inputs=5)
    single = description.sample(seed=1, dtype="float32")
    samples = X[:5].astype(np.float32)
    exact = single.astype("float64").gradient_features(samples)
    errors = np.linalg.norm(single.gradient_features(samples) - exact, axis=1)
    assert (errors <= single.feature_error * np.linalg.norm(exact, axis=1)).all()
    assert single.feature_error / (61 + 1) ** 0.5 / 2.0**-23 == pytest.approx(
        2.0 if norm == "before" else 256.0, rel=0.05
    )


def test_files_and_copies(tmp_path: Path) -> None:
    net, _ = with_parameters(DESCRIPTION, 5)
    path = tmp_path / "net.npz"
    net.save(path)
    there = fastntk.FiniteNetwork.load(path)
    assert there.digest() == net.digest() != DESCRIPTION.sample().digest()
    assert there.layers == net.layers == tuple(DESCRIPTION.layers)
    for other in (there, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(other.ntk(X), net.ntk(X))
        assert repr(other) == repr(net)
    DESCRIPTION.sample(seed=6).save(path)  # a state of the same network
    with pytest.raises(FileExistsError, match="a network of the same layers"):
        fastntk.Network([Dense(2)], inputs=5).sample().save(path)
    with pytest.raises(ValueError, match=r"expected a file written by MLP\.save"):
        fastntk.MLP.load(path)
    fastntk.MLP([5, 2]).save(tmp_path / "mlp.npz")
    with pytest.raises(ValueError, match=r"expected a file written by FiniteNetwork\.save"):
        FiniteNetwork.load(tmp_path / "mlp.npz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(
        ValueError, match=r"net\.npz': not a file written by FiniteNetwork\.save, or damaged"
    ):
        FiniteNetwork.load(path)
    custom = fastntk.activations.custom(lambda z: z**3, lambda z: 3 * z**2)
    mine = fastntk.Network([Dense(4), Residual([layers.Activation(custom)]), Dense(1)], inputs=5)
    net = mine.sample()
    assert net.ntk(X).shape == (40, 40)
    with pytest.raises(ValueError, match=r"layers\[1\]\.layers\[0\]=.*a custom function cannot be"):
        net.save(tmp_path / "custom.npz")


@pytest.mark.parametrize("given", [3, None, DESCRIPTION, X])
def test_what_is_no_network_makes_none(given: Any) -> None:
    with pytest.raises(TypeError, match=r"(?s)^network=.*: expected a WiredNetwork"):
        FiniteNetwork.of_network(given)
    with pytest.raises(TypeError, match=r"(?s)^network=.*: expected a Network"):
        fastntk.MLP.of_network(given)


def test_each_class_takes_its_own_networks() -> None:
    chain, wired = fastntk.MLP([5, 2]).network, DESCRIPTION.sample().network
    with pytest.raises(TypeError, match=r"(?s)^network=.*: expected a WiredNetwork"):
        FiniteNetwork.of_network(chain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"(?s)^network=.*: expected a Network"):
        fastntk.MLP.of_network(wired)  # type: ignore[arg-type]


def test_what_a_network_says_of_itself() -> None:
    net = fastntk.Network([Dense(4), RMSNorm(gain=True), Dense(2)], inputs=3).sample(7, "float32")
    assert repr(net) == (
        "FiniteNetwork([Dense(4), RMSNorm(gain=True), Dense(2)], inputs=3, dtype='float32', "
        "n_parameters=24)"
    )
    assert "layers[1]" in net._repr_html_()
    assert (net.inputs, net.n_outputs, net.n_parameters) == (3, 2, 24)
    direct = FiniteNetwork([Dense(4), RMSNorm(gain=True), Dense(2)], inputs=3, seed=7)
    assert np.array_equal(direct.parameters[0].astype(np.float32), net.parameters[0])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"seed": -1}, "seed=-1"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"inputs": 0}, "inputs=0"),
        ({"layers": []}, r"layers=\[\]"),
    ]
    for bad, message in cases:
        settings_: dict[str, Any] = {"layers": [Dense(1)], "inputs": 3}
        with pytest.raises(ValueError, match=message):
            FiniteNetwork(**(settings_ | bad))


def test_activations_of_infinite_width_alone_are_refused_by_their_layer() -> None:
    def described(layer: Any) -> fastntk.Network:
        return fastntk.Network([Dense(4), Residual([layer, Dense(4)]), Dense(1)], inputs=5)

    bare = layers.Activation(fastntk.activations.custom(lambda z: z**3, name="bare"))
    for layer, missing in (
        (layers.Sign(), "derivative"),
        (bare, "derivative"),
        (layers.ExpNormalized(), "function"),
    ):
        words = re.escape(f"layers[1].layers[0]={layer!r}: it has no {missing}; expected one with ")
        with pytest.raises(ValueError, match=f"^{words}.*, or infinite width"):
            described(layer).sample()
    for _ in range(2):  # what has failed is not kept
        with pytest.raises(
            ValueError, match=r"^layers\[1\]\.layers\[0\]=Hermite\(\): .*polynomial"
        ):
            described(layers.Hermite()).sample().ntk(X)
    with pytest.raises(
        ValueError, match=r"Activation\(hermite\(2\)\): .*: Unknown attribute 'herm"
    ):
        fastntk.MLP([5, 4, 1], activation="hermite").ntk(X)


def test_layers_that_do_not_fit_in_memory() -> None:
    block = Residual([Dense(2**40), Dense(2)])
    wide = fastntk.Network([Dense(2), block, Dense(1)], inputs=5)
    message = r"^layers\[1\]\.layers\[0\]=Dense\(1099511627776\) with 2 inputs: .* take a smaller"
    with pytest.raises(MemoryError, match=message):
        wide.sample()


def test_what_chains_alone_can_do_is_refused() -> None:
    net: Any = DESCRIPTION.sample()
    with pytest.raises(TypeError, match=r"expected a fastntk\.MLP"):
        fastntk.kernel_report(net, X, "nowhere")


def test_plans() -> None:
    described = [Dense(30), layers.ReLU(), Dense(20), layers.ReLU(), Dense(2)]
    net = fastntk.Network(described, inputs=5).sample()
    mine, other = net.plan(X, X[:7]), fastntk.MLP([5, 30, 20, 2]).plan(X, X[:7])
    assert mine.flops == other.flops
    assert (mine.kernel_bytes, mine.feature_bytes) == (40 * 7 * 8, other.feature_bytes)
    plan = DESCRIPTION.sample(dtype="float32").plan(X)
    # Forward through 4 maps before that of the outputs, back through the 3 that do not read the
    # inputs, for each of 3 outputs; half of the pairs, each with H of 5 maps, Δ of 4, and 3 gains.
    forward, back = 9 * 5 + 9 * 12 + 12 * 9 + 9 * 7 + 9 * 7, 2 * 9 * 12 + 2 * 9 * 7
    inner = 5 + 9 + 12 + 9 + 9 + 7 + 3 * (9 + 12 + 9 + 7 + 7 + 2 * 9 + 7)
    assert plan.flops == 40 * 2 * (forward + 3 * back) + 40 * 40 * inner
    assert plan.strategy == "in memory"
