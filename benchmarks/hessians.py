# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Products with Hessians over gradients, and norms of Hessians beside Lanczos over torch.func.

``python -m benchmarks.hessians``, in an environment that has PyTorch for the second part. What is
compared takes turns, and the median of the ratios of neighbours is printed: machines are shared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk
from fastntk._support.threads import thread_count
from fastntk.linearity import hessian_norm, hessian_vector_product
from fastntk.linearity.sample_hessian import SampleHessian

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

INPUTS, DEPTH = 784, 3
SAMPLES, NORMS = 512, 2


def seconds(function: Callable[[], Any]) -> tuple[float, float]:
    """Return the time that a call takes, and that of the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def ratios(
    one: Callable[[], Any], other: Callable[[], Any], rounds: int
) -> tuple[float, float, float]:
    """Return the median times of one function, and those ratios to another: wall and processors."""
    one(), other()
    pairs = [(seconds(one), seconds(other)) for _ in range(rounds)]
    wall, cpu = (statistics.median(a[k] / b[k] for a, b in pairs) for k in (0, 1))
    return statistics.median(a[0] for a, _ in pairs), wall, cpu


def products_over_gradients(width: int, rounds: int) -> None:
    """Print how many gradients a product with the Hessian of Σ f takes."""
    random = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        net = fastntk.MLP([INPUTS, *[width] * DEPTH, 1], activation="tanh", dtype=dtype)
        X = random.standard_normal((SAMPLES, INPUTS)).astype(dtype)
        ones = np.ones(SAMPLES, dtype)
        for count in (1, 8):
            V = random.standard_normal((net.n_parameters, count)).astype(dtype)
            took, wall, cpu = ratios(
                partial(hessian_vector_product, net, X, V), partial(net.vjp, X, ones), rounds
            )
            print(
                f"product with {count} vector{'s' * (count > 1)}, n {SAMPLES}, d {INPUTS}, "
                f"m {width}, L {DEPTH}, tanh, {dtype}: {1e3 * took:.0f} ms; each "
                f"{wall / count:.2f} gradients ({cpu / count:.2f} in processor time)",
                flush=True,
            )


def lanczos_by_torch(net: fastntk.MLP, x: npt.NDArray[np.float64], products: int) -> float:
    """Return the largest |Ritz value| after so many products, by jvp of grad."""
    import torch

    scales = [layer.weight_scale for layer in net.network.layers]
    weights = tuple(torch.from_numpy(w) for w in net.weights)
    sample = torch.from_numpy(x)

    def output(parameters: tuple[Any, ...]) -> Any:
        h = sample
        for w, s in zip(parameters[:-1], scales, strict=False):
            h = net.activation_scale * torch.tanh(s * (w @ h))
        return (scales[-1] * (parameters[-1] @ h))[0]

    gradient = torch.func.grad(output)

    def dot(a: tuple[Any, ...], b: tuple[Any, ...]) -> float:
        return float(sum(torch.vdot(p.view(-1), q.view(-1)) for p, q in zip(a, b, strict=True)))

    torch.manual_seed(0)
    v = tuple(torch.randn_like(w) for w in weights)
    norm = dot(v, v) ** 0.5
    v = tuple(part / norm for part in v)
    before = tuple(torch.zeros_like(part) for part in v)
    diagonal, beside = [], [0.0]
    for _ in range(products):
        product = torch.func.jvp(gradient, (weights,), (v,))[1]
        alpha = dot(product, v)
        rest = tuple(
            p - alpha * a - beside[-1] * b for p, a, b in zip(product, v, before, strict=True)
        )
        diagonal.append(alpha)
        beside.append(dot(rest, rest) ** 0.5)
        before, v = v, tuple(part / beside[-1] for part in rest)
    off = np.array(beside[1:-1])
    tridiagonal = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
    return float(np.abs(np.linalg.eigvalsh(tridiagonal)).max())


def norms_beside_torch(width: int, rounds: int) -> None:
    """Print how much longer Lanczos over torch.func takes for as many products."""
    import torch

    torch.set_num_threads(thread_count())
    net = fastntk.MLP([INPUTS, *[width] * DEPTH, 1], activation="tanh")
    X = np.random.default_rng(1).standard_normal((NORMS, INPUTS))
    counted = []
    multiply = SampleHessian.products

    def counting(self: SampleHessian, parts: list[npt.NDArray[np.float64]]) -> Any:
        counted.append(parts[0].shape[1])
        return multiply(self, parts)

    SampleHessian.products = counting  # type: ignore[method-assign]
    values = hessian_norm(net, X).values
    SampleHessian.products = multiply  # type: ignore[method-assign]
    products = -(-sum(counted) // NORMS)
    found: list[float] = []

    def by_torch() -> None:
        found[:] = [lanczos_by_torch(net, x, products) for x in X]

    took, wall, cpu = ratios(lambda: hessian_norm(net, X), by_torch, rounds)
    apart = float(np.abs(np.array(found) / values - 1).max())
    print(
        f"hessian_norm of {NORMS} samples, d {INPUTS}, m {width}, L {DEPTH}, tanh, float64, "
        f"{products} products each: {1e3 * took:.0f} ms; Lanczos over torch.func takes "
        f"{1 / wall:.1f} × as long ({1 / cpu:.1f} × the processor time); values differ by at most "
        f"{apart:.1e}"
    )


def main() -> None:
    """Measure both, or what the environment allows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--width", type=int, default=1024)
    given = parser.parse_args()
    print(f"{thread_count()} threads, {given.rounds} rounds", flush=True)
    products_over_gradients(given.width, given.rounds)
    try:
        norms_beside_torch(given.width, given.rounds)
    except ModuleNotFoundError as error:
        print(f"no norms beside PyTorch: {error}")


if __name__ == "__main__":
    main()
