# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How fast the core can be on a GPU, on paper: ``python -m benchmarks.roofline``.

A step takes at least as long as its operations at the rate of the arithmetic, as its bytes at the
bandwidth of the memory, and as its launches one after the other; what is longest bounds it. Each
launch reads its operands once and writes its results once; nothing is supposed to stay in the cache
from one launch to the next. Steps follow each other. Useful operations are those that
`fastntk.planning` counts: half of a symmetric Gram matrix, of which tiles on the diagonal compute
somewhat more.

Layers are given as ``widths``, as for `fastntk.MLP`: [d, n_1, …, n_L, C].
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ITEMSIZE = {"float32": 4, "float64": 8}

# Of one φ with φ': an upper bound for those that need exp, tanh or erf. ReLU takes two.
PHI_OPERATIONS = 60

# Tiles have an eighth of the samples as rows, within these limits.
TILE_LIMITS = (1024, 4096)


@dataclass(frozen=True)
class Gpu:
    """The rates of a GPU.

    Attributes
    ----------
    matrix_rate, vector_rate : dict of str to float
        Operations a second of matrix multiplication and of elementwise loops, by precision.
    bandwidth : float
        Bytes a second between the memory and the processors.
    launch_seconds : float
        From one kernel of a stream to the next.
    """

    name: str
    matrix_rate: dict[str, float]
    vector_rate: dict[str, float]
    bandwidth: float
    launch_seconds: float = 3e-6


# NVIDIA's data sheet of the SXM module: float64 on the tensor cores, float32 never as TF32.
H100 = Gpu(
    "H100 SXM",
    matrix_rate={"float32": 67e12, "float64": 67e12},
    vector_rate={"float32": 67e12, "float64": 34e12},
    bandwidth=3.35e12,
)


@dataclass(frozen=True)
class Step:
    """The launches of one kind in a computation.

    Attributes
    ----------
    name : str
    dtype : {"float32", "float64"}
    flops, bytes : float
        What is computed and moved, by all launches together.
    launches : int
    is_gemm : bool
        Whether the operations are those of matrix multiplication.
    useful : float
        The share of the operations that the result needs.
    """

    name: str
    dtype: str
    flops: float
    bytes: float
    launches: int
    is_gemm: bool
    useful: float = 1.0

    def times(self, gpu: Gpu) -> dict[str, float]:
        """Return the least seconds by what they are for."""
        rates = gpu.matrix_rate if self.is_gemm else gpu.vector_rate
        return {
            "arithmetic": self.flops / rates[self.dtype],
            "memory": self.bytes / gpu.bandwidth,
            "launches": self.launches * gpu.launch_seconds,
        }

    def seconds(self, gpu: Gpu) -> float:
        """Return the least time."""
        return max(self.times(gpu).values())

    def bound(self, gpu: Gpu) -> str:
        """Return what takes the longest."""
        times = self.times(gpu)
        return max(times, key=lambda what: times[what])

    def of(self, name: str, count: int = 1) -> Step:
        """Return `count` of these under another name."""
        return replace(
            self,
            name=name,
            flops=count * self.flops,
            bytes=count * self.bytes,
            launches=count * self.launches,
        )


# Kernels of the core, one launch each.


def gemm(m: int, n: int, k: int, dtype: str, *, accumulate: bool = False) -> Step:
    """Return the product of (m, k) and (k, n), overwriting or added to its target."""
    elements = m * k + k * n + m * n * (2 if accumulate else 1)
    return Step("gemm", dtype, 2.0 * m * n * k, elements * ITEMSIZE[dtype], 1, is_gemm=True)


def elementwise(
    elements: float, dtype: str, *, reads: int, writes: int, operations: float = 0
) -> Step:
    """Return a loop over so many elements; reads, writes and operations are those of each."""
    moved = elements * (reads + writes) * ITEMSIZE[dtype]
    return Step("elementwise", dtype, operations * elements, moved, 1, is_gemm=False)


def activation(
    rows: int, cols: int, dtype: str, *, bias: bool = False, phi: int = PHI_OPERATIONS
) -> Step:
    """Return h = c φ(z + bias), slope = c φ'(z + bias), h in the place of z."""
    operations = phi + 2 + (2 if bias else 0)
    return elementwise(rows * cols, dtype, reads=1, writes=2, operations=operations)


def gate(rows: int, cols: int, dtype: str) -> Step:
    """Return Δ = slope ∘ Δ."""
    return elementwise(rows * cols, dtype, reads=2, writes=1, operations=1)


def gate_readout(rows: int, cols: int, dtype: str) -> Step:
    """Return Δ = slope ∘ (scale · w), w being small."""
    return elementwise(rows * cols, dtype, reads=1, writes=1, operations=2)


def hadamard(entries: float, dtype: str, *, accumulate: bool, mirrored: bool = False) -> Step:
    """Return K (+)= (Δ Δᵀ) ∘ (a H Hᵀ + b), written to the mirrored place as well or not."""
    return elementwise(
        entries,
        dtype,
        reads=3 if accumulate else 2,
        writes=2 if mirrored else 1,
        operations=4 if accumulate else 3,
    )


def readout_term(entries: float, dtype: str, *, accumulate: bool, mirrored: bool = False) -> Step:
    """Return K (+)= a H Hᵀ + b."""
    return elementwise(
        entries,
        dtype,
        reads=2 if accumulate else 1,
        writes=2 if mirrored else 1,
        operations=3 if accumulate else 2,
    )


def transpose(entries: float, dtype: str) -> Step:
    """Return a mirror image, where its writing is a launch of its own."""
    return elementwise(entries, dtype, reads=1, writes=1)


def row_dots(rows: int, cols: int, dtype: str) -> Step:
    """Return the dot products of the rows of two matrices."""
    step = elementwise(rows * cols, dtype, reads=2, writes=0, operations=2)
    return Step("row dots", dtype, step.flops, step.bytes + rows * ITEMSIZE[dtype], 1, False)


def convert(elements: float, dtype: str, to: str) -> Step:
    """Return a change of precision."""
    moved = elements * (ITEMSIZE[dtype] + ITEMSIZE[to])
    return Step("convert", to, elements, moved, 1, is_gemm=False)


def default_tile(n: int) -> int:
    """Return how many rows a tile of the kernel of n samples has."""
    smallest, largest = TILE_LIMITS
    return min(max(math.ceil(n / 8), smallest), largest)


def kernels(n: int, width: int, dtype: str, *, tile: int | None = None) -> list[Step]:
    """Return one launch of each: passes over n samples, a tile of K, products with K."""
    tile = tile or default_tile(n)
    entries = float(tile * tile)
    other = "float64" if dtype == "float32" else "float32"
    return [
        gemm(n, width, width, dtype).of("pass: H Wᵀ, Δ W"),
        activation(n, width, dtype, bias=True).of("pass: φ(Z + b), φ'(Z + b)"),
        gate_readout(n, width, dtype).of("pass: first Δ"),
        gate(n, width, dtype).of("pass: Δ = φ' ∘ U"),
        convert(n * width, dtype, other).of("pass: other precision"),
        gemm(tile, tile, width, dtype).of("tile: H Hᵀ, Δ Δᵀ"),
        hadamard(entries, dtype, accumulate=True).of("tile: K += (Δ Δᵀ) ∘ (H Hᵀ)"),
        hadamard(entries, dtype, accumulate=True, mirrored=True).of("tile: the same, mirrored"),
        readout_term(entries, dtype, accumulate=True).of("tile: K += H Hᵀ"),
        transpose(entries, dtype).of("tile: mirror alone"),
        gemm(width, width, n, dtype).of("product: (u ∘ Δ)ᵀ H"),
        row_dots(n, width, dtype).of("product: row dots"),
        gemm(width, width, n, dtype, accumulate=True).of("update: W -= η Δᵀ H"),
    ]


# What is asked of a network.


def ntk(
    n: int,
    widths: Sequence[int],
    dtype: str,
    *,
    m: int | None = None,
    gram_dtype: str | None = None,
    tile: int | None = None,
) -> list[Step]:
    """Return the steps of a tangent kernel ("trace"), K(X, X) of n samples or K(X, Z) with m.

    The network is of `dtype`, the Gram matrices of `gram_dtype`, by default the same; the passes
    run in the more precise of the two. The last term of a tile of K(X, X) is also written to the
    mirrored place.
    """
    grams = gram_dtype or dtype
    passes = max(dtype, grams, key=ITEMSIZE.__getitem__)
    samples = n + (m or 0)
    *layers, outputs = widths
    tile = tile or default_tile(max(n, m or 0))
    tiles = _lower_tiles(n, tile) if m is None else _all_tiles(n, m, tile)

    def gram(name: str, width: int) -> Step:
        moved = (tiles.rows_read * width + tiles.entries) * ITEMSIZE[grams]
        flops = 2.0 * tiles.entries * width
        return Step(name, grams, flops, moved, tiles.count, is_gemm=True, useful=tiles.useful)

    terms = [
        hadamard(tiles.entries, grams, accumulate=i > 0).of("Gram: K += (Δ Δᵀ) ∘ (H Hᵀ)")
        for i in range(len(layers) - 1)
    ]
    name = "Gram: last term, mirrored" if m is None else "Gram: last term"
    terms.append(
        readout_term(tiles.entries, grams, accumulate=bool(terms), mirrored=m is None).of(name)
    )
    return merged(
        [
            *_passes(samples, widths, passes),
            *_conversions(samples, widths, passes, grams),
            *(gram("Gram: H Hᵀ", width) for width in layers),
            *(gram("Gram: Δ Δᵀ", outputs * width) for width in layers[1:]),
            *(replace(term, launches=tiles.count) for term in terms),
        ]
    )


@dataclass(frozen=True)
class _Tiles:
    """Of a Gram matrix: a share of the entries is useful; rows are read of both operands."""

    count: int
    entries: float
    useful: float
    rows_read: int


def _lower_tiles(n: int, tile: int) -> _Tiles:
    """Return the tiles of a symmetric matrix, as in cpp/include/fastntk/gram_tiles.hpp.

    One on the diagonal is cut into two smaller ones and what is below them.
    """
    blocks = math.ceil(n / tile)
    computed = 1 + 1 / (2 * blocks)
    count = blocks * (blocks - 1) // 2 + 3 * blocks
    return _Tiles(count, computed * n * n / 2, 1 / computed, n * (blocks + 2))


def _all_tiles(n: int, m: int, tile: int) -> _Tiles:
    down, across = math.ceil(n / tile), math.ceil(m / tile)
    return _Tiles(down * across, float(n) * m, 1.0, n * across + m * down)


def _passes(n: int, widths: Sequence[int], dtype: str) -> list[Step]:
    *layers, outputs = widths
    steps = []
    for below, width in itertools.pairwise(layers):
        steps.append(gemm(n, width, below, dtype).of("forward: Z = H Wᵀ"))
        steps.append(activation(n, width, dtype).of("forward: φ(Z), φ'(Z)"))
    if len(layers) > 1:
        steps.append(gate_readout(n, layers[-1], dtype).of("backward: first Δ", outputs))
    for width, above in itertools.pairwise(layers[1:]):
        steps.append(gemm(n, width, above, dtype).of("backward: U = Δ W", outputs))
        steps.append(gate(n, width, dtype).of("backward: Δ = φ' ∘ U", outputs))
    return steps


def _conversions(n: int, widths: Sequence[int], dtype: str, to: str) -> list[Step]:
    if dtype == to:
        return []
    *layers, outputs = widths
    columns = [*layers, *(outputs * width for width in layers[1:])]
    return [convert(n * width, dtype, to).of("convert H, Δ") for width in columns]


def operator(n: int, widths: Sequence[int], dtype: str, *, vectors: int = 1) -> list[Step]:
    """Return the steps of products K v with so many vectors, of each output and added up, given H
    and Δ.
    """  # noqa: D205
    *layers, outputs = widths
    steps = []
    for below, width in itertools.pairwise([*layers, 1]):  # of one output at a time
        count = outputs * vectors
        scaled = elementwise(n * width, dtype, reads=1, writes=1, operations=1)
        steps += [
            scaled.of("Fᵀ u: u ∘ Δ", count),
            gemm(width, below, n, dtype).of("Fᵀ u: (u ∘ Δ)ᵀ H", count),
            gemm(n, below, width, dtype).of("F v: Δ V", count),
            row_dots(n, below, dtype).of("F v: row dots with H", count),
        ]
    return merged(steps)


def sgd_step(batch: int, widths: Sequence[int], dtype: str) -> list[Step]:
    """Return the steps of one step of gradient descent without momentum, but for the loss itself.

    Weights change in place: the update is the GEMM that forms the gradient.
    """
    depth = len(widths) - 2
    samples = elementwise(batch * widths[0], dtype, reads=1, writes=1)
    steps = [samples.of("gather samples")]
    for layer, (below, width) in enumerate(itertools.pairwise(widths)):
        steps.append(gemm(batch, width, below, dtype).of("forward: Z = H Wᵀ"))
        if layer < depth:
            steps.append(activation(batch, width, dtype).of("forward: φ(Z), φ'(Z)"))
    for width, above in itertools.pairwise(widths[1:]):
        steps.append(gemm(batch, width, above, dtype).of("backward: U = Δ W"))
        steps.append(gate(batch, width, dtype).of("backward: Δ = φ' ∘ U"))
    for below, width in itertools.pairwise(widths):
        update = gemm(width, below, batch, dtype, accumulate=True)
        steps.append(update.of("update: W -= η Δᵀ H"))
    return merged(steps)


def merged(steps: Iterable[Step]) -> list[Step]:
    """Return the sums of the steps with the same name and precision, in their order."""
    found: dict[tuple[str, str], Step] = {}
    for step in steps:
        key = step.name, step.dtype
        found[key] = _together(found[key], step) if key in found else step
    return list(found.values())


def _together(one: Step, other: Step) -> Step:
    flops = one.flops + other.flops
    useful = one.flops * one.useful + other.flops * other.useful
    return replace(
        one,
        flops=flops,
        bytes=one.bytes + other.bytes,
        launches=one.launches + other.launches,
        useful=useful / flops if flops else 1.0,
    )


def gemm_flops(steps: Iterable[Step]) -> float:
    """Return the useful operations of matrix multiplication."""
    return sum(step.useful * step.flops for step in steps if step.is_gemm)


def seconds(steps: Iterable[Step], gpu: Gpu = H100) -> float:
    """Return the least time of steps that follow each other."""
    return sum(step.seconds(gpu) for step in steps)


def of_gemm_rate(steps: Sequence[Step], gpu: Gpu = H100) -> float:
    """Return the share of the rate of matrix multiplication that is left to useful operations."""
    arithmetic = sum(step.useful * step.times(gpu)["arithmetic"] for step in steps if step.is_gemm)
    return arithmetic / seconds(steps, gpu)


def table(steps: Sequence[Step], gpu: Gpu = H100, *, total: bool = True) -> str:
    """Return the steps as a table, with their sum or without."""
    lines = [
        f"{'step':<41} {'launches':>8} {'GFLOP':>10} {'GB':>9} {'ms':>9} {'share':>6}  bound by"
    ]
    whole = seconds(steps, gpu)
    for step in steps:
        share = f"{step.seconds(gpu) / whole:.1%}" if total else ""
        lines.append(
            f"{step.name:<32} {step.dtype:<8} {step.launches:8} {step.flops / 1e9:10.2f} "
            f"{step.bytes / 1e9:9.3f} {1e3 * step.seconds(gpu):9.3f} {share:>6}  {step.bound(gpu)}"
        )
    if total:
        moved, launches = sum(s.bytes for s in steps), sum(s.launches for s in steps)
        lines.append(
            f"{'all':<41} {launches:8} {sum(s.flops for s in steps) / 1e9:10.1f} "
            f"{moved / 1e9:9.2f} {1e3 * whole:9.3f}         "
            f"{of_gemm_rate(steps, gpu):.2f} of the GEMM rate"
        )
    return "\n".join(lines)


PRECISIONS = (("float32", "float32"), ("float32", "float64"), ("float64", "float64"))
SIZES = ((4096, 784, 1024, 5), (20_000, 784, 512, 3), (60_000, 784, 512, 3))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, help="samples; with it, one size instead of several")
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--batch", type=int, default=500)
    given = parser.parse_args(arguments)
    sizes = SIZES if given.n is None else ((given.n, given.inputs, given.width, given.depth),)
    print(
        f"On paper, for one {H100.name}: {H100.matrix_rate['float64'] / 1e12:g} TFLOP/s of matrix "
        f"multiplication in float64, {H100.matrix_rate['float32'] / 1e12:g} in float32, "
        f"{H100.bandwidth / 1e12:g} TB/s, {H100.launch_seconds * 1e6:g} µs a launch."
    )
    for n, inputs, width, depth in sizes:
        widths = [inputs, *[width] * depth, 1]
        where = f"n {n}, d {inputs}, width {width}, L {depth}"
        for dtype in ITEMSIZE:
            tile = default_tile(n)
            print(f"\none launch of each kernel, n {n}, width {width}, tile {tile}, {dtype}")
            print(table(kernels(n, width, dtype), total=False))
        for dtype, grams in PRECISIONS:
            print(f"\nkernel, {where}, {dtype} with Gram matrices in {grams}")
            print(table(ntk(n, widths, dtype, gram_dtype=grams)))
        print(f"\nproduct with a vector, {where}, float64")
        print(table(operator(n, widths, "float64")))
        print(f"\nstep of gradient descent, batch {given.batch}, {where}, float32")
        print(table(sgd_step(given.batch, widths, "float32")))


if __name__ == "__main__":
    main()
