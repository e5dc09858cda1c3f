# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks made of given weights, of files, and of functions that the core does not have."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from activation_cases import FUNCTIONS, identify
from tolerances import assert_close

import fastntk
from fastntk import activations
from fastntk.layers import Dense, Residual

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.activations import Activation


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("bias_std", [0.0, 0.4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_weights_makes_the_same_network(bias_std: float, dtype: str) -> None:
    net = fastntk.MLP([4, 9, 7, 2], activation="tanh", bias_std=bias_std, dtype=dtype)
    same = fastntk.MLP.from_weights(
        net.weights, net.biases, activation="tanh", bias_std=bias_std if bias_std else None
    )
    X = normal(6, 4)
    assert same.dtype == net.dtype
    assert np.array_equal(same(X), net(X))
    assert np.array_equal(same.ntk(X), net.ntk(X))
    assert not np.shares_memory(same.weights[0], net.weights[0])


def test_layers_without_a_bias_among_others() -> None:
    net = fastntk.MLP.from_weights(
        [normal(5, 3), normal(2, 5)], [None, [1.0, 2.0]], parametrization="standard"
    )
    X = normal(4, 3)
    assert net.n_parameters == 15 + 10 + 2
    J = net.jacobian(X)
    assert J.shape == (4, 2, 27)
    assert_close(net.ntk(X), np.einsum("icp,jcp->ij", J, J), "float64")


@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        ([], None, r"weights=\[\]: expected at least one matrix"),
        (
            [np.ones((2, 3)), np.ones((1, 5))],
            None,
            r"weights\[1\] has shape \(1, 5\): expected 2 c",
        ),
        ([np.ones(3)], None, r"weights\[0\] has shape \(3,\): expected a matrix"),
        ([np.ones((2, 3))], [[1.0]], r"biases\[0\] has shape \(1,\): expected \(2,\)"),
        ([np.ones((2, 3))], [], "biases has 0 entries: expected 1 or None"),
        ([np.full((2, 3), np.inf)], None, r"weights\[0\]\[0, 0\]=.*inf"),
    ],
)
def test_bad_weights(weights: Any, biases: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastntk.MLP.from_weights(weights, biases)


@pytest.mark.parametrize("activation", ["relu", activations.leaky_relu(0.2), "gelu"])
def test_save_and_load(tmp_path: Path, activation: Any) -> None:
    net = fastntk.MLP([4, 9, 7, 2], activation=activation, bias_std=0.3, dtype="float32")
    net.save(tmp_path / "net.npz")
    loaded = fastntk.MLP.load(tmp_path / "net.npz")
    X = normal(6, 4)
    assert repr(loaded) == repr(net)
    assert np.array_equal(loaded(X), net(X))
    assert np.array_equal(loaded.ntk(X), net.ntk(X))
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


@pytest.mark.parametrize("phi", [phi for phi in FUNCTIONS if phi.derivative], ids=identify)
def test_networks_of_every_activation_can_be_written(tmp_path: Path, phi: Activation) -> None:
    layers = [Dense(5), Residual([fastntk.layers.Activation(phi), Dense(5)]), Dense(2)]
    for net in (
        fastntk.MLP([3, 5, 2], activation=phi, seed=1),
        fastntk.Network(layers, inputs=3).sample(seed=1),
    ):
        path = tmp_path / f"{type(net).__name__}.npz"
        net.save(path)
        for same in (type(net).load(path), pickle.loads(pickle.dumps(net))):
            assert same.digest() == net.digest()
            assert repr(same) == repr(net)
            if phi.in_core or phi.name == "polynomial":  # others take long to compile
                assert np.array_equal(same.ntk(X := normal(6, 3)), net.ntk(X))


@pytest.mark.parametrize("argument", ["activation", "output_activation"])
def test_files_tell_polynomials_apart(tmp_path: Path, argument: str) -> None:
    one, other = (
        fastntk.MLP([3, 5, 2], **{argument: activations.polynomial(0.2, 0.7, c)})  # type: ignore[arg-type]
        for c in (1 / 3, 0.3)
    )
    assert one.digest() != other.digest()
    one.save(tmp_path / "net.npz")
    there = fastntk.MLP.load(tmp_path / "net.npz")
    assert getattr(there, argument).parameters == (0.2, 0.7, 1 / 3)
    with pytest.raises(FileExistsError, match="a network of the same widths and activation"):
        other.save(tmp_path / "net.npz")


def rewritten(path: Path, **changes: Any) -> None:
    with np.load(path) as archive:
        content = {name: archive[name] for name in archive.files}
    header = json.loads(str(content["header"]))
    header.update({k: v for k, v in changes.items() if k in header})
    content.update({k: v for k, v in changes.items() if k in content})
    content["header"] = np.array(json.dumps(header))
    np.savez(path, **content)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    net = fastntk.MLP([4, 9, 2])

    def broken(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            fastntk.MLP.load(path)
        net.save(path, overwrite=True)

    net.save(path)
    rewritten(path, W1=net.weights[0] + 1e-3)
    broken("the checksum does not match: the file is damaged")
    rewritten(path, activation_scale=7.0)
    broken("the checksum does not match")
    rewritten(path, version=99)
    broken("has version 99 of the format; expected 1")
    rewritten(path, format="something else")
    broken(r"expected a file written by MLP.save")
    path.write_bytes(path.read_bytes()[:-200])
    broken(r"not a file written by MLP\.save, or damaged")
    np.savez(path, W1=np.ones(3))
    broken(r"not a file written by MLP\.save, or damaged")
    path.write_bytes(b"nonsense")
    broken(r"not a file written by MLP\.save, or damaged")
    with pytest.raises(FileNotFoundError):
        fastntk.MLP.load(tmp_path / "missing.npz")
    with pytest.raises(ValueError, match=r"path='.*net.txt': expected a file that ends in .npz"):
        net.save(tmp_path / "net.txt")


def test_custom_activations(tmp_path: Path) -> None:
    cube = activations.custom(lambda x: x**3, lambda x: 3 * x**2, name="cube")
    net = fastntk.MLP([3, 8, 8, 1], activation=cube, bias_std=0.2, seed=1)
    X = normal(7, 3)
    z = net.weights[0] @ X[0] / np.sqrt(3) + 0.2 * net.biases[0]  # type: ignore[index]
    h = net.activation_scale * z**3
    for w, b in zip(net.weights[1:], (net.biases or ())[1:], strict=True):
        z = w @ h / np.sqrt(len(h)) + 0.2 * b
        h = net.activation_scale * z**3
    assert net(X[:1])[0, 0] == pytest.approx(z[0], rel=1e-12, abs=0)
    F = net.gradient_features(X)
    assert_close(net.ntk(X), F @ F.T, "float64")
    step = 1e-6 * normal(net.n_parameters, seed=2)
    assert_close(net.linearize()(X, step) - net(X), net.jvp(X, step), "float32")
    with pytest.raises(ValueError, match="a custom function cannot be written to a file, nor go"):
        net.save(tmp_path / "net.npz")


def test_other_activations_are_compiled() -> None:
    for phi in (activations.monomial(2), activations.gaussian(), activations.exponential(0.3)):
        net = fastntk.MLP([3, 8, 1], activation=phi)
        X = normal(5, 3)
        assert phi.function is not None
        h = phi.scale * phi.function(X @ net.weights[0].T / np.sqrt(3))
        assert_close(net(X), h @ net.weights[1].T / np.sqrt(8), "float64")


def test_functions_of_several_arguments_are_refused_by_name() -> None:
    """A default value is one, too: lambda x, a=a: … is written often."""

    def square(x: Any, a: float = 2.0) -> Any:
        return a * x * x

    def slope(x: Any, a: float = 2.0) -> Any:
        return 2 * a * x

    squares = activations.custom(square, slope, name="sq")
    with pytest.raises(ValueError, match=r"activation=Activation\(sq\): expected a functi"):
        fastntk.MLP([3, 8, 1], activation=squares)(normal(5, 3))


def test_activations_that_a_finite_network_cannot_have() -> None:
    X = normal(5, 3)
    no_derivative = activations.custom(lambda x: x**3, name="bare cube")
    with pytest.raises(ValueError, match="expected one with a function and a derivative"):
        fastntk.MLP([3, 8, 1], activation=no_derivative)
    with pytest.raises(ValueError, match="expected one with a function and a derivative"):
        fastntk.MLP([3, 8, 1], activation=activations.exp_normalized())
    weights = [np.ones((2, 3)), np.ones((1, 2))]
    with pytest.raises(ValueError, match="expected one with a function and a derivative"):
        fastntk.MLP.from_weights(weights, activation=no_derivative)
    with pytest.raises(ValueError, match="expected one with a function and a derivative"):
        fastntk.ntk_depths(X, [0, 1], activation=no_derivative)
    table = {0.0: 1.0}
    opaque = activations.custom(
        lambda x: np.where(np.isin(x, list(table)), 1.0, x), np.ones_like, name="opaque"
    )
    with pytest.raises(ValueError, match="expected a function that Numba can compile"):
        fastntk.MLP([3, 8, 1], activation=opaque)(X)
    with pytest.raises(ValueError, match="expected a function that Numba can compile"):
        fastntk.MLP([3, 8, 1], activation=activations.hermite(3))(X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parametrization": "mup"}, "parametrization='mup': expected one of 'ntk', 'standard'"),
        ({"init_scale": 0}, "init_scale=0: expected a finite number above 0"),
        ({"init_scale": [1.0]}, r"init_scale=\[1.0\]: expected a number, or 2 of them"),
        ({"init_scale": [1.0, -1.0]}, r"init_scale\[1\]=-1.0: expected a finite number above 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastntk.MLP([3, 4, 1], **arguments)
