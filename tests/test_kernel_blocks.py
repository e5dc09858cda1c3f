# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The loop over blocks of kernels: what it visits, what it computes from, where blocks go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from tolerances import assert_close

import fastntk
from fastntk._support import memory
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels import block_loop, block_sizes
from fastntk.kernels.block_loop import BlockLoop, Destination
from fastntk.kernels.destinations import Arrays, Packed
from fastntk.kernels.features import Features
from fastntk.kernels.request import KernelRequest, Split

if TYPE_CHECKING:
    from fastntk._support.progress import Monitor
    from fastntk.kernels.block_loop import KernelBlock

NET = fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=2)
X: npt.NDArray[np.float64] = np.random.default_rng(0).standard_normal((100, 6))
Z: npt.NDArray[np.float64] = np.random.default_rng(1).standard_normal((33, 6))

SPLITS: list[tuple[Split, str]] = [
    ("none", "trace"),
    ("layers", "trace"),
    ("outputs", "diagonal"),
    ("output_pairs", "full"),
]


def request(
    other: npt.NDArray[np.float64] | None = None, split: Split = "none", outputs: str = "trace"
) -> KernelRequest:
    return KernelRequest.checked(
        NET.network, X, other, outputs=outputs, names=("trace", "diagonal", "full"), split=split
    )


class Places(Destination):
    """Keeps where blocks lie, and computes nothing."""

    def __init__(self) -> None:
        self.blocks: list[KernelBlock] = []

    def put(self, block: KernelBlock, monitor: Monitor | None) -> None:  # noqa: ARG002
        self.blocks.append(block)


@pytest.mark.parametrize("size", [1, 7, 40, 100, 999])
@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
def test_every_entry_is_in_one_block_or_its_mirror_image(size: int, other: Any) -> None:
    visited, seen = Places(), np.zeros((100, 100 if other is None else 33), int)
    loop = BlockLoop.of_size(request(other), size)
    loop.run(visited, progress=False)
    assert len(visited.blocks) == len(loop)
    for block in visited.blocks:
        assert block.shape == seen[block.rows, block.cols].shape
        seen[block.rows, block.cols] += 1
        if block.mirrored:
            assert other is None
            seen[block.cols, block.rows] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(("split", "outputs"), SPLITS)
@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
def test_kernels_in_blocks_are_those_at_once(split: Split, outputs: str, other: Any) -> None:
    asked = request(other, split, outputs)
    found = []
    for loop in (BlockLoop.whole(asked), BlockLoop.of_size(asked, 23)):
        kernels = np.full((asked.count, *asked.shape), np.nan)
        loop.run(Arrays(asked, list(kernels)), progress=False)
        found.append(kernels)
    assert_close(found[1], found[0], "float64")
    if other is None:
        mirror = asked.network.kernel_mirror(asked.outputs, split)
        assert sorted(mirror) == list(range(asked.count))
        for kernels in found:
            assert np.array_equal(kernels, kernels[mirror].transpose(0, 2, 1))


@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
@pytest.mark.parametrize("held", [False, True])
def test_blocks_from_features_held_or_not(other: Any, held: bool) -> None:
    asked, kernel = request(other), NET.ntk(X, other)
    blocks = [slice(0, 30), slice(30, 33), slice(33, 100)]
    columns = blocks[: 3 if other is None else 2]
    out = np.full(kernel.shape, np.nan)
    BlockLoop(asked, blocks, columns, hold_features=held).run(Arrays(asked, [out]), progress=False)
    assert_close(out, kernel, "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
def test_a_call_of_the_core_has_the_bits_of_features_that_are_kept(other: Any, dtype: str) -> None:
    asked = KernelRequest.checked(NET.network, X, other, dtype=dtype)
    x = Features(asked.network, asked.X, asked.outputs, asked.dtype)
    z = x if other is None else Features(asked.network, asked.Z, asked.outputs, asked.dtype)
    out = np.empty(asked.shape, dtype)
    x.fill_kernel(z, slice(0, len(x)), slice(0, len(z)), out, None)
    assert np.array_equal(out, NET.ntk(X, other, dtype=dtype))


@pytest.mark.parametrize("n", [1, 2, 99, 100])
def test_packed_blocks(n: int) -> None:
    asked = KernelRequest.checked(NET.network, X[:n], None)
    kernel = fastntk.PackedKernel.empty(n)
    loop = BlockLoop.within_memory(asked, cut=lambda _, size: kernel.blocks(min(size, 17)))
    loop.run(Packed(kernel), progress=False)
    assert_close(kernel.to_dense(), NET.ntk(X[:n]), "float64")


def test_memory_decides_about_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request()
    features = asked.feature_bytes(100)
    monkeypatch.setattr(block_sizes, "_SMALLEST_BLOCK", 10)
    sizes = []
    for share in (100.0, 1.0, 0.5):
        monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
        monkeypatch.setattr(memory, "available_memory", lambda share=share: int(share * features))
        sizes.append(len(BlockLoop.within_memory(asked)))
    assert sizes[0] == 1 < sizes[1] < sizes[2]
    monkeypatch.setattr(block_sizes, "_SMALLEST_BLOCK", 100)
    with pytest.raises(MemoryError, match=r"the features of 100 samples in float64 needs .*: take"):
        BlockLoop.within_memory(asked)
    with pytest.raises(MemoryError, match=r"the features of 100 samples in float64 needs .*: take"):
        BlockLoop.of_size(asked, 100)
    with pytest.raises(MemoryError, match=r"the kernel of 100 × 100 in float64 and the features"):
        NET.ntk(X)


def test_features_of_rows_are_computed_once_for_all_blocks_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed = []
    features = block_loop._features

    def counted(request: KernelRequest, samples: Any) -> Any:
        computed.append(len(samples))
        return features(request, samples)

    monkeypatch.setattr(block_loop, "_features", counted)
    source = block_loop._FromFeaturesOfBlocks(request(None))
    out = np.empty((4, 4))
    for cols in (slice(0, 4), slice(4, 8), slice(8, 12)):
        source.fill(slice(0, 4), cols, [out], None)
    # Of the rows, of two other blocks of columns; then of other rows and columns.
    assert computed == [4, 4, 4]
    source.fill(slice(4, 8), slice(8, 12), [out], None)
    assert len(computed) == 5


def test_progress_of_blocks_and_of_a_single_one() -> None:
    asked, kernel = request(), np.empty((100, 100))
    for size in (40, 100):
        steps: list[tuple[str, int, int]] = []
        BlockLoop.of_size(asked, size).run(
            Arrays(asked, [kernel]), lambda *step, steps=steps: steps.append(step)
        )
        assert steps[-1][1] == steps[-1][2]
        if size == 40:
            assert steps == [("blocks", done, 6) for done in range(1, 7)]
        else:
            assert {stage for stage, _, _ in steps} >= {"features", "tiles"}


def test_what_is_asked() -> None:
    asked = request(Z, "output_pairs", "full")
    assert (asked.shape, asked.samples, asked.count) == ((100, 33), 133, 9)
    assert (asked.symmetric, asked.single, asked.place) == (False, False, PROCESSOR)
    assert asked.kernel_bytes == 9 * 100 * 33 * 8
    assert asked.feature_bytes(2) == 2 * asked.feature_bytes(1) == 2 * (6 + 4 * (20 + 30)) * 8
    assert asked.description == "9 kernels of 100 × 33 in float64"
    assert "packed" not in asked.advice
    one = KernelRequest.checked(NET.network, X, None, outputs=1, dtype="float32")
    assert (one.outputs, one.count, one.single, one.symmetric) == (range(1, 2), 1, True, True)
    assert "packed" in one.advice
    assert "float32" not in one.advice
