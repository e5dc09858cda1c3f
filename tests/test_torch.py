# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Agreement with PyTorch: its modules become networks, and autograd gives the same kernels."""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from activation_cases import CUBE
from hypothesis import given, settings
from hypothesis import strategies as st

import fastntk
from fastntk import activations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn: Any = torch.nn
prune = pytest.importorskip("torch.nn.utils.prune")

ACTIVATIONS = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": lambda: nn.ELU(0.7),
    "softplus": lambda: nn.Softplus(1.3, threshold=40),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "selu": nn.SELU,
    # PyTorch rounds 1/alpha to float32 in derivatives of CELU, here to nothing.
    "celu": lambda: nn.CELU(0.5),
    "mish": nn.Mish,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "softsign": nn.Softsign,
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 1.5),
    "hardswish": nn.Hardswish,
}  # without Hardsigmoid, whose slope PyTorch has as a float32 1/6, in float64 too


def module_of(activation: str, outputs: int = 2, bias: bool = True) -> Any:
    torch.manual_seed(0)
    make = ACTIVATIONS[activation]
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(5, 16, bias=bias),
        make(),
        nn.Sequential(nn.Linear(16, 9, bias=bias), make()),
        nn.Linear(9, outputs, bias=bias),
    ).double()


def torch_jacobian(module: Any, X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, C, P) by what is trained, a sample and an output at a time, by autograd."""
    trained = [p for p in module.parameters() if p.requires_grad]
    rows = []
    for x in torch.from_numpy(X):
        f = module(x[None])[0]
        rows.append(
            [
                np.concatenate(
                    [
                        g.numpy().ravel()
                        for g in torch.autograd.grad(f[c], trained, retain_graph=True)
                    ]
                )
                for c in range(len(f))
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_kernels_of_modules(activation: str, bias: bool) -> None:
    module = module_of(activation, bias=bias)
    net = fastntk.MLP.from_torch(module)
    X = np.random.default_rng(0).standard_normal((13, 5))
    Z = np.random.default_rng(1).standard_normal((4, 5))
    np.testing.assert_allclose(net(X), module(torch.from_numpy(X)).detach().numpy(), rtol=1e-10)
    J, G = torch_jacobian(module, X), torch_jacobian(module, Z)
    np.testing.assert_allclose(net.jacobian(X), J, rtol=1e-10, atol=1e-13)
    full = np.einsum("icp,jdp->ijcd", J, G)
    np.testing.assert_allclose(net.ntk(X, Z, outputs="full"), full, rtol=1e-10, atol=1e-12)
    trace = np.einsum("icp,jcp->ij", J, J)
    np.testing.assert_allclose(net.ntk(X), trace, rtol=1e-10, atol=1e-12)
    ends = np.cumsum([0, *(p.numel() for p in module.parameters())])[:: 2 if bias else 1]
    for layer, (first, last) in enumerate(itertools.pairwise(ends)):
        part = J[:, :, first:last]
        np.testing.assert_allclose(
            net.ntk_by_layer(X)[layer], np.einsum("icp,jcp->ij", part, part), rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize("activation", ["erf", "sin", "cos", "abs", "relu2"])
def test_activations_without_a_module(activation: str) -> None:
    functions = {
        "erf": torch.erf,
        "sin": torch.sin,
        "cos": torch.cos,
        "abs": torch.abs,
        "relu2": lambda z: torch.relu(z) ** 2,
    }
    net = fastntk.MLP([5, 12, 11, 1], activation=activation, bias_std=0.3, seed=3)
    assert net.biases is not None
    parameters = [
        torch.from_numpy(a.copy()).requires_grad_()
        for w, b in zip(net.weights, net.biases, strict=True)
        for a in (w, b)
    ]
    X = np.random.default_rng(0).standard_normal((6, 5))
    rows = []
    for x in torch.from_numpy(X):
        h = x
        for layer, (w, b) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
            if layer > 0:
                h = net.activation_scale * functions[activation](h)
            h = w @ h / np.sqrt(w.shape[1]) + 0.3 * b
        rows.append(
            np.concatenate([g.numpy().ravel() for g in torch.autograd.grad(h[0], parameters)])
        )
    F = np.array(rows)
    np.testing.assert_allclose(net.gradient_features(X), F, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(net.ntk(X), F @ F.T, rtol=1e-10)


def test_kernel_of_a_trained_network_equals_torch_func() -> None:
    module = module_of("relu", outputs=3)
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 5)))
    y = torch.randint(0, 3, (40,))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(X), y)
        loss.backward()
        optimizer.step()
    parameters = {k: v.detach() for k, v in module.named_parameters()}

    def f(parameters: Any, x: Any) -> Any:
        return torch.func.functional_call(module, parameters, (x[None],))[0]

    jacobians = torch.func.vmap(torch.func.jacrev(f), (None, 0))(parameters, X)
    expected = sum(
        torch.einsum("icp,jdp->ijcd", j.flatten(2), j.flatten(2)) for j in jacobians.values()
    )
    net = fastntk.MLP.from_torch(module)
    np.testing.assert_allclose(
        net.ntk(X.numpy(), outputs="full"), expected.numpy(), rtol=1e-10, atol=1e-12
    )
    again = fastntk.MLP.from_torch(module.state_dict(), activation="relu")
    assert np.array_equal(again.ntk(X.numpy()), net.ntk(X.numpy()))
    # The weights are copies.
    with torch.no_grad():
        module[1].weight.zero_()
    assert np.abs(net.weights[0]).max() > 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_hessians_equal_torch_func(activation: str, bias: bool) -> None:
    module = module_of(activation, bias=bias)
    X = np.random.default_rng(0).standard_normal((3, 5))
    shapes = {name: p.shape for name, p in module.named_parameters()}
    flat = torch.cat([p.detach().ravel() for p in module.parameters()])

    def f(flat: Any, x: Any) -> Any:
        parts = flat.split([shape.numel() for shape in shapes.values()])
        parameters = {k: p.view(s) for (k, s), p in zip(shapes.items(), parts, strict=True)}
        return torch.func.functional_call(module, parameters, (x[None],))[0, 1]

    # Not torch.func.hessian: its forward mode uses what PyTorch itself warns of.
    hessian = torch.func.jacrev(torch.func.jacrev(f))
    H = torch.stack([hessian(flat, x) for x in torch.from_numpy(X)]).numpy()
    net = fastntk.MLP.from_torch(module)
    u, V = np.array([1.0, -2.0, 0.5]), np.random.default_rng(1).standard_normal((len(flat), 2))
    products = fastntk.linearity.hessian_vector_product(net, X, V, output=1, coefficients=u)
    expected = np.einsum("i,ipq,qk->pk", u, H, V)
    atol = 1e-12 * max(float(np.abs(expected).max()), 1e-3)
    np.testing.assert_allclose(products, expected, rtol=1e-10, atol=atol)
    norms = fastntk.linearity.hessian_norm(net, X, output=1)
    np.testing.assert_allclose(norms.values, np.linalg.norm(H, 2, axis=(1, 2)), rtol=1e-9)


class Square(nn.Module):  # type: ignore[misc]
    """What no module of PyTorch is."""

    def forward(self, z: Any) -> Any:
        return z**2


class Cube(nn.Module):  # type: ignore[misc]
    def forward(self, z: Any) -> Any:
        return z**3


# Modules that follow the linear outputs, and what they are as activations of outputs.
OUTPUTS: dict[str, tuple[Any, Any]] = {
    "square": (Square, "square"),
    "tanh": (nn.Tanh, "tanh"),
    "sigmoid": (nn.Sigmoid, "sigmoid"),
    "softplus": (lambda: nn.Softplus(threshold=40), "softplus"),
    "softmax": (lambda: nn.Softmax(-1), "softmax"),
    "cube": (Cube, CUBE),
}


def with_outputs(name: str, outputs: int, bias: bool, sizes: tuple[int, ...] = (7, 5)) -> Any:
    """A module with an activation of its outputs, and the network that it is."""
    torch.manual_seed(len(name))
    widths = (5, *sizes, outputs)
    make, psi = OUTPUTS[name]
    parts: list[Any] = []
    for n_in, n_out in itertools.pairwise(widths):
        parts += [nn.Linear(n_in, n_out, bias=bias), nn.Tanh()]
    module = nn.Sequential(*parts[:-1], make()).double()
    if name in {"square", "cube"}:
        linear = fastntk.MLP.from_torch(nn.Sequential(*parts[:-1]))
        net = fastntk.MLP.from_weights(
            linear.weights,
            linear.biases,
            activation="tanh",
            activation_scale=1.0,
            parametrization="standard",
            output_activation=psi,
        )
    else:
        net = fastntk.MLP.from_torch(module)
        assert net.output_activation == fastntk.MLP([1, 2], output_activation=psi).output_activation
    return module, net


of_outputs = pytest.mark.parametrize(
    ("name", "outputs"),
    [(name, n) for name in OUTPUTS for n in (1, 3) if name != "softmax" or n > 1],
)


@of_outputs
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(), (7, 5)])
def test_output_activations_follow_autograd(
    name: str, outputs: int, bias: bool, sizes: tuple[int, ...]
) -> None:
    """Values, Jacobians, every kernel and the dense Hessian."""
    module, net = with_outputs(name, outputs, bias, sizes)
    X = np.random.default_rng(0).standard_normal((4, 5))
    Z = np.random.default_rng(1).standard_normal((3, 5))
    np.testing.assert_allclose(net(X), module(torch.from_numpy(X)).detach().numpy(), rtol=1e-9)
    J, G = torch_jacobian(module, X), torch_jacobian(module, Z)
    np.testing.assert_allclose(net.jacobian(X), J, rtol=1e-9, atol=1e-13)
    full = np.einsum("icp,jdp->ijcd", J, G)
    np.testing.assert_allclose(net.ntk(X, Z, outputs="full"), full, rtol=1e-9, atol=1e-13)
    full = np.einsum("icp,jdp->ijcd", J, J)
    np.testing.assert_allclose(net.ntk(X, outputs="full"), full, rtol=1e-9, atol=1e-13)
    diagonal = np.einsum("ijcc->ijc", full)
    np.testing.assert_allclose(net.ntk(X, outputs="diagonal"), diagonal, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(net.ntk(X), diagonal.sum(axis=2), rtol=1e-9, atol=1e-13)
    ends = np.cumsum([0, *(p.numel() for p in module.parameters())])[:: 2 if bias else 1]
    by_layer = net.ntk_by_layer(X)
    assert len(by_layer) == len(ends) - 1
    for kernel, (first, last) in zip(by_layer, itertools.pairwise(ends), strict=True):
        part = J[:, :, first:last]
        expected = np.einsum("icp,jcp->ij", part, part)
        np.testing.assert_allclose(kernel, expected, rtol=1e-9, atol=1e-13)
    by_inputs = torch.func.vmap(torch.func.jacrev(lambda x: module(x[None])[0]))
    expected = by_inputs(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(net.input_jacobian(X), expected, rtol=1e-9, atol=1e-13)

    shapes = {key: p.shape for key, p in module.named_parameters()}
    flat = torch.cat([p.detach().ravel() for p in module.parameters()])

    def f(flat: Any, x: Any) -> Any:
        split = flat.split([shape.numel() for shape in shapes.values()])
        parameters = {k: p.view(s) for (k, s), p in zip(shapes.items(), split, strict=True)}
        return torch.func.functional_call(module, parameters, (x[None],))[0]

    hessian = torch.func.jacrev(torch.func.jacrev(f))
    eye = np.eye(net.n_parameters)
    for x in X[:2]:
        dense = hessian(flat, torch.from_numpy(x)).numpy()
        for c in range(outputs):
            H = fastntk.linearity.hessian_vector_product(net, x[None], eye, output=c)
            atol = 1e-9 * np.abs(dense[c]).max()
            np.testing.assert_allclose(H, dense[c], rtol=1e-9, atol=atol)
            norm = fastntk.linearity.hessian_norm(net, x[None], output=c)
            np.testing.assert_allclose(norm.values[0], np.linalg.norm(dense[c], 2), rtol=1e-9)


@of_outputs
@pytest.mark.parametrize(("batch", "momentum"), [(20, 0.0), (7, 0.9), (80, 0.5)])
def test_training_of_output_activations_follows_autograd(
    name: str, outputs: int, batch: int, momentum: float
) -> None:
    module, net = with_outputs(name, outputs, bias=True)
    n, rng = max(20, batch), np.random.default_rng(0)
    X, y = rng.standard_normal((n, 5)), rng.standard_normal((n, outputs))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=momentum)
    expected = []
    for epoch in range(5):
        order = np.arange(n)
        if batch < n:
            stream = np.random.Philox(np.random.SeedSequence(0, spawn_key=(epoch,)))
            order = np.random.Generator(stream).permutation(n)
        total = 0.0
        for first in range(0, n, batch):
            rows = order[first : first + batch]
            f, target = module(torch.from_numpy(X[rows])), torch.from_numpy(y[rows])
            loss = ((f - target) ** 2).sum() / (2 * len(rows))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows) / n
        expected.append(total)
    history = fastntk.train(
        net, X, y, loss="mse", learning_rate=0.02, epochs=5, batch_size=batch, momentum=momentum
    )
    np.testing.assert_allclose(history.loss, expected, rtol=1e-9)
    trained = [p.detach().numpy() for p in module.parameters()]
    assert history.net.biases is not None
    for layer, (weights, bias) in enumerate(
        zip(history.net.weights, history.net.biases, strict=True)
    ):
        for actual, wanted in ((weights, trained[2 * layer]), (bias, trained[2 * layer + 1])):
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


def test_a_state_dict_is_told_its_output_activation() -> None:
    module, net = with_outputs("softmax", 3, bias=True)
    state = module.state_dict()
    again = fastntk.MLP.from_torch(state, activation="tanh", output_activation="softmax")
    assert again.digest() == net.digest()
    X = np.random.default_rng(0).standard_normal((4, 5))
    outputs = module(torch.from_numpy(X)).detach()
    with pytest.raises(ValueError, match=r"check\[1\] has outputs that differ"):
        fastntk.MLP.from_torch(state, activation="tanh", check=(X, outputs))
    with pytest.raises(ValueError, match="output_activation='tanh': expected 'identity'"):
        fastntk.MLP.from_torch(module, output_activation="tanh")
    with pytest.raises(ValueError, match="output_activation='x': expected one of"):
        fastntk.MLP.from_torch(state, activation="tanh", output_activation="x")


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize(("batch", "momentum"), [(20, 0.0), (7, 0.9)])
def test_training_follows_autograd(
    loss: str, bias: bool, activation: str, batch: int, momentum: float
) -> None:
    """The loss of each of 25 steps, and the parameters after them."""
    module = module_of(activation, outputs=3, bias=bias)
    net = fastntk.MLP.from_torch(module)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 5))
    y = rng.integers(0, 3, 20) if loss == "cross_entropy" else rng.standard_normal((20, 3))
    steps = 25
    epochs = -(-steps // -(-20 // batch))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=momentum)
    expected = []
    for epoch in range(epochs):
        order = np.arange(20)
        if batch < 20:
            stream = np.random.Philox(np.random.SeedSequence(0, spawn_key=(epoch,)))
            order = np.random.Generator(stream).permutation(20)
        total = 0.0
        for first in range(0, 20, batch):
            rows = order[first : first + batch]
            f, target = module(torch.from_numpy(X[rows])), torch.from_numpy(y[rows])
            value = (
                nn.functional.cross_entropy(f, target)
                if loss == "cross_entropy"
                else ((f - target) ** 2).sum() / (2 * len(rows))
            )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item() * len(rows) / 20
        expected.append(total)
    history = fastntk.train(
        net, X, y, loss=loss, learning_rate=0.05, epochs=epochs, batch_size=batch, momentum=momentum
    )
    np.testing.assert_allclose(history.loss, expected, rtol=1e-9)
    trained = fastntk.MLP.from_torch(module)
    for actual, wanted in zip(history.net.weights, trained.weights, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize("frozen", [(0,), (0, 1), (1, 2)])
def test_frozen_layers_follow_autograd(frozen: tuple[int, ...]) -> None:
    module = module_of("gelu", outputs=3)
    net = fastntk.MLP.from_torch(module)
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    for layer in frozen:
        linear[layer].requires_grad_(False)
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 5)))
    y = torch.randint(0, 3, (20,))
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.5)
    expected = []
    for _ in range(25):
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(module(X), y)
        value.backward()
        optimizer.step()
        expected.append(value.item())
    trainable = [layer not in frozen for layer in range(3)]
    history = fastntk.train(net, X, y, learning_rate=0.5, epochs=25, trainable=trainable)
    np.testing.assert_allclose(history.loss, expected, rtol=1e-9)
    # The network of the module with its frozen layers needs no telling.
    assert net.biases is not None
    for part, weights, bias in zip(linear, net.weights, net.biases, strict=True):
        with torch.no_grad():
            part.weight.copy_(torch.from_numpy(weights))
            part.bias.copy_(torch.from_numpy(bias))
    same = fastntk.train(fastntk.MLP.from_torch(module), X, y, learning_rate=0.5, epochs=25)
    assert np.array_equal(same.loss, history.loss)
    for layer in frozen:
        assert np.array_equal(same.net.weights[layer], net.weights[layer])


def test_tensors_are_samples() -> None:
    net = fastntk.MLP([5, 7, 1])
    X = torch.randn(6, 5, dtype=torch.float64)
    assert np.array_equal(net.ntk(X), net.ntk(X.numpy()))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            [nn.Conv1d(1, 1, 1)],
            r"module\[0\] is of class torch.*Conv1d: expected a torch.nn.Sequential of Linear",
        ),
        ([nn.ReLU()], r"module\[0\] is ReLU\(\): expected one activation after a Linear"),
        ([nn.Linear(2, 2), nn.ReLU(), nn.ReLU(), nn.Linear(2, 1)], "one activation after a Linea"),
        ([nn.Linear(2, 2), nn.Softmax(0)], r"module\[1\]: module contains .* expected dim=-1"),
        ([nn.Linear(2, 2), nn.Softmax(-1), nn.Linear(2, 1)], "Softmax between layers"),
        ([nn.Linear(2, 1), nn.Softmax(-1)], "output_activation='softmax' of 1 output"),
        ([nn.Linear(2, 2), nn.Tanh(), nn.Sigmoid()], "one activation after a Linear"),
        ([nn.Linear(2, 2), nn.LogSoftmax(-1)], "LogSoftmax: expected a torch.nn.Sequential"),
        (
            [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)],
            "expected the same activation after every Linear",
        ),
        (
            [nn.Linear(2, 2), nn.PReLU(), nn.Linear(2, 1)],
            r"module\[1\].weight is trained: expected requires_grad=False",
        ),
        (
            [nn.Linear(2, 2), nn.PReLU(2), nn.Linear(2, 1)],
            r"module\[1\].weight has 2 slopes: expected one",
        ),
        ([nn.Linear(2, 2), nn.Softplus(1, 5), nn.Linear(2, 1)], "expected a threshold of at leas"),
        ([nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 1)], "Dropout in evaluation mode"),
        ([nn.Identity()], "expected at least one Linear"),
    ],
)
def test_modules_that_are_no_such_network(parts: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastntk.MLP.from_torch(nn.Sequential(*parts))


def test_dropout_in_evaluation_mode_is_passed_over() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 1)).eval()
    assert fastntk.MLP.from_torch(module).widths == (3, 4, 1)


def test_bad_state_dicts() -> None:
    state = module_of("relu").state_dict()
    with pytest.raises(ValueError, match="activation=None: expected the activation"):
        fastntk.MLP.from_torch(state)
    with pytest.raises(ValueError, match="entries 'running_mean': expected a weight and"):
        fastntk.MLP.from_torch({**state, "running_mean": torch.ones(3)}, activation="relu")
    with pytest.raises(ValueError, match="activation='relu': expected None"):
        fastntk.MLP.from_torch(module_of("relu"), activation="relu")


@pytest.mark.parametrize(
    "make",
    [
        *(
            getattr(nn, phi.module.name)
            for phi in map(activations.get, activations.names())
            if phi.module is not None
        ),
        lambda: nn.LeakyReLU(0.2),
        lambda: nn.ELU(0.7),
        lambda: nn.Softplus(1.3, threshold=40),
        lambda: nn.CELU(0.5),
        lambda: nn.GELU("tanh"),
        lambda: nn.Hardtanh(-0.5, 1.5),
    ],
)
def test_modules_are_what_their_entries_say(make: Any) -> None:
    """Value and slope; at a kink at 0 autograd gives the slope from the left, as we do."""
    module = make()
    phi = fastntk.MLP.from_torch(nn.Sequential(nn.Linear(1, 1), module, nn.Linear(1, 1))).activation
    assert phi.module is not None
    assert phi.module.name == type(module).__name__
    assert phi.function is not None
    assert phi.derivative is not None
    points = np.concatenate([[0.0], np.arange(-64, 65) / 8, [-30.0, 30.0]])
    # At other kinks it gives the one from the left or the one from the right.
    points = points[~np.isin(points, [b for b in phi.breakpoints if b != 0])]
    z = torch.from_numpy(points).requires_grad_()
    value = module(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    np.testing.assert_allclose(phi.function(points), value.detach(), rtol=1e-13, atol=1e-15)
    # PyTorch has 1/6 in float32, and GELU's form by a tanh loses digits in its tail.
    rtol, atol = (1e-7 if phi.name == "hardsigmoid" else 1e-13), 1e-15
    atol = 4e-15 if phi.name == "gelu_tanh" else atol
    np.testing.assert_allclose(phi.derivative(points), slope, rtol=rtol, atol=atol)


def test_a_hard_sigmoid_comes_back() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Hardsigmoid(), nn.Linear(4, 2)).double()
    net = fastntk.MLP.from_torch(module)
    assert net.activation == activations.hardsigmoid()
    back = net.to_torch()
    assert [type(part) for part in back] == [type(part) for part in module]
    assert fastntk.MLP.from_torch(back).digest() == net.digest()


def test_parameters_of_activations_are_found() -> None:
    assert fastntk.MLP.from_torch(module_of("leaky_relu")).activation == activations.leaky_relu(0.2)
    assert fastntk.MLP.from_torch(module_of("elu")).activation == activations.elu(0.7)
    assert fastntk.MLP.from_torch(module_of("celu")).activation == activations.celu(0.5)
    hardtanh = fastntk.MLP.from_torch(module_of("hardtanh")).activation
    assert hardtanh == activations.hardtanh(-0.5, 1.5)


def test_a_frozen_prelu_is_a_leaky_relu() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 2), nn.PReLU()).double()
    module[1].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"module\[3\].weight is trained"):
        fastntk.MLP.from_torch(module)
    module[3].weight.requires_grad_(False)
    net = fastntk.MLP.from_torch(module)
    assert net.activation == net.output_activation == activations.leaky_relu(0.25)
    X = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_allclose(net(X), module(torch.from_numpy(X)).detach(), rtol=1e-13)
    np.testing.assert_allclose(net.jacobian(X), torch_jacobian(module, X), rtol=1e-12, atol=1e-14)
    deeper = nn.Sequential(*module, nn.Linear(2, 1)).double()
    deeper[3].weight.data.fill_(0.5)
    with pytest.raises(ValueError, match="expected the same activation after every Linear"):
        fastntk.MLP.from_torch(deeper)


@st.composite
def modules(draw: st.DrawFn) -> Any:
    """Draw a Sequential, nested somehow, of which some parameters are frozen, but not all."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    make = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    widths = draw(st.lists(st.integers(1, 5), min_size=2, max_size=5))
    parts: list[Any] = []
    for n_in, n_out in itertools.pairwise(widths):
        if parts:
            parts.append(make())
        nothing = draw(st.sampled_from([nn.Identity, nn.Flatten, lambda: nn.Dropout(0.5), None]))
        parts += [] if nothing is None else [nothing()]
        parts.append(nn.Linear(n_in, n_out, bias=draw(st.booleans())))
    first, last = sorted((draw(st.integers(0, len(parts))), draw(st.integers(0, len(parts)))))
    named = OrderedDict({"first": nn.Sequential(*parts[first:last]), "rest": nn.Sequential()})
    nested = nn.Sequential(*parts[:first], nn.Sequential(named), *parts[last:])
    module = nested.to(draw(st.sampled_from([torch.float64, torch.float32]))).eval()
    parameters = list(module.parameters())
    for parameter in parameters:
        parameter.requires_grad_(draw(st.booleans()))
    parameters[draw(st.integers(0, len(parameters) - 1))].requires_grad_(True)
    return module


@settings(max_examples=60, deadline=None)
@given(module=modules(), seed=st.integers(0, 2**31))
def test_kernels_of_any_module_are_those_of_what_is_trained(module: Any, seed: int) -> None:
    net = fastntk.MLP.from_torch(module)
    rng = np.random.default_rng(seed)
    X, Z = (rng.standard_normal((rows, net.widths[0])) for rows in (4, 3))
    single = net.dtype == np.float32
    double = copy.deepcopy(module).double()
    J, G = torch_jacobian(double, X), torch_jacobian(double, Z)
    expected = {
        "trace": np.einsum("icp,jcp->ij", J, G),
        "diagonal": np.einsum("icp,jcp->ijc", J, G),
        "full": np.einsum("icp,jdp->ijcd", J, G),
    }
    exact = net.astype("float64")
    for outputs, kernel in expected.items():
        tolerance = {"rtol": 1e-9, "atol": 1e-9 * max(1.0, float(np.abs(kernel).max()))}
        np.testing.assert_allclose(exact.ntk(X, Z, outputs=outputs), kernel, **tolerance)  # type: ignore[call-overload]
    operator = exact.ntk_operator(X) @ np.eye(4)
    np.testing.assert_allclose(operator, exact.ntk(X), rtol=1e-9, atol=1e-9)
    # A network of float32 is the same network, rounded.
    scale = float(np.abs(J).max()) ** 2 * J[0].size + 1.0
    np.testing.assert_allclose(net.ntk(X, Z), expected["trace"], atol=1e-4 * scale * single + 1e-9)
    state = fastntk.MLP.from_torch(
        module.state_dict(), activation=net.activation, check=(X, double(torch.from_numpy(X)).data)
    )
    assert all(map(np.array_equal, state.weights, net.weights))
    assert state.network.kernel_weights is None


def test_nothing_of_a_module_is_changed() -> None:
    module = module_of("relu").train()
    module[1].requires_grad_(False)
    module(torch.ones(3, 5, dtype=torch.float64)).sum().backward()
    before = [(p, id(p), p.detach().clone(), p.requires_grad, p.grad) for p in module.parameters()]
    generator, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            fastntk.MLP.from_torch(module)
            assert torch.is_grad_enabled() == enabled
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(map(np.array_equal, np.random.get_state(), numpy_state))  # noqa: NPY002
    assert all(part.training for part in module.modules())
    for parameter, (same, identity, values, trained, gradient) in zip(
        module.parameters(), before, strict=True
    ):
        assert parameter is same
        assert id(parameter) == identity
        assert torch.equal(parameter, values)
        assert parameter.requires_grad == trained
        assert parameter.grad is gradient


def frozen_module() -> Any:
    module = module_of("gelu")
    module[1].weight.requires_grad_(False)
    module[4].bias.requires_grad_(False)
    return module


def test_frozen_parameters_are_kept_in_files_and_digests(tmp_path: Path) -> None:
    module, X = frozen_module(), np.random.default_rng(0).standard_normal((6, 5))
    net, everything = fastntk.MLP.from_torch(module), fastntk.MLP.from_torch(module_of("gelu"))
    assert net.network.kernel_weights == [(0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]
    assert "layer_weights=[(0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]" in repr(net)
    assert "layer_weights" not in repr(everything)
    net.save(tmp_path / "net.npz")
    again = fastntk.MLP.load(tmp_path / "net.npz")
    assert np.array_equal(again.ntk(X), net.ntk(X))
    assert again.digest() == net.digest() != everything.digest()
    assert np.array_equal(again.conjugate_kernel(X), everything.conjugate_kernel(X))
    assert np.array_equal(net.jacobian(X), everything.jacobian(X))


def test_a_module_of_which_nothing_is_trained() -> None:
    module = module_of("relu").requires_grad_(False)
    with pytest.raises(ValueError, match="all of its 6 weights and biases are frozen"):
        fastntk.MLP.from_torch(module)
    net = fastntk.MLP.from_torch(module.state_dict(), activation="relu")
    assert net.network.kernel_weights is None
    kept = frozen_module().state_dict(keep_vars=True)
    net = fastntk.MLP.from_torch(kept, activation="gelu")
    assert net.network.kernel_weights == [(0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]


def plain(*middle: Any) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), *middle, nn.Linear(8, 1))


def with_shared_linear() -> Any:
    linear = nn.Linear(8, 8)
    return plain(linear, nn.Tanh(), linear, nn.Tanh())


def with_shared_weight() -> Any:
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    return plain(first, nn.Tanh(), nn.Sequential(second, nn.Tanh()))


def with_transposed_weight() -> Any:
    first, second = nn.Linear(8, 3), nn.Linear(3, 8)
    second.weight = nn.Parameter(first.weight.detach().t())
    return plain(first, nn.Tanh(), second, nn.Tanh())


def with_shared_block() -> Any:
    block = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
    return plain(block, block)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (with_shared_linear, r"module\[2\].weight and module\[4\].weight"),
        (with_shared_weight, r"module\[2\].weight and module\[4\]\[0\].weight"),
        (with_transposed_weight, r"module\[2\].weight and module\[4\].weight"),
        (with_shared_block, r"module\[2\]\[0\].weight and module\[3\]\[0\].weight"),
    ],
)
def test_tied_parameters_are_refused(make: Callable[[], Any], names: str) -> None:
    module = make()
    with pytest.raises(ValueError, match=f"{names} are tied"):
        fastntk.MLP.from_torch(module)
    with pytest.raises(ValueError, match="are tied"):
        fastntk.MLP.from_torch(module.state_dict(), activation="tanh")
    arrays = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    with pytest.raises(ValueError, match="are tied"):
        fastntk.MLP.from_torch(arrays, activation="tanh")
    apart = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    X = torch.randn(3, 5)
    fastntk.MLP.from_torch(apart, activation="tanh", check=(X, module(X)))


def test_parameters_that_are_views_of_one_vector_are_not_tied() -> None:
    module = plain()
    flat = torch.cat([p.detach().ravel() for p in module.parameters()])
    parts = flat.split([p.numel() for p in module.parameters()])
    for parameter, part in zip(module.parameters(), parts, strict=True):
        parameter.data = part.view(parameter.shape)
    assert fastntk.MLP.from_torch(module).widths == (5, 8, 1)


def hooked(method: str) -> Callable[[Any], object]:
    def change(module: Any) -> object:
        return getattr(module[0], method)(lambda *arguments: None)  # noqa: ARG005

    return change


def on_container(module: Any) -> None:
    module.register_forward_hook(lambda *arguments: 2 * arguments[2])


def on_gradient(module: Any) -> None:
    module[0].weight.register_hook(lambda gradient: 0 * gradient)


def after_accumulation(module: Any) -> None:
    module[0].weight.register_post_accumulate_grad_hook(lambda parameter: None)  # noqa: ARG005


def own_forward(module: Any) -> None:
    module[1].forward = torch.relu


def tensor_for_parameter(module: Any) -> None:
    weight = module[0].weight.detach()
    del module[0].weight
    module[0].weight = weight


def extra_parameter(module: Any) -> None:
    module.register_parameter("scale", nn.Parameter(torch.ones(1)))


def extra_buffer(module: Any) -> None:
    module[0].register_buffer("mask", torch.ones(1))


def other_count(module: Any) -> None:
    module.parameters = lambda: iter(list(type(module).parameters(module))[1:])


def first(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda module: change(module[0])


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (hooked("register_forward_hook"), r"module\[0\] has forward hooks: expected a module with"),
        (hooked("register_forward_pre_hook"), r"module\[0\] has forward pre hooks: expected"),
        (hooked("register_full_backward_hook"), r"module\[0\] has backward hooks: expected"),
        (hooked("register_full_backward_pre_hook"), r"module\[0\] has backward pre hooks: expect"),
        (on_container, "module has forward hooks: expected a module without hooks"),
        (first(nn.utils.weight_norm), r"module\[0\] has forward pre hooks.*remove_weight_norm"),
        (first(nn.utils.spectral_norm), r"module\[0\] has forward pre hooks"),
        (
            first(lambda linear: prune.random_unstructured(linear, "weight", 0.5)),
            r"module\[0\] has forward pre hooks.*prune.remove",
        ),
        (
            first(nn.utils.parametrizations.weight_norm),
            r"module\[0\] has a parametrization of weight.*remove_parametrizations",
        ),
        (on_gradient, r"module\[0\].weight has backward hooks: expected a parameter without"),
        (after_accumulation, r"module\[0\].weight has post accumulate grad hooks: expected"),
        (own_forward, r"module\[1\] has a forward of its own: expected that of torch.*Tanh"),
        (tensor_for_parameter, r"module\[0\].weight is of class torch.Tensor: expected a torch.nn"),
        (extra_parameter, r"module has scale of its own: expected .*Sequential with no parameters"),
        (extra_buffer, r"module\[0\] has mask of its own: expected .*Linear with a weight and"),
        (other_count, r"module has 17 parameters, -40 than its layers have: expected 57"),
        (lambda module: module.compile(), "module has been compiled: expected.*deepcopy"),
    ],
)
def test_what_is_not_plain_is_refused(change: Callable[[Any], Any], message: str) -> None:
    module = plain()
    fastntk.MLP.from_torch(module)
    change(module)
    with pytest.raises(ValueError, match=message):
        fastntk.MLP.from_torch(module)
    if "compiled" in message:
        fastntk.MLP.from_torch(copy.deepcopy(module))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_what_was_made_plain_again_is_read() -> None:
    module = plain()
    nn.utils.remove_weight_norm(nn.utils.weight_norm(module[0]))
    prune.random_unstructured(module[2], "weight", 0.5)
    prune.remove(module[2], "weight")
    nn.utils.parametrizations.orthogonal(module[2])
    nn.utils.parametrize.remove_parametrizations(module[2], "weight")
    X = np.random.default_rng(0).standard_normal((6, 5))
    J = torch_jacobian(module.double(), X)
    K = fastntk.MLP.from_torch(module).ntk(X)
    np.testing.assert_allclose(K, np.einsum("icp,jcp->ij", J, J), rtol=1e-10)


class ReLU(nn.Module):  # type: ignore[misc]
    """A user's own, which is not max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return x**2


class Scaled(nn.Linear):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class Residual(nn.Sequential):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return x + super().forward(x)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            nn.Sequential(nn.Linear(5, 8), ReLU(), nn.Linear(8, 1)),
            r"module\[1\] is of .*_torch.ReLU",
        ),
        (
            nn.Sequential(nn.Linear(5, 8), nn.ReLU(), Scaled(8, 1)),
            r"module\[2\] is of .*Scaled.*deri",
        ),
        (
            plain(Residual(nn.Linear(8, 8), nn.Tanh())),
            r"module\[2\] is of class .*Residual: .*derived",
        ),
        (
            nn.Sequential(OrderedDict(body=nn.Sequential(nn.Linear(5, 8), ReLU()))),
            r"module.body\[1\] is of class .*ReLU",
        ),
        (nn.Sequential(nn.Flatten(0), nn.Linear(5, 1)), r"module\[0\] is Flatten.*start_dim=1 and"),
        (nn.Sequential(nn.LazyLinear(3)), r"module\[0\] is of class .*LazyLinear"),
        (
            plain(nn.Linear(7, 8), nn.Tanh()),
            r"module\[2\].weight has shape \(8, 7\): expected 8 colu",
        ),
        (
            plain(nn.Linear(8, 8), nn.ReLU()),
            r"module\[3\] ends a layer with .*relu.*module\[1\] one",
        ),
        (
            plain(nn.Linear(8, 8)),
            r"module\[2\] ends a layer with no activation, module\[1\] one with",
        ),
        (plain().half(), r"module\[0\].weight has dtype torch.float16: expected torch.float32 or"),
        (plain().bfloat16(), r"weight has dtype torch.bfloat16: expected .*module.float\(\)"),
        (
            plain(nn.Linear(8, 8).double(), nn.Tanh()),
            r"\[2\].weight has dtype torch.float64: expecte",
        ),
        (plain().to("meta"), r"module\[0\].weight is a tensor .* on device 'meta': expected"),
    ],
)
def test_modules_that_only_look_like_networks(module: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastntk.MLP.from_torch(module)


def test_what_is_no_module() -> None:
    with pytest.raises(
        TypeError, match=r"module is of class builtins.list: expected a torch.nn.Seq"
    ):
        fastntk.MLP.from_torch([nn.Linear(2, 2)])
    module = plain()
    with torch.no_grad():
        module[0].weight[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"module\[0\].weight has 1 numbers that are not finite"):
        fastntk.MLP.from_torch(module)


def test_lazy_modules_that_have_run() -> None:
    module = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(1))
    module(torch.ones(2, 3))
    assert fastntk.MLP.from_torch(module).widths == (3, 4, 1)
    assert fastntk.MLP.from_torch(nn.Linear(3, 2)).widths == (3, 2)


def test_outputs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    module = plain()
    handle = nn.modules.module.register_module_forward_hook(
        lambda part, _, output: 1.001 * output if isinstance(part, nn.Tanh) else None
    )
    try:
        with pytest.raises(ValueError, match="module computes for 8 random samples outputs that d"):
            fastntk.MLP.from_torch(module)
    finally:
        handle.remove()
    fastntk.MLP.from_torch(module)
    monkeypatch.setattr(nn.Tanh, "forward", lambda self, x: torch.sin(x))  # noqa: ARG005
    with pytest.raises(ValueError, match=r"outputs that differ by up to .* expected at most 1e-06"):
        fastntk.MLP.from_torch(module)


class Chain(nn.Module):  # type: ignore[misc]
    """Layers with names, applied in the order in which they are given."""

    def __init__(self, widths: dict[str, tuple[int, int]], *, residual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.names, self.residual = list(widths), residual
        for name, (n_in, n_out) in widths.items():
            setattr(self, name, nn.Linear(n_in, n_out))

    def forward(self, x: Any) -> Any:
        for name in self.names[:-1]:
            x = torch.tanh(getattr(self, name)(x)) + (x if self.residual else 0)
        return getattr(self, self.names[-1])(x)


@pytest.mark.parametrize(
    "names", ["fc1 fc2 fc3", "input hidden output", "stem body head", "fc_in fc_mid fc_out", "b a"]
)
def test_a_state_dict_has_its_own_order(names: str) -> None:
    module = Chain(dict.fromkeys(names.split(), (5, 5))).double()
    X = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 5)))
    net = fastntk.MLP.from_torch(module.state_dict(), activation="tanh", check=(X, module(X)))
    J = torch_jacobian(module, X.numpy())
    np.testing.assert_allclose(net.ntk(X), np.einsum("icp,jcp->ij", J, J), rtol=1e-10)
    sorted_by_name = dict(sorted(module.state_dict().items()))
    if names == "fc1 fc2 fc3":
        again = fastntk.MLP.from_torch(sorted_by_name, activation="tanh")
        assert all(map(np.array_equal, again.weights, net.weights))
    else:
        with pytest.raises(ValueError, match="before its weight: expected the order of a state_di"):
            fastntk.MLP.from_torch(sorted_by_name, activation="tanh")
    if names in {"input hidden output", "stem body head", "b a"}:
        with pytest.raises(ValueError, match=r"check\[1\] has outputs that differ by up to"):
            fastntk.MLP.from_torch(sorted_by_name, activation="tanh", check=(X, module(X)))


def test_layers_sorted_as_text() -> None:
    parts = [part for _ in range(6) for part in (nn.Linear(4, 4), nn.Tanh())]
    state = nn.Sequential(*parts).state_dict()
    assert fastntk.MLP.from_torch(state, activation="tanh").depth == 5
    with pytest.raises(ValueError, match=r"the layers '0.', '10.', '2.', .*not that of their num"):
        fastntk.MLP.from_torch(dict(sorted(state.items())), activation="tanh")


def test_a_check_tells_other_networks_with_the_same_state() -> None:
    module = Chain({"a": (5, 5), "b": (5, 5), "c": (5, 1)}, residual=True)
    X = torch.randn(6, 5)
    state, outputs = module.state_dict(), module(X)
    fastntk.MLP.from_torch(state, activation="tanh")  # nothing can be seen
    with pytest.raises(ValueError, match=r"check\[1\] has outputs that differ .*at most 0.0001 of"):
        fastntk.MLP.from_torch(state, activation="tanh", check=(X, outputs))
    module.residual = False
    outputs = module(X).detach().numpy()[:, 0]
    fastntk.MLP.from_torch(state, activation="tanh", check=(X, outputs))
    with pytest.raises(ValueError, match=r"check\[1\] has outputs that differ"):
        fastntk.MLP.from_torch(state, activation="relu", check=(X, outputs))
    double = module.double()
    wanted = double(X.double()).detach().numpy()
    for factor, right in [(1 + 1e-9, True), (1 + 1e-7, False)]:
        check = (X.double().numpy(), factor * wanted)
        if right:
            fastntk.MLP.from_torch(double.state_dict(), activation="tanh", check=check)
        else:
            with pytest.raises(ValueError, match="at most 1e-08 of"):
                fastntk.MLP.from_torch(double.state_dict(), activation="tanh", check=check)
    assert fastntk.MLP.from_torch(plain(), check=(X, plain()(X))).widths == (5, 8, 1)


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (np.ones((2, 5)), TypeError, "expected None or a pair of arrays"),
        (
            (np.ones((2, 4)), np.ones((2, 1))),
            ValueError,
            r"check\[0\] has shape \(2, 4\): expected 5",
        ),
        (
            (np.ones((2, 5)), np.ones((2, 3))),
            ValueError,
            r"check\[1\] has outputs of shape \(2, 3\)",
        ),
        ((np.ones((2, 5)), np.full((2, 1), np.nan)), ValueError, r"check\[1\]\[0, 0\]=.*nan"),
    ],
)
def test_bad_checks(check: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fastntk.MLP.from_torch(plain().state_dict(), activation="tanh", check=check)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"0.weight": torch.ones(8)},
            r"module\['0.weight'\].* has shape \(8,\): expected a matrix",
        ),
        ({"0.bias": torch.ones(7)}, r"bias'?\]? ?.*has shape \(7,\): expected \(8,\)"),
        ({"2.weight": torch.ones(1, 7)}, r"has shape \(1, 7\): expected 8 columns"),
        ({"2.weight_g": torch.ones(1)}, "entries '2.weight_g': expected a weight and perhaps"),
        ({"0.mask": torch.ones(1), "epoch": 3}, "entries '0.mask', 'epoch': expected a weight"),
        ({"0.weight": torch.ones(8, 5).half()}, "has dtype torch.float16: expected torch.float32"),
        ({"0.weight": np.ones((8, 5), complex)}, "has dtype complex128: expected real numbers"),
    ],
)
def test_states_that_are_no_such_network(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fastntk.MLP.from_torch({**plain().state_dict(), **change}, activation="tanh")
    with pytest.raises(ValueError, match="entries of an empty mapping: expected a weight"):
        fastntk.MLP.from_torch({}, activation="tanh")


NOT_MODULES = sorted(set(activations.FINITE_WIDTH) - set(ACTIVATIONS) - {"hardsigmoid"})
OF_OUTPUTS = ("identity", "tanh", "sigmoid", "softplus", "softmax")
OTHER_PARAMETERS = [
    activations.leaky_relu(0.3),
    activations.elu(0.4),
    activations.celu(2.0),
    activations.hardtanh(-2.0, 0.25),
    activations.softplus(0.25),
    activations.softplus(3.0),
]


def factors(net: fastntk.MLP) -> npt.NDArray[np.float64]:
    """What gradients of a module's parameters are multiplied by to be those of the network's."""
    found = []
    for k, layer in enumerate(net.network.layers):
        scale = (net.activation_scale if k else 1.0) * layer.weight_scale
        found.append(np.full(layer.weights.size, scale))
        if layer.bias is not None:
            found.append(np.full(layer.bias.size, layer.bias_scale))
    return np.concatenate(found)


@pytest.mark.parametrize("output", OF_OUTPUTS)
@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize("activation", [*sorted(ACTIVATIONS), *OTHER_PARAMETERS])
def test_networks_become_modules(activation: Any, parametrization: str, output: str) -> None:
    net = fastntk.MLP(
        [5, 9, 8, 3], activation=activation, output_activation=output, seed=1,
        parametrization=parametrization, weight_std=1.3, bias_std=0.4, activation_scale=1.2,
    )  # fmt: skip
    module = net.to_torch()
    X = 2.0 * np.random.default_rng(0).standard_normal((7, 5))
    outputs = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(outputs, net(X), rtol=1e-12, atol=1e-13)
    J = torch_jacobian(module, X)
    np.testing.assert_allclose(J * factors(net), net.jacobian(X), rtol=1e-11, atol=1e-12)
    again = fastntk.MLP.from_torch(module)
    assert again.widths == net.widths
    assert again.activation == net.activation
    assert again.output_activation == net.output_activation
    np.testing.assert_allclose(again.jacobian(X), J, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_modules_come_back_to_the_bit(activation: str) -> None:
    module = module_of(activation, bias=activation != "tanh")
    module[1].weight.requires_grad_(False)
    net = fastntk.MLP.from_torch(module)
    state = torch.get_rng_state()
    back = net.to_torch()
    assert torch.equal(torch.get_rng_state(), state)
    assert fastntk.MLP.from_torch(back).digest() == net.digest()
    for parameter, same in zip(module.parameters(), back.parameters(), strict=True):
        assert torch.equal(parameter, same)
        assert parameter.requires_grad == same.requires_grad
        assert parameter.data_ptr() != same.data_ptr()
    with torch.no_grad():  # copies: a module that changes does not change the network
        back[0].weight += 1
    assert np.array_equal(net.weights[0], module[1].weight.detach().numpy())


def test_modules_of_networks_in_float32() -> None:
    net = fastntk.MLP([5, 9, 1], activation="tanh", bias_std=0.5, dtype="float32")
    module = net.to_torch()
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    expected = net.weights[1].astype(np.float64) * (net.activation_scale / 3)
    assert torch.equal(module[2].weight, torch.from_numpy(expected.astype(np.float32)))
    assert [type(part).__name__ for part in module] == ["Linear", "Tanh", "Linear"]
    for activation in ("relu", "erf"):  # which nothing is an activation of
        without = fastntk.MLP([5, 1], activation=activation)
        assert [type(part) for part in without.to_torch()] == [nn.Linear]


def test_activations_that_no_module_has() -> None:
    assert "erf" in NOT_MODULES
    without: list[Any] = [*NOT_MODULES, CUBE]
    for activation in without:
        net = fastntk.MLP([2, 3, 1], activation=activation)
        with pytest.raises(ValueError, match=r"^activation=Activation\(.*\): expected one that to"):
            net.to_torch()
    net = fastntk.MLP([2, 3, 1], output_activation="square")
    with pytest.raises(ValueError, match=r"^output_activation=.*: expected .* 'relu', .*'softmax'"):
        net.to_torch()


def test_networks_that_are_no_modules() -> None:
    large = fastntk.MLP([2, 3, 1], activation_scale=1e30, dtype="float32", init_scale=1e15)
    with pytest.raises(OverflowError, match=r"weight of module\[2\]: .* beyond float32"):
        large.to_torch()
    first, last = fastntk.MLP([2, 3, 1]).network.layers
    network = large.network.of_layers(
        [replace(first, kernel_weights=(0.5, 1.0)), last], large.activation, 1.0
    )
    with pytest.raises(ValueError, match=r"layer_weights: 0\.5 for the weight of module\[0\]: exp"):
        fastntk.MLP.of_network(network).to_torch()


def test_thresholds_of_softplus() -> None:
    """A threshold is of beta · z: below 20 the line differs from the function, whatever beta is."""
    parts = nn.Linear(2, 3), nn.Softplus(10.0, threshold=5), nn.Linear(3, 1)
    with pytest.raises(ValueError, match="expected a threshold of at least 20"):
        fastntk.MLP.from_torch(nn.Sequential(*parts))
    parts = nn.Linear(2, 3), nn.Softplus(0.5), nn.Linear(3, 1)
    net = fastntk.MLP.from_torch(nn.Sequential(*parts))
    assert net.activation == activations.softplus(0.5)
