# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What PyTorch makes of the workloads: by hand, by torch.func, by its loop of training.

It runs in the environment of the peers, and knows nothing of fastntk.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.func import jacrev, jvp, linearize, vjp, vmap

from benchmarks.peers.serving import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.peers.serving import Prepare

    Arrays = Mapping[str, Any]
    Settings = Mapping[str, Any]


def _weights(arrays: Arrays) -> list[Any]:
    """Return W0, W1, … as tensors."""
    count = sum(name.startswith("W") for name in arrays)
    return [torch.from_numpy(arrays[f"W{i}"]) for i in range(count)]


def _features(X: Any, weights: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return H^0 … H^L and Δ^1 … Δ^L of ReLU, whose c_φ is √2, by matrix products alone."""
    hs = [X]
    for w in weights[:-1]:
        z = torch.mm(hs[-1], w.T).clamp_(min=0)
        hs.append(z.mul_((2 / w.shape[1]) ** 0.5))
    last = weights[-1]
    deltas = [_gate(hs[-1]).mul_(last * (2 / last.shape[1]) ** 0.5)]
    for h, w in zip(hs[-2:0:-1], weights[-2:0:-1], strict=True):
        delta = torch.mm(deltas[0], w)
        deltas.insert(0, delta.mul_(_gate(h)).mul_((2 / w.shape[1]) ** 0.5))
    return hs, deltas


def _gate(h: Any) -> Any:
    return (h > 0).to(h.dtype)


def _gram_of(hs: Sequence[Any], deltas: Sequence[Any]) -> Any:
    """Return the kernel from H and Δ; two matrices are used again for every layer."""
    K = torch.mm(hs[-1], hs[-1].T).mul_(1 / hs[-1].shape[1])
    of_h, of_delta = torch.empty_like(K), torch.empty_like(K)
    for h, delta in zip(hs, deltas, strict=False):
        torch.mm(h, h.T, out=of_h)
        torch.mm(delta, delta.T, out=of_delta)
        K.addcmul_(of_h, of_delta, value=1 / h.shape[1])
    return K


def _ntk(arrays: Arrays, _: Settings) -> Callable[[], Any]:
    X, weights = torch.from_numpy(arrays["X"]), _weights(arrays)

    def compute() -> Any:
        with torch.inference_mode():
            return _gram_of(*_features(X, weights))

    return compute


def _gram(arrays: Arrays, _: Settings) -> Callable[[], Any]:
    hs, deltas = _features(torch.from_numpy(arrays["X"]), _weights(arrays))

    def compute() -> Any:
        with torch.inference_mode():
            return _gram_of(hs, deltas)

    return compute


def _outputs_of(weights: Sequence[Any], X: Any) -> Any:
    h = X
    for w in weights[:-1]:
        h = torch.relu(h @ w.T * (2 / w.shape[1]) ** 0.5)
    return (h @ weights[-1].T / weights[-1].shape[1] ** 0.5)[..., 0]


def _jacobian_contraction(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    """Return PyTorch's recipe: the Jacobian of every sample, contracted weight by weight.

    Of a block of rows and one of columns, as the Jacobians of all samples do not fit in memory.
    """
    X, weights = torch.from_numpy(arrays["X"]), _weights(arrays)
    few = X[: settings["samples"]]
    jacobians = vmap(jacrev(_outputs_of), (None, 0))

    def compute() -> Any:
        left, right = jacobians(weights, few), jacobians(weights, few)
        terms = (a.flatten(1) @ b.flatten(1).T for a, b in zip(left, right, strict=True))
        return sum(terms)

    return compute


def _vector_products(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    """Return PyTorch's other recipe: a product with the kernel of each pair, no Jacobian kept."""
    X, weights = torch.from_numpy(arrays["X"]), _weights(arrays)
    few = X[: settings["samples"]]

    def entry(x: Any, z: Any) -> Any:
        pull = vjp(lambda w: _outputs_of(w, z), weights)[1]
        (gradient,) = pull(torch.ones((), dtype=x.dtype))
        return jvp(lambda w: _outputs_of(w, x), (weights,), (gradient,))[1]

    all_entries = vmap(vmap(entry, (None, 0)), (0, None), chunk_size=4)
    return lambda: all_entries(few, few)


def _operator(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    """Return F Fᵀ V; F and Fᵀ are linearized once, and take all vectors at the same time."""
    X, weights = torch.from_numpy(arrays["X"]), _weights(arrays)
    V = torch.from_numpy(arrays["V"])[:, : settings["vectors"]]

    def function(w: Any) -> Any:
        return _outputs_of(w, X)

    _, push = linearize(function, weights)
    pull = vjp(function, weights)[1]
    return lambda: vmap(lambda v: push(pull(v)[0]), in_dims=1, out_dims=1)(V)


def _epoch(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    """Return the loss of an epoch of the usual loop; the next call goes on with the weights."""
    batch, rate = settings["training"]["batch_size"], settings["training"]["learning_rate"]
    layers: list[Any] = []
    for w in _weights(arrays):
        linear = torch.nn.Linear(w.shape[1], len(w), bias=False, dtype=w.dtype)
        with torch.no_grad():
            linear.weight.copy_(w)
        layers += [linear, torch.nn.ReLU()]
    module = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    X, y = torch.from_numpy(arrays["X"]), torch.from_numpy(arrays["y"])
    order: Any = torch.from_numpy(arrays["order"])

    def compute() -> float:
        total = 0.0
        for rows in order.split(batch):
            optimizer.zero_grad()
            loss: Any = torch.nn.functional.cross_entropy(module(X[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows) / len(X)
        return total

    return compute


def _outputs(arrays: Arrays, _: Settings) -> Callable[[], Any]:
    X, weights = torch.from_numpy(arrays["X"]), _weights(arrays)

    def compute() -> Any:
        with torch.inference_mode():
            return _outputs_of(weights, X)[:, None]

    return compute


def _gemm(arrays: Arrays, _: Settings) -> Callable[[], Any]:
    a = torch.from_numpy(arrays["A"])
    return lambda: torch.mm(a, a)


PREPARE: dict[str, Prepare] = {
    "ntk": _ntk,
    "gram": _gram,
    "jacobian contraction": _jacobian_contraction,
    "vector products": _vector_products,
    "operator": _operator,
    "epoch": _epoch,
    "outputs": _outputs,
    "gemm": _gemm,
}


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    serve(PREPARE, {"torch": torch.__version__, "numpy": np.__version__})
