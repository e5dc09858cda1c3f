# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Agreement with PyTorch: its modules become networks, and autograd gives the same kernels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fastntk
from fastntk import activations

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

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
}


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
    """(n, C, P), a sample and an output at a time, by autograd."""
    rows = []
    for x in torch.from_numpy(X):
        f = module(x[None])[0]
        rows.append(
            [
                np.concatenate(
                    [
                        g.numpy().ravel()
                        for g in torch.autograd.grad(
                            f[c], list(module.parameters()), retain_graph=True
                        )
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


def test_tensors_are_samples() -> None:
    net = fastntk.MLP([5, 7, 1])
    X = torch.randn(6, 5, dtype=torch.float64)
    assert np.array_equal(net.ntk(X), net.ntk(X.numpy()))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([nn.Conv1d(1, 1, 1)], "module contains Conv1d.*expected a Sequential of Linear"),
        ([nn.ReLU()], "module contains ReLU.*: expected one activation after a Linear"),
        ([nn.Linear(2, 2), nn.ReLU(), nn.ReLU(), nn.Linear(2, 1)], "one activation after a Linea"),
        ([nn.Linear(2, 2), nn.ReLU()], "expected a Linear at the end"),
        (
            [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)],
            "expected the same activation after every Linear",
        ),
        ([nn.Linear(2, 2), nn.GELU("tanh"), nn.Linear(2, 1)], "expected the exact GELU"),
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
    with pytest.raises(ValueError, match="expected a weight and a bias for each Linear"):
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
    ],
)
def test_modules_are_what_their_entries_say(make: Any) -> None:
    """Value and slope, at the kink too; autograd gives the slope from the left there, as we do."""
    module = make()
    (phi,) = {
        activations.restore(entry.name, entry.module.parameters(module))
        for entry in map(activations.get, activations.names())
        if entry.module is not None and entry.module.name == type(module).__name__
    }
    assert phi.function is not None
    assert phi.derivative is not None
    points = np.concatenate([[0.0], np.arange(-64, 65) / 8, [-30.0, 30.0]])
    z = torch.from_numpy(points).requires_grad_()
    value = module(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    np.testing.assert_allclose(phi.function(points), value.detach(), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(phi.derivative(points), slope, rtol=1e-13, atol=1e-15)


def test_parameters_of_activations_are_found() -> None:
    assert fastntk.MLP.from_torch(module_of("leaky_relu")).activation == activations.leaky_relu(0.2)
    assert fastntk.MLP.from_torch(module_of("elu")).activation == activations.elu(0.7)
