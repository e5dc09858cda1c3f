# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The counts of the roofline, against counting itself and against what `MLP.plan` says."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from benchmarks import roofline
from benchmarks.roofline import H100, Gpu, Step
from hypothesis import given
from hypothesis import strategies as st

import fastntk

WIDTHS = st.lists(st.integers(1, 40), min_size=2, max_size=6)
DTYPES = st.sampled_from(["float32", "float64"])


class Counter:
    """Counts what a plain execution of the passes and Gram matrices multiplies and moves."""

    def __init__(self) -> None:
        self.flops = 0
        self.elements = 0

    def product(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = a @ b
        self.flops += 2 * a.shape[0] * a.shape[1] * b.shape[1]
        self.elements += a.size + b.size + result.size
        return result


def one(steps: list[Step], name: str) -> Step:
    (step,) = (step for step in steps if step.name == name)
    return step


@given(n=st.integers(1, 300), m=st.none() | st.integers(1, 300), widths=WIDTHS, dtype=DTYPES)
def test_operations_are_those_of_the_plan(
    n: int, m: int | None, widths: list[int], dtype: str
) -> None:
    net = fastntk.MLP(widths, dtype=dtype)
    Z = None if m is None else np.ones((m, widths[0]))
    plan = net.plan(np.ones((n, widths[0])), Z)
    for tile in (64, 4096):
        steps = roofline.ntk(n, widths, dtype, m=m, tile=tile)
        assert roofline.gemm_flops(steps) == pytest.approx(plan.flops, rel=1e-14, abs=0)


@given(n=st.integers(1, 30), widths=WIDTHS, dtype=DTYPES)
def test_passes_against_counting(n: int, widths: list[int], dtype: str) -> None:
    net = fastntk.MLP(widths, activation="identity")
    rng = np.random.default_rng(0)
    h = rng.standard_normal((n, widths[0]))
    forward, backward = Counter(), Counter()
    for weights in net.weights[:-1]:
        h = forward.product(h, weights.T)
    for output in range(widths[-1]):
        delta = np.tile(net.weights[-1][output], (n, 1))
        for weights in net.weights[-2:0:-1]:
            delta = backward.product(delta, weights)
    itemsize = np.dtype(dtype).itemsize
    steps = roofline.ntk(n, widths, dtype)
    for name, counted in (("forward: Z = H Wᵀ", forward), ("backward: U = Δ W", backward)):
        found = [step for step in steps if step.name == name]
        assert sum(step.flops for step in found) == counted.flops
        assert sum(step.bytes for step in found) == counted.elements * itemsize


@given(blocks=st.integers(1, 5), half=st.integers(1, 9), width=st.integers(1, 20))
def test_traffic_of_tiles_against_counting(blocks: int, half: int, width: int) -> None:
    tile = 2 * half
    n = blocks * tile
    # (rows, columns) of the tiles below the diagonal, and of what those on it are cut into.
    tiles = [(tile, tile) for i in range(blocks) for _ in range(i)] + [(half, half)] * 3 * blocks
    read = sum((rows + cols) * width for rows, cols in tiles)
    entries = sum(rows * cols for rows, cols in tiles)
    step = one(roofline.ntk(n, [width, 1], "float64", tile=tile), "Gram: H Hᵀ")
    assert step.launches == len(tiles)
    assert step.bytes == pytest.approx(8 * (read + entries), rel=1e-14, abs=0)
    assert step.flops == pytest.approx(2 * entries * width, rel=1e-14, abs=0)
    assert step.useful * step.flops == pytest.approx(n * n * width, rel=1e-14, abs=0)
    cross = roofline.ntk(n, [width, 1], "float64", m=2 * n, tile=tile)
    assert one(cross, "Gram: H Hᵀ").bytes == 8 * (2 * blocks**2 * 2 * tile * width + 2 * n * n)


def test_terms_of_the_kernel() -> None:
    n, entries = 100, 7500  # of a single tile, all but what is above its diagonal
    steps = roofline.ntk(n, [3, 4, 4, 4, 1], "float64")
    terms = one(steps, "Gram: K += (Δ Δᵀ) ∘ (H Hᵀ)")
    # The first reads two Gram matrices and writes K; two more also read K.
    assert terms.bytes == 8 * entries * (3 + 4 + 4)
    assert terms.flops == entries * (3 + 4 + 4)
    last = one(steps, "Gram: last term, mirrored")
    assert last.bytes == 8 * entries * (2 + 2)
    assert last.flops == entries * 3
    # Without hidden layers nothing is there to be added to.
    alone = one(roofline.ntk(n, [3, 1], "float32"), "Gram: last term, mirrored")
    assert (alone.bytes, alone.flops) == (4 * entries * 3, entries * 2)
    assert one(roofline.ntk(n, [3, 1], "float32", m=50), "Gram: last term").bytes == 4 * 5000 * 2


def test_mixed_precision_converts_the_features() -> None:
    n, widths = 50, [7, 11, 13, 3]
    steps = roofline.ntk(n, widths, "float64", gram_dtype="float32")
    features = fastntk.MLP(widths).plan(np.ones((n, 7))).feature_bytes // 8
    assert one(steps, "convert H, Δ").bytes == features * (4 + 8)
    assert {s.dtype for s in steps if s.name.startswith("Gram")} == {"float32"}
    assert {s.dtype for s in steps if s.name.startswith(("forward", "backward"))} == {"float64"}
    # Gram matrices in float64 are those of passes in float64.
    single = roofline.ntk(n, widths, "float32", gram_dtype="float64")
    assert single == roofline.ntk(n, widths, "float64")


@given(n=st.integers(1, 30), widths=WIDTHS, vectors=st.integers(1, 3))
def test_operator_against_counting(n: int, widths: list[int], vectors: int) -> None:
    *layers, outputs = widths
    transposed, products = Counter(), Counter()
    for _ in range(vectors * outputs):
        for below, width in zip(layers, [*layers[1:], 1], strict=True):
            h, delta = np.ones((n, below)), np.ones((n, width))
            v = transposed.product(delta.T, h)
            products.product(delta, v)
    steps = roofline.operator(n, widths, "float64", vectors=vectors)
    for name, counted in (("Fᵀ u: (u ∘ Δ)ᵀ H", transposed), ("F v: Δ V", products)):
        assert one(steps, name).flops == counted.flops
        assert one(steps, name).bytes == 8 * counted.elements
    dots = one(steps, "F v: row dots with H")
    assert dots.flops == vectors * outputs * 2 * n * sum(layers)
    assert dots.bytes == 8 * vectors * outputs * n * (2 * sum(layers) + len(layers))


@given(batch=st.integers(1, 30), widths=WIDTHS)
def test_sgd_step_against_counting(batch: int, widths: list[int]) -> None:
    forward, backward, update = Counter(), Counter(), Counter()
    weights = [np.ones((b, a)) for a, b in itertools.pairwise(widths)]
    hs = [np.ones((batch, widths[0]))]
    for w in weights:
        hs.append(forward.product(hs[-1], w.T))
    delta = hs[-1]
    for layer in reversed(range(len(weights))):
        update.product(delta.T, hs[layer])
        if layer > 0:
            delta = backward.product(delta, weights[layer])
    steps = roofline.sgd_step(batch, widths, "float32")
    assert one(steps, "forward: Z = H Wᵀ").flops == forward.flops
    assert one(steps, "forward: Z = H Wᵀ").bytes == 4 * forward.elements
    assert one(steps, "update: W -= η Δᵀ H").flops == update.flops
    parameters = sum(w.size for w in weights)
    assert one(steps, "update: W -= η Δᵀ H").bytes == 4 * (update.elements + parameters)
    found = [step for step in steps if step.name == "backward: U = Δ W"]
    assert sum(step.flops for step in found) == backward.flops
    assert sum(step.bytes for step in found) == 4 * backward.elements
    activated = sum(s.flops for s in steps if s.name.startswith("forward: φ"))
    assert activated == batch * sum(widths[1:-1]) * (roofline.PHI_OPERATIONS + 2)


def test_one_launch_of_each_kernel() -> None:
    n, width, tile = 10, 3, 4
    # Elements that are read and written, and operations.
    expected = {
        "pass: H Wᵀ, Δ W": (30 + 9 + 30, 2 * 90),
        "pass: φ(Z + b), φ'(Z + b)": (30 + 2 * 30, 30 * (roofline.PHI_OPERATIONS + 4)),
        "pass: first Δ": (30 + 30, 2 * 30),
        "pass: Δ = φ' ∘ U": (2 * 30 + 30, 30),
        "pass: other precision": (1.5 * 30, 30),  # of 8 bytes
        "tile: H Hᵀ, Δ Δᵀ": (2 * 12 + 16, 2 * 48),
        "tile: K += (Δ Δᵀ) ∘ (H Hᵀ)": (3 * 16 + 16, 4 * 16),
        "tile: the same, mirrored": (3 * 16 + 2 * 16, 4 * 16),
        "tile: K += H Hᵀ": (2 * 16 + 16, 3 * 16),
        "tile: mirror alone": (16 + 16, 0),
        "product: (u ∘ Δ)ᵀ H": (2 * 30 + 9, 2 * 90),
        "product: row dots": (2 * 30 + 10, 2 * 30),
        "update: W -= η Δᵀ H": (2 * 30 + 2 * 9, 2 * 90),
    }
    steps = roofline.kernels(n, width, "float64", tile=tile)
    assert {step.name: (step.bytes / 8, step.flops) for step in steps} == expected
    assert all(step.launches == 1 for step in steps)


def test_what_bounds_a_step() -> None:
    gpu = Gpu("made up", {"float64": 100.0}, {"float64": 10.0}, 1000.0, launch_seconds=0.5)
    step = Step("s", "float64", flops=200.0, bytes=1500.0, launches=3, is_gemm=True, useful=0.5)
    assert step.times(gpu) == {"arithmetic": 2.0, "memory": 1.5, "launches": 1.5}
    assert (step.seconds(gpu), step.bound(gpu)) == (2.0, "arithmetic")
    loop = Step("s", "float64", flops=10.0, bytes=1600.0, launches=3, is_gemm=False)
    assert (loop.seconds(gpu), loop.bound(gpu)) == (1.6, "memory")
    short = Step("s", "float64", flops=1.0, bytes=1.0, launches=3, is_gemm=False)
    assert (short.seconds(gpu), short.bound(gpu)) == (1.5, "launches")
    assert roofline.seconds([step, loop], gpu) == pytest.approx(3.6, rel=1e-9, abs=0)
    assert roofline.of_gemm_rate([step, loop], gpu) == pytest.approx(1.0 / 3.6, rel=1e-9, abs=0)
    assert roofline.gemm_flops([step, loop]) == 100.0
    (both,) = roofline.merged([step, Step("s", "float64", 300.0, 1.0, 2, is_gemm=True)])
    assert both == Step("s", "float64", 500.0, 1501.0, 5, is_gemm=True, useful=0.8)


def test_elementwise_steps_wait_for_memory_and_large_products_for_arithmetic() -> None:
    for dtype in ("float32", "float64"):
        for step in (
            roofline.activation(4096, 1024, dtype, bias=True),
            roofline.gate(4096, 1024, dtype),
            roofline.hadamard(2.0**24, dtype, accumulate=True, mirrored=True),
            roofline.transpose(2.0**24, dtype),
            roofline.row_dots(4096, 1024, dtype),
        ):
            assert step.bound(H100) == "memory"
        assert roofline.gemm(4096, 4096, 1024, dtype).bound(H100) == "arithmetic"
        assert roofline.gemm(4096, 4096, 8, dtype).bound(H100) == "memory"
        assert roofline.gemm(10, 10, 10, dtype).bound(H100) == "launches"


def test_the_command_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    roofline.main(["--n", "1000", "--width", "64", "--depth", "2"])
    text = capsys.readouterr().out
    assert "On paper, for one H100 SXM: 67 TFLOP/s" in text
    assert "kernel, n 1000, d 784, width 64, L 2, float32 with Gram matrices in float64" in text
    for step in roofline.ntk(1000, [784, 64, 64, 1], "float64"):
        assert step.name in text
    assert text.count("of the GEMM rate") == 5
    assert "one launch of each kernel, n 1000, width 64, tile 1024, float32" in text
    assert [roofline.default_tile(n) for n in (10, 20_000, 60_000)] == [1024, 2500, 4096]
