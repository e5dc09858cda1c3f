# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Correctness and speed on a GPU: ``python -m benchmarks.gpu``.

First, everything that runs on the GPU is compared with the processor, on random networks of all
activations; then it is timed, beside what the roofline makes of the rates of matrix multiplication
and of the memory that are measured on the same GPU (and, on paper, of an H100). Needs fastntk built
with CUDA and, for arrays, ``pip install 'cupy-cuda13x[ctk]'``. The exit status is 0 if all agrees,
1 if something differs, and 2, with the reason, where there is no GPU to use.

What is compared goes through ``device="cuda"``, with arrays of NumPy; kernels and eigenvalues also
through arrays of CuPy, and everything that is timed.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk
from benchmarks import roofline
from fastntk import activations, cuda, layers

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # where the one table of tolerances is
from tolerances import RTOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Array = np.ndarray[Any, np.dtype[Any]]
    Quantity = Callable[[Any, dict[str, str]], Any]

NO_GPU = 2

_GEMM_SIZE = 8192
_COPY_BYTES = 2**30
_LAUNCHES = 2000
_SECONDS_A_JOB = 2.0
_MOST_ROUNDS = 20
_MEMORY_SHARE = 0.8
_VECTORS = 16

# What is so much nearer than others to where φ' jumps may be on either side after rounding.
_NEAR = 1e-5


@dataclass(frozen=True)
class Accelerator:
    """Where to compute, and how to hand over arrays.

    Attributes
    ----------
    name : str
    arrays : module
        CuPy, or NumPy where the script itself is tested.
    where : dict of str to str
        The arguments by which arrays of NumPy are computed on there.
    synchronize : callable
        Returns when all work is done.
    memory : int
        Bytes.
    """

    name: str
    arrays: Any
    where: dict[str, str]
    synchronize: Callable[[], object]
    memory: int

    def to_host(self, values: Any) -> Array:
        """Return an array of `arrays` as one of NumPy."""
        return np.asarray(values.get() if hasattr(values, "get") else values)


def find_accelerator() -> Accelerator | str:
    """Return the first GPU, or why there is none."""
    reason = cuda.why_not()
    if reason is not None:
        return reason
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return f"CuPy cannot be imported ({error}): pip install cupy-cuda13x"
    device = cuda.devices()[0]
    return Accelerator(
        device.name,
        cupy,
        {"device": "cuda"},
        lambda: cupy.cuda.Device().synchronize(),
        device.memory,
    )


# Correctness


@dataclass(frozen=True)
class Case:
    """A random network and random samples."""

    activation: str
    dtype: str
    widths: tuple[int, ...]
    n: int
    m: int
    parametrization: str
    bias_std: float
    seed: int

    def network(self, dtype: str | None = None) -> Any:
        """Return the network, with the same weights in another precision if asked for."""
        return fastntk.MLP(
            self.widths,
            activation=self.activation,
            bias_std=self.bias_std,
            parametrization=self.parametrization,
            seed=self.seed,
            dtype=self.dtype,
        ).astype(dtype or self.dtype)

    def samples(self) -> tuple[Array, Array]:
        """Return (n, d) and (m, d), without those that rounding could carry over a kink of φ."""
        rng = np.random.default_rng(self.seed)
        spare = 2 * (self.n + self.m) + 64
        drawn = rng.standard_normal((spare, self.widths[0])).astype(self.dtype)
        usable = drawn[self._far_from_kinks(drawn)]
        return usable[: self.n], usable[self.n : self.n + self.m]

    def _far_from_kinks(self, X: Array) -> Array:
        far = np.full(len(X), True)
        kinks = np.array(activations.get(self.activation).breakpoints)
        if not len(kinks):
            return far
        net = self.network("float64")
        for layer in range(1, len(self.widths) - 1):  # as outputs of the layers below
            below = fastntk.MLP.from_weights(
                net.weights[:layer],
                None if net.biases is None else net.biases[:layer],
                activation=self.activation,
                bias_std=self.bias_std,
                parametrization=self.parametrization,
            )
            z = below(X)
            distances = np.abs(z[..., np.newaxis] - kinks).min(axis=(1, 2))
            far &= distances > _NEAR * np.abs(z).max()
        return far


def cases(quick: bool) -> Iterator[Case]:
    """Yield cases of all activations and precisions, at sizes around those of warps and tiles."""
    sizes = (1, 2, 31, 33, 64, 127, 129) if quick else (1, 2, 31, 33, 127, 129, 255, 257, 513, 1025)
    rng = np.random.default_rng(0)
    kinds = itertools.product(activations.FINITE_WIDTH, ("float32", "float64"))
    for seed, (activation, dtype) in enumerate(kinds):
        for bias_std, parametrization in ((0.0, "ntk"), (0.3, "standard")):
            hidden = rng.choice(sizes, size=int(rng.integers(0, 4)))
            inputs, outputs = int(rng.integers(1, 40)), int(rng.integers(1, 4))
            widths = (inputs, *(int(width) for width in hidden), outputs)
            n, m = (int(size) for size in rng.choice(sizes[1:], size=2))
            yield Case(activation, dtype, widths, n, m, parametrization, bias_std, seed)


def _assembled(net: Any, X: Array, where: dict[str, str]) -> Array:
    K = np.full((len(X), len(X)), np.nan)
    for rows, cols, tile in net.ntk_tiles(X, X, tile=33, **where):
        K[rows, cols] = tile
    return K


def _depths(case: Case, dtype: Any, X: Array, where: dict[str, str]) -> Array:
    ntk_depths: Any = fastntk.ntk_depths
    kernels = ntk_depths(
        X, range(4), width=33, activation=case.activation, network_dtype=dtype, **where
    )
    return np.stack(list(kernels.values()))


def _hessian(net: Any, X: Array, direction: Array, where: dict[str, str]) -> Array:
    product: Any = fastntk.linearity.hessian_vector_product
    return np.asarray(product(net, X, direction, **where))


def _weights_changed(net: Any, X: Array, loss: str, where: dict[str, str]) -> Array:
    rng = np.random.default_rng(1)
    y: Array = rng.standard_normal((len(X), net.n_outputs))
    if loss == "cross_entropy":
        y = rng.integers(0, net.n_outputs, len(X))
    # Far from where steps would grow, and with them every difference.
    steepest = float(np.diag(net.ntk(X)).max())
    rate = 0.1 / steepest if steepest > 0 else 1.0
    train: Any = fastntk.train
    trained = train(
        net, X, y, loss=loss, learning_rate=rate, epochs=3, batch_size=max(1, len(X) // 3),
        momentum=0.5, **where,
    ).net  # fmt: skip
    # The change itself: the weights hide it.
    pairs = zip(_arrays(trained), _arrays(net), strict=True)
    return np.concatenate([(after - before).ravel() for after, before in pairs])


def _arrays(net: fastntk.MLP | fastntk.FiniteNetwork) -> Sequence[Array]:
    return net.weights if isinstance(net, fastntk.MLP) else net.parameters


def quantities(case: Case, X: Array, Z: Array) -> dict[str, Quantity]:
    """Return what is compared: functions of a network and of where to compute."""
    rng = np.random.default_rng(2)
    layers = len(case.widths) - 1
    omega = rng.random((layers, 2))
    u, outputs = rng.standard_normal((case.n, 3)).astype(case.dtype), case.widths[-1]
    w = rng.standard_normal((case.n, outputs, 2)).astype(case.dtype)
    direction = rng.standard_normal(case.network().n_parameters).astype(case.dtype)
    found: dict[str, Quantity] = {
        "outputs": lambda net, on: net(X, **on),
        "trace": lambda net, on: net.ntk(X, **on),
        "trace in float64": lambda net, on: net.ntk(X, dtype="float64", **on),
        "cross": lambda net, on: net.ntk(X, Z, **on),
        "one output": lambda net, on: net.ntk(X, outputs=outputs - 1, **on),
        "diagonal": lambda net, on: net.ntk(X, outputs="diagonal", **on),
        "full": lambda net, on: net.ntk(X, Z, outputs="full", **on),
        "weighted": lambda net, on: net.ntk(X, layer_weights=omega, **on),
        "by layer": lambda net, on: net.ntk_by_layer(X, **on),
        "conjugate": lambda net, on: net.conjugate_kernel(X, **on),
        "tiles": lambda net, on: _assembled(net, X, on),
        "operator": lambda net, on: net.ntk_operator(X, **on) @ u,
        "jvp": lambda net, on: net.jvp(X, net.vjp(X, w, **on), **on),
        "Hessian": lambda net, on: _hessian(net, X, direction, on),
        "smallest angle": lambda net, on: net.smallest_angle(X, **on).angle,
        "depths": lambda net, on: _depths(case, net.dtype, X, on),
        "trained, mse": lambda net, on: _weights_changed(net, X, "mse", on),
    }
    if outputs > 1:
        found["trained, cross-entropy"] = lambda net, on: _weights_changed(
            net, X, "cross_entropy", on
        )
    if outputs * case.n * np.dot(case.widths[:-1], case.widths[1:]) < 1e7:
        found["gradients"] = lambda net, on: net.jacobian(X, **on)
    return found


# Several steps lose digits on either device: by how much more two results may differ.
_SLACK = {
    "jvp": 10.0,
    "operator": 10.0,
    "Hessian": 10.0,
    "trained, mse": 100.0,
    "trained, cross-entropy": 100.0,
}
# Differences are relative to the largest entry, but for angles: to 1 radian.
_SCALE = {"smallest angle": 1.0}


def difference(
    actual: Any,
    expected: Any,
    dtype: str,
    *,
    slack: float = 1.0,
    scale: float | None = None,
    rounded: float = 0.0,
) -> str | None:
    """Return how far two results are from each other, or None if as near as they must be.

    Numbers of the size `rounded`, if any, were rounded on the way.
    """
    ours, truth = np.asarray(actual), np.asarray(expected)
    if ours.shape != truth.shape:
        return f"has shape {ours.shape}, expected {truth.shape}"
    largest = float(np.abs(truth).max(initial=0.0))
    error = float(np.abs(ours - truth).max(initial=0.0))
    allowed = slack * RTOL[np.dtype(dtype)] * (largest if scale is None else scale)
    allowed += 16 * float(np.finfo(dtype).eps) * rounded
    if not error <= allowed:  # also NaN
        return f"differs by {error:.2e}, allowed {allowed:.2e}, largest {largest:.2e}"
    return None


def check_case(case: Case, accelerator: Accelerator) -> list[str]:
    """Return what differs, a line each."""
    X, Z = case.samples()
    net, truth = case.network(), case.network("float64")
    largest_weight = max(float(np.abs(w).max()) for w in net.weights)  # each step rounds them
    problems = []
    for name, function in quantities(case, X, Z).items():
        try:
            expected = function(truth, {})
        except ValueError:  # no two samples with a gradient, of which to take the angle
            continue
        actual = function(net, accelerator.where)
        slack, scale = _SLACK.get(name, 1.0), _SCALE.get(name)
        problem = difference(
            actual,
            expected,
            case.dtype,
            slack=slack,
            scale=scale,
            rounded=largest_weight if name.startswith("trained") else 0.0,
        )
        if problem is not None:
            problems.append(f"{name} {problem}: {case}")
    K = net.ntk(X, **accelerator.where)
    if not np.array_equal(K, K.T):
        problems.append(f"the kernel is not symmetric to the last bit: {case}")
    if not np.array_equal(K, net.ntk(X, **accelerator.where)):
        problems.append(f"the kernel is not the same twice: {case}")
    there = net.ntk(accelerator.arrays.asarray(X))
    if not isinstance(there, accelerator.arrays.ndarray):
        problems.append(f"the kernel of an array on the GPU is a {type(there)}: {case}")
    elif not np.array_equal(accelerator.to_host(there), K):
        problems.append(f"the kernel of an array on the GPU is another: {case}")
    return problems + check_eigenvalues(net.ntk(X, dtype="float64"), case, accelerator)


def layered_networks(count: int) -> Iterator[fastntk.Network]:
    """Yield networks with skip connections and normalization, of all activations by turns."""
    rng = np.random.default_rng(1)
    phis = itertools.cycle(activations.FINITE_WIDTH)
    norms = (layers.LayerNorm, layers.RMSNorm)
    for _ in range(count):
        width, inner, inputs = (int(size) for size in rng.integers(3, 140, size=3))
        parts: list[layers.Layer] = [layers.Dense(width, bias_std=0.3)]
        for block in range(int(rng.integers(1, 4))):
            norm = norms[block % 2](gain=bool(rng.integers(2)), shift=bool(rng.integers(2)))
            phi = layers.Activation(next(phis))
            branch = [norm, layers.Dense(inner), phi, layers.Dense(width, bias_std=0.1)]
            parts.append(layers.Residual(branch, scale=0.5))
        parts += [layers.RMSNorm(gain=True), layers.Dense(int(rng.integers(1, 4)))]
        yield fastntk.Network(parts, inputs=inputs)


def layered_quantities(
    description: fastntk.Network, X: Array, Z: Array, w: Array
) -> dict[str, Quantity]:
    """Return what is compared of networks of layers."""
    direction = np.random.default_rng(3).standard_normal(description.n_parameters)
    blocks = range(sum(isinstance(layer, layers.Residual) for layer in description.layers) + 1)
    return {
        "outputs": lambda net, on: net(X, **on),
        "trace": lambda net, on: net.ntk(X, **on),
        "full": lambda net, on: net.ntk(X, Z, outputs="full", **on),
        "by layer": lambda net, on: net.ntk_by_layer(X, **on),
        "jvp": lambda net, on: net.jvp(X, net.vjp(X, w, **on), **on),
        "gradients": lambda net, on: net.jacobian(Z, **on),
        "Hessian": lambda net, on: _hessian(net, X, direction.astype(X.dtype), on),
        "blocks": lambda net, on: list(
            description.ntk_at_blocks(
                X.astype(net.dtype), blocks, seed=1, network_dtype=net.dtype, **on
            ).values()
        ),
        "trained, mse": lambda net, on: _weights_changed(net, X, "mse", on),
    }


def check_layers(description: fastntk.Network, accelerator: Accelerator) -> list[str]:
    """Return what differs of a network of layers, in both precisions, a line each."""
    rng = np.random.default_rng(2)
    X, Z = (rng.standard_normal((n, description.inputs)) for n in (65, 33))
    w = rng.standard_normal((len(X), description.n_outputs, 2))
    problems = []
    for dtype in ("float32", "float64"):
        net = description.sample(seed=1, dtype=dtype)
        given = [each.astype(dtype) for each in (X, Z, w)]
        largest = max(float(np.abs(array).max()) for array in net.parameters)
        for name, function in layered_quantities(description, *given).items():
            problem = difference(
                function(net, accelerator.where),
                function(net.astype("float64"), {}),
                dtype,
                slack=_SLACK.get(name, 1.0),
                rounded=largest if name.startswith("trained") else 0.0,
            )
            if problem is not None:
                problems.append(f"{name} {problem}: {dtype}, {description}")
    return problems


def check_eigenvalues(K: Array, case: Case, accelerator: Accelerator) -> list[str]:
    """Return which eigenvalues cannot be those that the processor finds, a line each."""
    on_host = fastntk.conditioning(K, method="cholesky").bounds
    on_gpu = fastntk.conditioning(accelerator.arrays.asarray(K), method="cholesky").bounds
    assert on_host is not None
    assert on_gpu is not None
    pairs = {
        "λ_min": (on_host.eigenvalue_min, on_gpu.eigenvalue_min),
        "λ_max": (on_host.eigenvalue_max, on_gpu.eigenvalue_max),
    }
    return [
        f"{name} is in {a} and in {b}: {case}"
        for name, (a, b) in pairs.items()
        if max(a.lower, b.lower) > min(a.upper, b.upper)
    ]


def check(accelerator: Accelerator, quick: bool) -> bool:
    """Compare all cases, print what differs, and return whether nothing does."""
    count = failed = 0
    for case in cases(quick):
        count += 1
        for problem in check_case(case, accelerator):
            failed += 1
            print(f"DIFFERENT: {problem}", flush=True)
    for description in layered_networks(len(activations.FINITE_WIDTH)):
        count += 1
        for problem in check_layers(description, accelerator):
            failed += 1
            print(f"DIFFERENT: {problem}", flush=True)
    print(f"{count} networks compared with the processor, {failed} differences")
    return failed == 0


# Speed


def seconds_of(accelerator: Accelerator, work: Callable[[], object]) -> float:
    """Return the median time of `work`, done to the end, after one run to warm up."""

    def once() -> float:
        started = time.perf_counter()
        result = work()
        accelerator.synchronize()
        elapsed = time.perf_counter() - started
        del result
        return elapsed

    first = once()
    rounds = int(min(_MOST_ROUNDS, max(3.0, _SECONDS_A_JOB / max(first, 1e-9))))
    return statistics.median(once() for _ in range(rounds))


def measured_rates(
    accelerator: Accelerator, size: int = _GEMM_SIZE, copied: int = _COPY_BYTES
) -> roofline.Gpu:
    """Return the rates of this GPU; loops are given that of matrix multiplication.

    The loops of the core wait for memory long before their arithmetic matters.
    """
    xp = accelerator.arrays
    rates = {}
    for dtype in ("float32", "float64"):
        a = xp.ones((size, size), dtype=dtype)
        out = xp.empty_like(a)
        seconds = seconds_of(accelerator, partial(xp.matmul, a, a, out=out))
        rates[dtype] = 2.0 * size**3 / seconds
    source = xp.ones(copied, dtype="uint8")
    target = xp.empty_like(source)
    bandwidth = 2.0 * copied / seconds_of(accelerator, lambda: xp.copyto(target, source))
    little = xp.zeros(1, dtype="float32")

    def launches() -> None:
        for _ in range(_LAUNCHES):
            xp.add(little, 1, out=little)

    launch = seconds_of(accelerator, launches) / _LAUNCHES
    return roofline.Gpu(accelerator.name, rates, rates, bandwidth, launch)


@dataclass(frozen=True)
class Timing:
    """A job, the time that it took, and its steps on paper."""

    job: str
    seconds: float
    steps: list[roofline.Step]
    repeats: float = 1.0  # how many times the steps are in the job

    def columns(self, gpu: roofline.Gpu) -> tuple[float, float, float, float, float]:
        """Return ms, TFLOP/s, the share of the GEMM rate, ms expected here and of an H100."""
        useful = self.repeats * roofline.gemm_flops(self.steps)
        ideal = self.repeats * sum(
            s.useful * s.flops / gpu.matrix_rate[s.dtype] for s in self.steps if s.is_gemm
        )
        expected, on_paper = (
            self.repeats * roofline.seconds(self.steps, g) for g in (gpu, roofline.H100)
        )
        rate = useful / self.seconds / 1e12
        return 1e3 * self.seconds, rate, ideal / self.seconds, 1e3 * expected, 1e3 * on_paper


def timings(
    accelerator: Accelerator, sizes: Sequence[tuple[int, int, int, int]]
) -> Iterator[Timing]:
    """Yield the time of each job that fits into the memory of the GPU."""
    xp = accelerator.arrays
    for n, inputs, width, depth in sizes:
        widths = [inputs, *[width] * depth, 1]
        where = f"n {n}, d {inputs}, width {width}, L {depth}"
        samples = np.random.default_rng(0).standard_normal((n, inputs))
        for dtype, grams in roofline.PRECISIONS:
            net: Any = fastntk.MLP(widths, dtype=dtype)
            X = xp.asarray(samples.astype(dtype))
            plan = net.astype(grams).plan(samples)
            steps = roofline.ntk(n, widths, dtype, gram_dtype=grams)
            if plan.kernel_bytes + plan.feature_bytes < _MEMORY_SHARE * accelerator.memory:
                seconds = seconds_of(accelerator, partial(net.ntk, X, dtype=grams))
                yield Timing(f"kernel, {where}, {dtype}/{grams}", seconds, steps)
            if grams == dtype:
                operator = net.ntk_operator(X)
                v = xp.ones((n, _VECTORS), dtype=dtype)
                seconds = seconds_of(accelerator, partial(operator.__matmul__, v))
                products = roofline.operator(n, widths, dtype, vectors=_VECTORS)
                yield Timing(f"{_VECTORS} products, {where}, {dtype}", seconds, products)
        seconds = seconds_of(accelerator, partial(net.smallest_angle, X))
        yield Timing(f"smallest angle, {where}, float64", seconds, steps)
        yield _epoch(accelerator, n, [inputs, *[width] * depth, 10], samples)


def _epoch(accelerator: Accelerator, n: int, widths: list[int], samples: Array) -> Timing:
    batch = min(500, n)
    net = fastntk.MLP(widths, dtype="float32")
    X = accelerator.arrays.asarray(samples.astype(np.float32))
    y = accelerator.arrays.asarray(np.arange(n) % widths[-1])
    train: Any = fastntk.train

    def epoch() -> float:
        history = train(net, X, y, learning_rate=1e-3, batch_size=batch)
        return float(history.seconds[0])

    epoch()
    seconds = statistics.median(epoch() for _ in range(3))
    steps = roofline.sgd_step(batch, widths, "float32")
    job = f"epoch, batch {batch}, n {n}, width {widths[1]}, L {len(widths) - 2}, float32"
    return Timing(job, seconds, steps, n / batch)


def table(found: Sequence[Timing], gpu: roofline.Gpu) -> str:
    """Return the timings beside what was expected."""
    rates = gpu.matrix_rate
    lines = [
        f"{gpu.name}, measured:",
        f"matrix multiplication in float32 {rates['float32'] / 1e12:.1f} TFLOP/s",
        f"matrix multiplication in float64 {rates['float64'] / 1e12:.1f} TFLOP/s",
        f"memory {gpu.bandwidth / 1e12:.2f} TB/s, {gpu.launch_seconds * 1e6:.1f} µs a launch",
        f"{'':<62} {'ms':>10} {'TFLOP/s':>8} {'of GEMM':>8} {'roofline':>10} {'H100':>10}",
    ]
    for timing in found:
        ms, rate, share, expected, on_paper = timing.columns(gpu)
        lines.append(
            f"{timing.job:<62} {ms:10.3f} {rate:8.2f} {share:8.2f} {expected:10.3f} "
            f"{on_paper:10.3f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Small networks, and one size timed.")
    parser.add_argument("--no-timings", action="store_true", help="Compare only.")
    given = parser.parse_args(arguments)
    accelerator = find_accelerator()
    if isinstance(accelerator, str):
        print(f"nothing was run on a GPU: {accelerator}")
        return NO_GPU
    print(f"fastntk {fastntk.__version__} on {accelerator.name}")
    right = check(accelerator, given.quick)
    if not given.no_timings:
        sizes = roofline.SIZES[:1] if given.quick else roofline.SIZES
        gpu = measured_rates(accelerator)
        print(table(list(timings(accelerator, sizes)), gpu))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
