# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations of the outputs, f = ψ(g): kernels, derivatives, training, files; bad input."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import reference
from activation_cases import CUBE, cube, slope_of_cube
from hypothesis import given
from hypothesis import strategies as st
from reference import ReferenceNetwork
from threadpoolctl import threadpool_limits
from tolerances import assert_close
from training_problems import assert_same_bits, orders, problem

import fastntk
from fastntk import activations
from fastntk.linearity import hessian_norm, hessian_vector_product

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Array = npt.NDArray[np.float64]

NAMED = ["square", "tanh", "sigmoid", "softmax", "softplus"]


ALL: list[Any] = [*NAMED, CUBE]

BIAS_STD = 0.4


def identify(psi: Any) -> str:
    return psi if isinstance(psi, str) else str(psi.name)


every = pytest.mark.parametrize("psi", ALL, ids=identify)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def network(psi: Any, **options: Any) -> fastntk.MLP:
    settings = {"widths": [4, 7, 6, 3], "activation": "tanh", "bias_std": BIAS_STD, "seed": 3}
    return fastntk.MLP(**{**settings, **options}, output_activation=psi)


def explicit(net: fastntk.MLP, bias_std: float = BIAS_STD) -> ReferenceNetwork:
    return ReferenceNetwork.like(net, bias_std=bias_std)


def jacobian(by_hand: ReferenceNetwork, X: Array) -> Array:
    """(n, C, P)."""
    outputs = len(by_hand.weights[-1])
    return np.array([[by_hand.gradient(x, c) for c in range(outputs)] for x in X])


def test_the_reference_is_right() -> None:
    for name in reference.OUTPUTS:
        by_hand = ReferenceNetwork.like(fastntk.MLP([3, 4, 2], activation="tanh", seed=1))
        by_hand.output_activation = name
        x = normal(3)
        for c in range(2):
            expected = by_hand.gradient_by_differences(x, c)
            np.testing.assert_allclose(by_hand.gradient(x, c), expected, rtol=0, atol=1e-7)
        # The second derivatives of ψ, by differences of the first.
        g, along = by_hand.preactivations(x)[-1], normal(2, seed=5)
        outputs = reference.OUTPUTS[name]
        moved = (outputs(g + 1e-6 * along)[1] - outputs(g - 1e-6 * along)[1]) / 2e-6
        np.testing.assert_allclose(outputs(g)[2] @ along, moved, rtol=0, atol=1e-7)


@every
def test_values_and_first_derivatives(psi: Any) -> None:
    net, X = network(psi), normal(5, 4)
    by_hand = explicit(net)
    F = jacobian(by_hand, X)
    assert_close(net(X), np.array([by_hand.output(x) for x in X]), "float64")
    assert_close(net.jacobian(X), F, "float64")
    for c in range(3):
        assert_close(net.gradient_features(X, c), F[:, c], "float64")
    v, u = normal(F.shape[2], 2, seed=1), normal(5, 3, 2, seed=2)
    assert_close(net.jvp(X, v), F @ v, "float64")
    assert_close(net.vjp(X, u), np.einsum("icp,ick->pk", F, u), "float64")
    change = 0.1 * v[:, 0]
    assert_close(net.linearize()(X, change), net(X) + F @ change, "float64")
    # By the inputs: through a first layer that adds to them.
    shifted = (net(X + 1e-6 * normal(4)) - net(X - 1e-6 * normal(4))) / 2e-6
    np.testing.assert_allclose(net.input_jacobian(X) @ normal(4), shifted, rtol=0, atol=1e-8)


@every
def test_all_kernels(psi: Any, tmp_path: Path) -> None:
    net, X, Z = network(psi), normal(5, 4), normal(3, 4, seed=9)
    F, G = jacobian(explicit(net), X), jacobian(explicit(net), Z)
    K = np.einsum("icp,jdp->ijcd", F, F)
    cross = np.einsum("icp,jdp->ijcd", F, G)
    trace = np.trace(K, axis1=2, axis2=3)
    assert_close(net.ntk(X), trace, "float64")
    assert_close(net.ntk(X, Z), np.trace(cross, axis1=2, axis2=3), "float64")
    assert_close(net.ntk(X, outputs="full"), K, "float64")
    assert_close(net.ntk(X, Z, outputs="full"), cross, "float64")
    assert_close(net.ntk(X, outputs="diagonal"), np.einsum("ijcc->ijc", K), "float64")
    for c in range(3):
        assert_close(net.ntk(X, Z, outputs=c), cross[:, :, c, c], "float64")
    assert_close(net.ntk(X, out="packed").to_dense(), trace, "float64")
    assert_close(net.ntk(X, out=str(tmp_path / "K.npy")), trace, "float64")
    for tile in net.ntk_tiles(X, tile=2):
        assert_close(tile.kernel, trace[tile.rows, tile.cols], "float64")
    # Layer by layer: weights and biases lie one after the other.
    sizes = [w.size + len(w) for w in net.weights]
    parts = np.split(np.arange(F.shape[2]), np.cumsum(sizes)[:-1])
    by_layer = np.array([np.einsum("icp,jcp->ij", F[:, :, p], G[:, :, p]) for p in parts])
    assert_close(net.ntk_by_layer(X, Z), by_layer, "float64")
    omega = [0.5, 0.0, 2.0]
    weighted = np.tensordot(omega, net.ntk_by_layer(X), 1)
    assert_close(net.ntk(X, layer_weights=omega), weighted, "float64")
    v = normal(5, seed=4)
    assert_close(cast("Any", net.ntk_operator(X)) @ v, trace @ v, "float64")
    u = normal(15, seed=4)
    matrix = K.transpose(0, 2, 1, 3).reshape(15, 15)
    assert_close(cast("Any", net.ntk_operator(X, outputs="full")) @ u, matrix @ u, "float64")


@every
@pytest.mark.parametrize("widths", [[4, 3], [4, 130, 3]])
def test_many_samples_in_blocks_and_panels(psi: Any, widths: list[int]) -> None:
    net, X = network(psi, widths=widths, activation="relu"), normal(700, 4)
    F = net.jacobian(X[:40])
    K = net.ntk(X)
    assert_close(K[:40, :40], np.einsum("icp,jcp->ij", F, F), "float64")
    chosen = np.array([3, 350, 699])
    assert_close(K[np.ix_(chosen, chosen)], net.ntk(X[chosen]), "float64")
    single = net.astype("float32")
    exact = single.astype("float64").ntk(X.astype(np.float32).astype(np.float64))
    assert_close(single.ntk(X), exact, "float32")
    assert_close(single.ntk(X, dtype="float64"), exact, "float64")


@pytest.mark.parametrize("psi", ["tanh", "softmax"])
def test_the_same_bits_for_any_number_of_threads(psi: str) -> None:
    net, X, y = network(psi, widths=[4, 130, 3]), normal(300, 4), normal(300, 3, seed=1)
    v, settings = normal(net.n_parameters), {"loss": "mse", "learning_rate": 0.1, "batch_size": 100}
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            trained = fastntk.train(net, X, y, **cast("Any", settings)).net
            product = hessian_vector_product(net, X, v)
            found.append((net(X), net.ntk(X), net.jvp(X, v), product, trained.weights[0]))
    for others in found[1:]:
        assert all(map(np.array_equal, others, found[0]))


@every
def test_angles(psi: Any) -> None:
    net, X = network(psi), normal(5, 4)
    F = jacobian(explicit(net), X).reshape(5, -1)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    expected = {frozenset(p): reference.angle(F[p[0]], F[p[1]]) for p in pairs}
    for pair in net.smallest_angle(X, k=10):
        assert pair.angle == pytest.approx(expected[frozenset((pair.i, pair.j))], rel=1e-10, abs=0)


@every
def test_angles_of_close_samples(psi: Any) -> None:
    # g' − g is J (x' − x) to first order: angles are proportional to a distance that is small.
    net, x, step = network(psi), normal(4), normal(4, seed=1)
    angles = [
        net.smallest_angle(np.array([x, x + size * step])).angle / size for size in (2e-6, 1e-9)
    ]
    assert angles[1] == pytest.approx(angles[0], rel=3e-5, abs=0)


@pytest.mark.parametrize("outputs", [2, 3, 5])
def test_angles_where_a_softmax_changes_its_mind(outputs: int) -> None:
    # All gradients are small, and p is near 1 for another output at the other sample.
    net = fastntk.MLP.from_weights([60 * np.eye(outputs)], output_activation="softmax")
    X = np.abs(normal(outputs, outputs)) + 2 * np.eye(outputs)
    F = net.jacobian(X).reshape(outputs, -1)
    lengths = np.linalg.norm(F, axis=1)
    assert 1e-150 < lengths.min() <= lengths.max() < 1e-9
    F /= lengths[:, np.newaxis]
    pairs = [(i, j) for i in range(outputs) for j in range(i)]
    found = net.pair_angles(X, pairs)
    expected = [
        2 * np.arctan2(np.linalg.norm(F[i] - F[j]), np.linalg.norm(F[i] + F[j])) for i, j in pairs
    ]
    assert np.allclose([pair.angle for pair in found], expected, rtol=1e-10, atol=0)


def second_derivatives(net: fastntk.MLP, x: Array, output: int) -> Array:
    """The Hessian of one output from those of the linear outputs g, and their gradients."""
    linear = fastntk.MLP.from_weights(
        net.weights,
        net.biases,
        activation=net.activation,
        bias_std=BIAS_STD,
        activation_scale=net.activation_scale,
    )
    (g,), (F,) = linear(x), linear.jacobian(x)
    name = str(net.output_activation.name).replace("monomial", "square")
    _, J, bends = reference.OUTPUTS[name](g)
    eye = np.eye(net.n_parameters)
    result: Array = np.einsum("kp,kl,lq->pq", F, bends[output], F)
    for k in range(len(g)):
        result += J[output, k] * hessian_vector_product(linear, x, eye, output=k)
    return result


@every
@pytest.mark.parametrize("widths", [[4, 5, 3], [3, 3]])
def test_hessians(psi: Any, widths: list[int]) -> None:
    net = network(psi, widths=widths)
    X, eye = normal(3, widths[0]), np.eye(net.n_parameters)
    u = normal(3, 3, seed=1)
    total = np.zeros_like(eye)
    for x, of_sample in zip(X[:, np.newaxis], u, strict=True):
        for c in range(3):
            expected = second_derivatives(net, x, c)
            H = hessian_vector_product(net, x, eye, output=c)
            np.testing.assert_allclose(H, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
            norm = hessian_norm(net, x, output=c)
            largest = np.abs(np.linalg.eigvalsh((H + H.T) / 2)).max()
            assert norm.resolved.all()
            assert norm.values[0] == pytest.approx(largest, rel=1e-9, abs=0)
            total += of_sample[c] * expected
    assert_close(hessian_vector_product(net, X, eye, coefficients=u), total, "float64")


def test_a_linear_model_of_square_outputs_has_a_constant_hessian() -> None:
    # f = (w·x)²/d: the Hessian is 2 x xᵀ/d, whatever w is.
    net, x = fastntk.MLP([3, 1], output_activation="square"), normal(1, 3)
    H = hessian_vector_product(net, x, np.eye(3))
    assert_close(H, 2 * x.T @ x / 3, "float64")


@every
@pytest.mark.parametrize(("batch", "momentum"), [(None, 0.0), (5, 0.9)])
def test_training_follows_the_reference(psi: Any, batch: int | None, momentum: float) -> None:
    X, y = problem("mse")
    net = network(psi, widths=[5, 8, 7, 3])
    history = fastntk.train(
        net,
        X,
        y,
        loss="mse",
        learning_rate=0.01,
        epochs=3,
        batch_size=batch,
        momentum=momentum,
        seed=3,
    )
    by_hand = explicit(net)
    batches = orders(12, batch or 12, 3, 3)
    losses = reference.descend(by_hand, X, np.asarray(y), "mse", 0.01, batches, momentum)
    weights = [len(b) for b in batches]
    per_epoch = np.reshape(np.multiply(losses, weights), (3, -1)).sum(axis=1) / 12
    np.testing.assert_allclose(history.loss, per_epoch, rtol=1e-11)
    for actual, expected in zip(history.net.weights, by_hand.weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    assert history.net.output_activation == net.output_activation


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_batches_descend_along_the_gradient(psi: Any, dtype: str) -> None:
    # Batches of 64 samples and more are taken in panels.
    net, X, y = network(psi, dtype=dtype), normal(100, 4), normal(100, 3, seed=1)
    double = net.astype("float64")
    residual = double(X) - y
    history = fastntk.train(
        net, X, y, loss="mse", learning_rate=0.5, layer_rates=[1, 0, 2], validation=(X, y)
    )
    assert history.loss[0] == pytest.approx(
        0.5 * np.mean((residual**2).sum(axis=1)), rel=1e-5, abs=0
    )
    gradient = double.vjp(X, residual / 100)
    sizes = [(w.size, b.size) for w, b in zip(net.weights, net.biases or (), strict=True)]
    parts = np.split(gradient, np.cumsum(np.ravel(sizes))[:-1])
    for layer, rate in enumerate([0.5, 0.0, 1.0]):
        expected = double.weights[layer] - rate * parts[2 * layer].reshape(
            double.weights[layer].shape
        )
        assert_close(history.net.weights[layer], expected, dtype)
    after = 0.5 * np.mean(((history.net.astype("float64")(X) - y) ** 2).sum(axis=1))
    assert history.validation_loss is not None
    assert history.validation_loss[-1] == pytest.approx(after, rel=1e-5, abs=0)


@every
def test_training_goes_on_from_a_checkpoint(psi: Any, tmp_path: Path) -> None:
    X, y = problem("mse")
    net = network(psi, widths=[5, 8, 3])
    path = tmp_path / "c.npz"
    settings: dict[str, Any] = {"loss": "mse", "learning_rate": 0.05, "batch_size": 5}
    whole = fastntk.train(net, X, y, epochs=4, **settings)
    fastntk.train(net, X, y, epochs=2, checkpoint=path, **settings)
    rest = fastntk.train(net, X, y, epochs=4, checkpoint=path, **settings)
    assert_same_bits(whole.net, rest.net)
    linear = network("identity", widths=[5, 8, 3])
    with pytest.raises(ValueError, match="activation differ"):
        fastntk.train(linear, X, y, epochs=4, checkpoint=path, **settings)


@pytest.mark.parametrize("psi", [*NAMED, activations.silu(), activations.erf(0.5)], ids=identify)
def test_files_digests_and_copies(psi: Any, tmp_path: Path) -> None:
    net, X = network(psi), normal(3, 4)
    net.save(tmp_path / "net.npz")
    for other in (
        fastntk.MLP.load(tmp_path / "net.npz"),
        pickle.loads(pickle.dumps(net)),
        copy.deepcopy(net),
        net.astype("float64"),
        fastntk.MLP.from_weights(
            net.weights,
            net.biases,
            activation="tanh",
            bias_std=BIAS_STD,
            output_activation=net.output_activation,
        ),
    ):
        assert other.output_activation == net.output_activation
        assert other.digest() == net.digest()
        assert np.array_equal(other(X), net(X))
    others = [network(p) for p in ("identity", *NAMED, activations.silu(), activations.erf(0.5))]
    assert sum(other.digest() == net.digest() for other in others) == 1
    # Another state of the same network may take its place, but no other network.
    net.save(tmp_path / "net.npz")
    with pytest.raises(FileExistsError):
        network("identity").save(tmp_path / "net.npz")


def test_files_of_linear_outputs_say_nothing_of_them(tmp_path: Path) -> None:
    network("identity").save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as file:
        header = json.loads(str(file["header"]))
    assert header["version"] == 1
    assert not any(name.startswith("output") for name in header)


def test_custom_ones_stay_in_memory(tmp_path: Path) -> None:
    net = network(CUBE)
    with pytest.raises(ValueError, match=r"output_activation=Activation\(cube\): expected an act"):
        net.save(tmp_path / "net.npz")
    assert pickle.loads(pickle.dumps(net)).output_activation == CUBE
    assert copy.deepcopy(net).output_activation == CUBE


def test_how_they_are_shown() -> None:
    for psi in NAMED:
        net = fastntk.MLP([2, 3, 2], output_activation=psi)
        assert f"activation='relu', output_activation='{psi}', activation_scale" in repr(net)
    assert "output" not in repr(fastntk.MLP([2, 3, 2], output_activation="identity"))
    shown = repr(fastntk.MLP([2, 3, 2], output_activation=activations.softplus(2.0)))
    assert "output_activation=Activation(softplus(2))" in shown
    assert repr(activations.Softmax()) == "Activation(softmax)"


def test_the_identity_changes_no_bit() -> None:
    X = normal(6, 4)
    nets = [
        fastntk.MLP([4, 9, 3], bias_std=0.1, **options)
        for options in (
            {},
            {"output_activation": "identity"},
            {"output_activation": activations.identity()},
        )
    ]
    for net in nets[1:]:
        assert net.digest() == nets[0].digest()
        assert repr(net) == repr(nets[0])
        assert np.array_equal(net(X), nets[0](X))
        assert np.array_equal(net.ntk(X, outputs="full"), nets[0].ntk(X, outputs="full"))


def test_the_linear_network_has_linear_outputs() -> None:
    assert network("tanh").linear().output_activation == activations.identity()


@given(data=st.data())
def test_any_network(data: st.DataObject) -> None:
    psi = data.draw(st.sampled_from(ALL), label="psi")
    outputs = data.draw(st.integers(2 if psi == "softmax" else 1, 4), label="outputs")
    hidden = data.draw(st.lists(st.integers(1, 5), max_size=3), label="hidden")
    bias_std = data.draw(st.sampled_from([0.0, 0.5]), label="bias_std")
    parametrization = data.draw(st.sampled_from(["ntk", "standard"]), label="parametrization")
    seed = data.draw(st.integers(0, 1000), label="seed")
    net = fastntk.MLP(
        [2, *hidden, outputs],
        activation=data.draw(st.sampled_from(["tanh", "gelu", "softplus"]), label="activation"),
        output_activation=psi,
        bias_std=bias_std,
        parametrization=parametrization,
        seed=seed,
    )
    X = normal(3, 2, seed=seed)
    F = net.jacobian(X)
    K = np.einsum("icp,jdp->ijcd", F, F)
    assert_close(net.ntk(X, outputs="full"), K, "float64")
    assert_close(net.ntk(X), np.trace(K, axis1=2, axis2=3), "float64")
    assert_close(net.ntk_by_layer(X).sum(axis=0), net.ntk(X), "float64")
    # f(w + δ) − f(w − δ) = 2 F δ and F(w + δ) − F(w − δ) = 2 δᵀH, but for the cube of δ.
    v = normal(net.n_parameters, seed=seed + 1)
    v /= np.linalg.norm(v)
    step = 1e-4
    ahead, behind = (_moved(net, sign * step * v) for sign in (1, -1))
    scale = max(1.0, float(np.abs(F).max()), float(np.abs(net(X)).max()))
    np.testing.assert_allclose(
        (ahead(X) - behind(X)) / (2 * step), F @ v, rtol=0, atol=1e-5 * scale
    )
    u = normal(3, outputs, seed=seed + 2)
    turned = (ahead.vjp(X, u) - behind.vjp(X, u)) / (2 * step)
    product = hessian_vector_product(net, X, v, coefficients=u)
    np.testing.assert_allclose(product, turned, rtol=0, atol=1e-4 * scale)


def _moved(net: fastntk.MLP, change: Array) -> fastntk.MLP:
    """The network with its parameters changed, in their own order."""
    result, first = copy.deepcopy(net), 0
    for layer in result.network.layers:
        for array in (layer.weights, layer.bias):
            if array is not None:
                np.add(array, change[first : first + array.size].reshape(array.shape), out=array)
                first += array.size
    return result


def test_a_softmax_that_is_nearly_certain_keeps_its_digits() -> None:
    # Of three outputs 30 apart: 1 − p is e⁻³⁰, which is lost beside 1.
    weights = np.array([[30.0], [0.0], [-30.0]])
    net = fastntk.MLP.from_weights(
        [weights], parametrization="standard", output_activation="softmax"
    )
    x = np.ones((1, 1))
    rest, least = np.exp(-30.0), np.exp(-60.0)
    expected = [
        [rest + least, -rest, -least],
        [-rest, rest, -rest * least],
        [-least, -rest * least, least],
    ]
    np.testing.assert_allclose(net.jacobian(x)[0], expected, rtol=1e-12)
    # ∂²p₀ is −rest along g₀ and ±rest across, to first order.
    H = hessian_vector_product(net, x, np.eye(3), output=0)
    np.testing.assert_allclose(H[:2, :2], [[-rest, rest], [rest, -rest]], rtol=1e-12)


def test_large_and_missing_numbers() -> None:
    softmax = fastntk.MLP.from_weights(
        [[[1.0], [2.0]]], parametrization="standard", output_activation="softmax"
    )
    assert np.array_equal(softmax([[1e300]]), [[0.0, 1.0]])
    square = fastntk.MLP([1, 2], output_activation="square")
    with pytest.raises(OverflowError, match=r"X\[0\] with elements of at most 1e\+200"):
        square([[1e200]])
    # Kernels below the smallest number: of tanh far from 0, and of the square of what is small.
    tanh = fastntk.MLP.from_weights([[[1.0]]], output_activation="tanh")
    assert tanh.ntk([[20.0]])[0, 0] > 0
    for net, x in ((tanh, 500.0), (square, 1e-100)):
        with pytest.raises(OverflowError, match="too small"):
            net.ntk([[x]])
    # A Hessian of which nothing is left is no norm of 0.
    assert hessian_norm(tanh, [[20.0], [500.0]]).resolved.tolist() == [True, False]
    none = fastntk.MLP.from_weights([[[0.0]]], output_activation="square")
    assert none.ntk([[3.0]])[0, 0] == 0


@pytest.mark.parametrize("psi", ["square", "tanh", "sigmoid", "softplus"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bounds_of_rounding_hold(psi: str, dtype: str) -> None:
    net, X = network(psi, widths=[4, 8, 3], dtype="float32"), normal(30, 4).astype(np.float32)
    errors = net.ntk_errors(X, dtype=dtype)
    assert errors["feature_error"] < np.inf
    assert errors["kernel_error"] < np.inf
    # A float32 network's own rounding is seen beside a pass in float64.
    F, exact = (
        n.jacobian(X).astype(np.float64).reshape(30, -1) for n in (net, net.astype("float64"))
    )
    if dtype == "float32":
        moved = np.linalg.norm(F - exact, axis=1) / np.linalg.norm(exact, axis=1)
        assert 0 < moved.max() <= errors["feature_error"] < 1e-2
        off = np.linalg.norm(net.ntk(X).astype(np.float64) - exact @ exact.T, 2)
        allowed = errors["kernel_error"] + 3 * errors["feature_error"] * np.trace(exact @ exact.T)
        assert off <= allowed
    else:
        assert errors["feature_error"] < 1e-11


def test_a_square_of_what_cancels_has_errors_that_are_seen() -> None:
    # g = W x is a small difference of large sums: ψ'(g) = 2g has few digits.
    X, W = normal(1, 200).astype(np.float32), 100 * normal(1, 200, seed=1).astype(np.float32)
    W[0, -1] -= float(W[0].astype(np.float64) @ X[0].astype(np.float64)) / X[0, -1]
    net = fastntk.MLP.from_weights([W], output_activation="square")
    F, exact = net.jacobian(X)[0, 0], net.astype("float64").jacobian(X)[0, 0]
    moved = np.linalg.norm(F - exact) / np.linalg.norm(exact)
    assert 1e-4 < moved <= net.ntk_errors(X)["feature_error"]


@pytest.mark.parametrize("psi", ["softmax", CUBE], ids=identify)
def test_what_is_not_known_of_rounding_is_said(psi: Any) -> None:
    errors = network(psi).ntk_errors(normal(3, 4))
    assert set(errors.values()) == {np.inf}


def test_the_error_of_features_counts_the_outputs() -> None:
    assert network("tanh").feature_error > network("identity").feature_error


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: fastntk.MLP([2, 1], output_activation="softmax"),
            ValueError,
            "output_activation='softmax' of 1 output: expected at least 2",
        ),
        (
            lambda: fastntk.MLP([2, 3], output_activation="relu6"),
            ValueError,
            "output_activation='relu6': expected one of .*'softplus', or an Activation",
        ),
        (
            lambda: fastntk.MLP([2, 3], output_activation=cast("Any", None)),
            ValueError,
            "output_activation=None: expected one of",
        ),
        (
            lambda: fastntk.MLP([2, 3], output_activation=activations.custom(cube)),
            ValueError,
            r"output_activation=Activation\(custom\): expected one with a function, a derivative",
        ),
        (
            lambda: fastntk.MLP([2, 3], output_activation=activations.custom(cube, slope_of_cube)),
            ValueError,
            r"output_activation=Activation\(custom\): expected one with .* a curvature",
        ),
        (
            lambda: fastntk.MLP([2, 3], output_activation=activations.exp_normalized()),
            ValueError,
            r"output_activation=Activation\(exp_normalized\(1\)\): expected",
        ),
        (
            lambda: fastntk.MLP.from_weights(
                [np.eye(2), [[1.0, 1.0]]], output_activation="softmax"
            ),
            ValueError,
            "output_activation='softmax' of 1 output",
        ),
        (
            lambda: fastntk.MLP([2, 3, 2], activation=cast("Any", activations.Softmax())),
            ValueError,
            r"activation=Activation\(softmax\): expected one of",
        ),
        (
            lambda: activations.custom(cube, slope_of_cube, curvature=cast("Any", 3)),
            TypeError,
            "curvature=3: expected None or a function",
        ),
        (
            lambda: network(activations.hermite(2))(normal(1, 4)),
            ValueError,
            r"output_activation=Activation\(hermite\(2\)\): expected a function that Numba",
        ),
        (
            lambda: network("tanh").conjugate_kernel(normal(2, 4)),
            ValueError,
            "output_activation='tanh': expected a network with output_activation='identity'",
        ),
    ],
)
def test_bad_ones(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@every
def test_cross_entropy_takes_logits(psi: Any) -> None:
    net, X, y = network(psi), normal(4, 4), np.array([0, 1, 2, 0])
    message = f"loss='cross_entropy' with output_activation='{identify(psi)}': expected loss='mse'"
    calls: list[Callable[[], Any]] = [
        lambda: fastntk.train(net, X, y, learning_rate=0.1),
        lambda: fastntk.learning_rate_bound(net, X),
        lambda: fastntk.find_learning_rate(net, X, y),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    assert fastntk.learning_rate_bound(net, X, loss="mse") > 0
