# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is computed, at full size and in small, and by whom."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk
from benchmarks.table.results import OURS
from benchmarks.table.rounds import Way, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Arrays = dict[str, Array]

PRECISIONS = ("float32", "float64")

# The names of the processes.
TORCH, NEURAL_TANGENTS, NUMPY = "torch", "neural-tangents", "NumPy, SciPy"

# Sums of some thousand rounded products, in an order of its own in each library.
_RTOL = {"float32": 1e-3, "float64": 1e-10}

# neural-tangents takes angles from rounded cosines, and keeps half of the digits of small ones.
_INFINITE_RTOL = 1e-6

# Of the losses of an epoch, whose steps magnify differences.
_LOSS_RTOL = 1e-3


# neural-tangents has the first too; of relu2, deeper than one layer, it makes NaN.
COMMON = ("relu", "leaky_relu", "abs", "erf", "gelu", "sin", "cos", "gaussian", "rbf", "gabor")
PIECEWISE_LINEAR = ("relu", "leaky_relu", "abs")
OWN = ("relu2", "elu", "tanh", "sigmoid", "silu", "softplus")


@dataclass(frozen=True)
class Shape:
    """The sizes of a kernel: samples, inputs, width, hidden layers."""

    n: int
    d: int
    m: int
    L: int

    @property
    def widths(self) -> list[int]:
        """The widths of all layers."""
        return [self.d, *[self.m] * self.L, 1]

    @property
    def gram_flops(self) -> float:
        """Half of the products of H^0 … H^L and of Δ^1 … Δ^L, as kernels are symmetric."""
        return float(self.n) ** 2 * (self.d + 2 * self.L * self.m)

    @property
    def pass_flops(self) -> float:
        """The forward pass, and the backward one down to the first hidden layer."""
        d, m, hidden = self.d, self.m, self.L
        return 2.0 * self.n * (d * m + 2 * (hidden - 1) * m * m)

    @property
    def product_flops(self) -> float:
        """A product of the kernel with a vector, from H and Δ: Fᵀ u and F v."""
        return 4.0 * self.n * (self.d * self.m + (self.L - 1) * self.m**2)

    def __str__(self) -> str:
        return f"n {self.n}, d {self.d}, m {self.m}, L {self.L}"


@dataclass(frozen=True)
class Sizes:
    """How large the workloads are.

    Attributes
    ----------
    kernels : tuple of Shape
    gram : Shape
        Of the Gram stage alone.
    structured : int
        The most samples for which neural-tangents computes kernels of finite width: it takes time.
    pairs : Shape
        Of the kernel that torch.func computes.
    contracted, multiplied : int
        The samples of the block that it contracts Jacobians for, or multiplies.
    operator : Shape
    vectors, fewer : int
        Vectors that the kernel is multiplied with, and those that the peers are given.
    epochs : tuple of (int, int)
        Width and hidden layers.
    samples, batch : int
        Of an epoch.
    infinite : Shape
    activations : tuple of str
    conditioning : tuple of int
    """

    kernels: tuple[Shape, ...]
    gram: Shape
    structured: int
    pairs: Shape
    contracted: int
    multiplied: int
    operator: Shape
    vectors: int
    fewer: int
    epochs: tuple[tuple[int, int], ...]
    samples: int
    batch: int
    infinite: Shape
    activations: tuple[str, ...]
    conditioning: tuple[int, ...]


FULL = Sizes(
    kernels=(
        Shape(4096, 784, 1024, 5),
        Shape(2048, 784, 1024, 5),
        Shape(512, 784, 512, 5),
        Shape(2000, 5, 512, 10),
    ),
    gram=Shape(2048, 784, 1024, 5),
    structured=2048,
    pairs=Shape(2000, 5, 512, 10),
    contracted=100,
    multiplied=16,
    operator=Shape(4096, 784, 1024, 5),
    vectors=16,
    fewer=2,
    epochs=((512, 3), (2048, 5)),
    samples=10_000,
    batch=500,
    infinite=Shape(2048, 64, 0, 5),
    activations=COMMON + OWN,
    conditioning=(100, 300, 1000, 4000),
)

QUICK = Sizes(
    kernels=(Shape(512, 100, 128, 3), Shape(256, 5, 64, 5)),
    gram=Shape(512, 100, 128, 3),
    structured=512,
    pairs=Shape(64, 5, 64, 5),
    contracted=64,
    multiplied=64,
    operator=Shape(512, 100, 128, 3),
    vectors=16,
    fewer=4,
    epochs=((64, 3),),
    samples=1000,
    batch=100,
    infinite=Shape(256, 64, 0, 3),
    activations=("relu", "gelu", "tanh"),
    conditioning=(100, 300),
)


def network_arrays(shape: Shape, dtype: str, outputs: int = 1) -> Arrays:
    """Return samples and standard normal weights."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((shape.n, shape.d)).astype(dtype)
    widths = [*shape.widths[:-1], outputs]
    weights = [rng.standard_normal((b, a)).astype(dtype) for a, b in itertools.pairwise(widths)]
    return {"X": X} | {f"W{i}": w for i, w in enumerate(weights)}


def ours(function: str) -> tuple[Way, Way]:
    """Return fastntk as it is and, where there is AMX, without it."""
    without = {"amx": False}
    return Way(OURS, function, OURS), Way(OURS, function, f"{OURS} without AMX", without)


def _ours(function: str, dtype: str) -> tuple[Way, ...]:
    ways = ours(function)
    return ways if dtype == "float32" else ways[:1]


def kernel(shape: Shape, dtype: str, sizes: Sizes = FULL) -> Workload:
    """Return the tangent kernel of all samples."""
    ways = (
        *_ours("ntk", dtype),
        Way(TORCH, "ntk", "torch by hand"),
        Way(NUMPY, "ntk", "NumPy by hand"),
    )
    if shape.n <= sizes.structured:
        ways += (Way(NEURAL_TANGENTS, "ntk", "neural-tangents"),)
    return Workload(
        "Kernels",
        f"`net.ntk`, {shape}",
        dtype,
        partial(network_arrays, shape, dtype),
        ways,
        _RTOL[dtype],
        flops=shape.gram_flops + shape.pass_flops,
        rounds=3 if shape.n > 4000 else 5,
    )


def _gram(shape: Shape, dtype: str) -> Workload:
    return Workload(
        "Kernels",
        f"Gram stage alone, {shape}",
        dtype,
        partial(network_arrays, shape, dtype),
        (*_ours("gram", dtype), Way(TORCH, "gram", "torch by hand")),
        _RTOL[dtype],
        flops=shape.gram_flops,
    )


def _contraction(sizes: Sizes, dtype: str) -> Workload:
    """Return the kernel beside torch.func, of which a block is timed, as all takes an hour."""
    shape = sizes.pairs

    def block(function: str, name: str, size: int) -> Way:
        share, part = (size / shape.n) ** 2, (slice(size), slice(size))
        return Way(TORCH, function, name, {"samples": size}, share, part)

    return Workload(
        "Kernels",
        f"`net.ntk`, {shape}, beside torch.func (of a block of samples)",
        dtype,
        partial(network_arrays, shape, dtype),
        (
            *_ours("ntk", dtype),
            block("jacobian contraction", "torch.func, Jacobians", sizes.contracted),
            block("vector products", "torch.func, products", sizes.multiplied),
        ),
        _RTOL[dtype],
        flops=shape.gram_flops + shape.pass_flops,
        rounds=3,
    )


def _operator(sizes: Sizes, dtype: str) -> Workload:
    """Return products with vectors; the peers, whose time is that of each vector, get fewer."""
    shape, vectors, fewer = sizes.operator, sizes.vectors, sizes.fewer

    def arrays() -> Arrays:
        V = np.random.default_rng(1).standard_normal((shape.n, vectors)).astype(dtype)
        return network_arrays(shape, dtype) | {"V": V}

    some = {"vectors": fewer}
    share, part = fewer / vectors, (slice(None), slice(fewer))
    return Workload(
        "Kernels",
        f"`net.ntk_operator(X) @ V`, {vectors} vectors, {shape} (peers: {fewer} of them)",
        dtype,
        arrays,
        (
            *_ours("operator", dtype),
            Way(TORCH, "operator", "torch.func", some, share, part),
            Way(NEURAL_TANGENTS, "operator", "neural-tangents", some, share, part),
        ),
        _RTOL[dtype],
        flops=vectors * shape.product_flops,
        rounds=2,
    )


def order_of_samples(n: int) -> Array:
    """Return the order in which fastntk takes the samples in its first epoch, of seed 0."""
    stream = np.random.Philox(np.random.SeedSequence(0, spawn_key=(0,)))
    return np.random.Generator(stream).permutation(n)


def training_flops(n: int, widths: Sequence[int]) -> float:
    """Return those of an epoch: forward, gradients of weights, deltas of all layers but inputs."""
    sizes = [a * b for a, b in itertools.pairwise(widths)]
    return 2.0 * n * (3 * sum(sizes) - sizes[0])


def _epoch(sizes: Sizes, width: int, depth: int) -> Workload:
    n, batch, dtype = sizes.samples, sizes.batch, "float32"
    shape = Shape(n, 784, width, depth)

    def arrays() -> Arrays:
        found = network_arrays(shape, dtype, outputs=10)
        for name in found:
            if name.startswith("W"):  # of the size of those of the standard parametrization
                found[name] *= np.float32(1 / np.sqrt(found[name].shape[1]))
        y = np.random.default_rng(1).integers(0, 10, n)
        return found | {"y": y, "order": order_of_samples(n)}

    return Workload(
        "Training",
        f"epoch of {n} samples, 784–{width}×{depth}–10, batch {batch}",
        dtype,
        arrays,
        (*ours("epoch"), Way(TORCH, "epoch", "torch")),
        _LOSS_RTOL,
        {
            "network": {"parametrization": "standard", "activation_scale": 1},
            "training": {"learning_rate": 0.1, "batch_size": batch},
        },
        flops=training_flops(n, [*shape.widths[:-1], 10]),
        rounds=5 if width < 1000 else 2,
    )


def infinite_kernel(shape: Shape, activation: str, *, one_norm: bool = False) -> Workload:
    """Return the kernel of infinite width, of samples whose norms differ, or of norm √d.

    Of these, fastntk remembers the series of a network, as the peer does what it has compiled.
    """
    ways: tuple[Way, ...] = (Way(OURS, "infinite", OURS),)
    if activation in COMMON:
        ways += (Way(NEURAL_TANGENTS, "infinite", "neural-tangents"),)

    def arrays() -> Arrays:
        X = np.random.default_rng(0).standard_normal((shape.n, shape.d))
        if one_norm:
            X *= math.sqrt(shape.d) / np.linalg.norm(X, axis=1, keepdims=True)
        return {"X": X}

    return Workload(
        "Infinite width",
        f"{activation}{', one norm' * one_norm}, n {shape.n}, d {shape.d}, L {shape.L}",
        "float64",
        arrays,
        ways,
        _INFINITE_RTOL,
        {"depth": shape.L, "activation": activation, "weight_std": 1.3, "bias_std": 0.0},
        pair_layers=shape.n * (shape.n + 1) / 2 * shape.L,
        rounds=1 if activation == "elu" and not one_norm else 3,  # a minute of both cores
    )


@cache
def _kernel_to_condition(n: int) -> Array:
    X = np.random.default_rng(0).standard_normal((n, 20))
    return np.asarray(fastntk.MLP([20, 512, 512, 1]).ntk(X))


def _conditioning(n: int, bounds: bool) -> Workload:
    return Workload(
        "Condition numbers",
        f"`conditioning`, n {n}, {'with' if bounds else 'without'} bounds",
        "float64",
        lambda: {"K": _kernel_to_condition(n)},
        (
            Way(OURS, "conditioning", OURS),
            Way(NUMPY, "conditioning", "scipy.linalg.eigvalsh"),
        ),
        1e-9,
        {"bounds": bounds},
        rounds=2 if n > 2000 else 7,
        repeats=20 if n <= 100 else 1,
    )


def _small_calls() -> Iterator[Workload]:
    shape = Shape(20, 10, 64, 2)
    call = partial(Workload, "Small calls", rounds=5, rtol=_RTOL["float64"], repeats=50)
    made = partial(network_arrays, shape, "float64")
    yield call(
        f"`MLP({shape.widths})`",
        "float64",
        dict,
        (Way(OURS, "making", OURS),),
        settings={"widths": shape.widths},
    )
    yield call(
        "`net(x)`, 1 sample",
        "float64",
        partial(network_arrays, replace(shape, n=1), "float64"),
        (Way(OURS, "outputs", OURS), Way(TORCH, "outputs", "torch by hand")),
    )
    yield call(
        "`net.ntk(X)`, 20 samples",
        "float64",
        made,
        (
            Way(OURS, "ntk", OURS),
            Way(TORCH, "ntk", "torch by hand"),
            Way(NEURAL_TANGENTS, "ntk", "neural-tangents"),
        ),
    )
    yield call(
        "`conditioning(K)`, 20 samples",
        "float64",
        lambda: {"K": _kernel_to_condition(20)},
        (
            Way(OURS, "conditioning", OURS),
            Way(NUMPY, "conditioning", "scipy.linalg.eigvalsh"),
        ),
        settings={"bounds": True},
    )

    def batch() -> Arrays:
        return made() | {"y": np.zeros((20, 1)), "order": np.arange(20)}

    yield call(
        "`train`, one step of 20 samples",
        "float64",
        batch,
        (Way(OURS, "epoch", OURS),),
        settings={"training": {"learning_rate": 1e-3, "batch_size": 20, "loss": "mse"}},
    )


def workloads(sizes: Sizes) -> Iterator[Workload]:
    """Yield all workloads, in the order of the table."""
    for shape, dtype in itertools.product(sizes.kernels, PRECISIONS):
        yield kernel(shape, dtype, sizes)
    for dtype in PRECISIONS:
        yield _gram(sizes.gram, dtype)
    for dtype in PRECISIONS:
        yield _contraction(sizes, dtype)
    for dtype in PRECISIONS:
        yield _operator(sizes, dtype)
    for width, depth in sizes.epochs:
        yield _epoch(sizes, width, depth)
    for activation in sizes.activations:
        yield infinite_kernel(sizes.infinite, activation)
    for activation in sizes.activations:
        if activation not in PIECEWISE_LINEAR:  # which are no series
            yield infinite_kernel(sizes.infinite, activation, one_norm=True)
    for n, bounds in itertools.product(sizes.conditioning, (False, True)):
        yield _conditioning(n, bounds)
    yield from _small_calls()
