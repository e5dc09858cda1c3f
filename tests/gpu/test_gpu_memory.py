# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A GPU with little memory: kernels in blocks, smaller tiles, errors; nothing stays behind."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tolerances import assert_close

import fastntk
from fastntk import cuda
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels import block_sizes
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from pathlib import Path

    from on_host import Runtime

pytestmark = pytest.mark.usefixtures("runtime")

NET: Any = fastntk.MLP([5, 12, 7, 2], activation="tanh", bias_std=0.2)
X = np.random.default_rng(0).standard_normal((150, 5))
Z = np.random.default_rng(1).standard_normal((70, 5))

OUT_OF_MEMORY = 2
OTHER_ERROR = 700


def leave_memory(runtime: Runtime, left: int) -> None:
    """Limit the memory to what is in use and `left` bytes; of what was freed, nothing is kept."""
    runtime.limit_memory(0)
    NET(X[:1], device="cuda")  # streams have been made, and stay
    gc.collect()
    runtime.limit_memory(1)
    with pytest.raises(MemoryError):
        NET(np.ones((1237, 5)), device="cuda")  # a size that nothing else has
    gc.collect()
    # What other GPUs keep counts, too: they share the limit.
    runtime.limit_memory(runtime.live_memory() + runtime.kept_memory() + left)


@pytest.fixture
def little_memory(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> int:
    """Too little for a kernel of X, 180 000 bytes; not for its features."""
    monkeypatch.setattr(block_sizes, "_SMALLEST_BLOCK", 16)
    leave_memory(runtime, 150_000)
    return 150_000


# Tiles of 32 rows: their memory is little beside that of the blocks.
@pytest.mark.parametrize("with_z", [False, True])
@pytest.mark.parametrize("outputs", ["trace", 1, "diagonal", "full"])
def test_kernels_larger_than_the_memory(outputs: Any, with_z: bool, little_memory: int) -> None:
    other = Z if with_z else None
    expected = NET.ntk(X, other, outputs=outputs)
    steps: list[tuple[str, int, int]] = []
    with cuda.options(tile=32):
        found = NET.ntk(
            X, other, outputs=outputs, device="cuda", progress=lambda *step: steps.append(step)
        )
    assert_close(found, expected, "float64")
    assert expected.nbytes > little_memory or with_z
    if not with_z:
        assert steps[-1][0] == "blocks"
        assert steps[-1][1] == steps[-1][2] > 1
        matrix = found if found.ndim < 4 else found.transpose(0, 2, 1, 3).reshape(300, 300)
        assert np.array_equal(matrix, matrix.swapaxes(0, 1))


def test_other_kernels_larger_than_the_memory(little_memory: int, tmp_path: Path) -> None:
    with cuda.options(tile=32):
        assert_close(NET.ntk_by_layer(X, device="cuda"), NET.ntk_by_layer(X), "float64")
        packed = NET.ntk(X, out="packed", device="cuda")
        assert_close(packed.to_dense(), NET.ntk(X), "float64")
        NET.ntk(X, out=tmp_path / "kernel.npy", device="cuda")
        assert_close(np.load(tmp_path / "kernel.npy"), NET.ntk(X), "float64")
        sweep = fastntk.ntk_depths(X, [1, 2], width=8, device="cuda")
        for depth, kernel in fastntk.ntk_depths(X, [1, 2], width=8).items():
            assert_close(sweep[depth], kernel, "float64")
            assert np.array_equal(sweep[depth], sweep[depth].T)


def test_features_larger_than_the_memory(runtime: Runtime, little_memory: int) -> None:
    wide = fastntk.MLP([5, 30, 30, 1], activation="tanh")
    X = np.random.default_rng(0).standard_normal((200, 5))
    placed = PlacedNetwork(wide.network, PROCESSOR)
    assert placed.feature_bytes(len(X), 1, np.dtype("float64")) > little_memory
    with cuda.options(tile=16):
        assert_close(wide.ntk(X, device="cuda"), wide.ntk(X), "float64")
        packed = wide.ntk(X, out="packed", device="cuda")
        assert_close(packed.to_dense(), wide.ntk(X), "float64")
        assert wide.smallest_angle(X, 3, device="cuda") == wide.smallest_angle(X, 3)
        tiles = {(t.rows.start, t.cols.start): t.kernel for t in wide.ntk_tiles(X, tile=40)}
        for tile in wide.ntk_tiles(X, tile=40, device="cuda"):
            assert_close(tile.kernel, tiles[tile.rows.start, tile.cols.start], "float64")


def test_arrays_of_cupy_do_not_leave_the_gpu(xp: Any, little_memory: int) -> None:
    with pytest.raises(
        MemoryError, match=r"the kernel of 150 × 150 in float64 and the features needs .* of the G"
    ):
        NET.ntk(xp.asarray(X))
    # Unless the result is to be on the host.
    out = np.empty((150, 150))
    with cuda.options(tile=32):
        NET.ntk(xp.asarray(X), out=out)
    assert_close(out, NET.ntk(X), "float64")


def test_smaller_tiles_where_memory_is_short(runtime: Runtime) -> None:
    X = np.random.default_rng(0).standard_normal((600, 5))
    expected = NET.ntk(X)
    # The kernel takes 2.9 MB, and as much each of two matrices of a tile of 600 rows.
    leave_memory(runtime, 8_600_000)
    assert_close(NET.ntk(X, device="cuda"), expected, "float64")


def test_what_does_not_fit_at_all(runtime: Runtime) -> None:
    leave_memory(runtime, 1000)
    before = runtime.live_memory()
    for call in (NET, NET.ntk, NET.jacobian, NET.smallest_angle):
        with pytest.raises(MemoryError):
            call(X, device="cuda")
    with pytest.raises(MemoryError, match="the GPU has not enough memory, even for the smallest t"):
        NET(X, device="cuda")
    leave_memory(runtime, 20_000)
    with pytest.raises(
        MemoryError, match=r"the features of 150 samples in float64 needs .* of the"
    ):
        NET.ntk_operator(X, device="cuda")
    gc.collect()
    assert runtime.live_memory() == before


def _train(net: fastntk.MLP) -> Any:
    y = np.arange(len(X)) % 2
    options: Any = {"learning_rate": 0.3, "batch_size": 40, "momentum": 0.5}
    return fastntk.train(net, X, y, device="cuda", **options).net.weights[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: NET.ntk(X, device="cuda"),
        lambda: NET.ntk(X, Z, outputs="full", device="cuda"),
        lambda: NET.ntk_operator(Z, device="cuda") @ np.ones(70),
        lambda: NET.jacobian(Z, device="cuda"),
        lambda: [pair.angle for pair in NET.smallest_angle(X, 3, device="cuda")],
        lambda: _train(NET),
    ],
)
def test_any_amount_of_memory(call: Any, runtime: Runtime) -> None:
    expected = call()
    gc.collect()
    objects, memory = runtime.live_objects(), runtime.live_memory()
    failed = []
    for left in np.geomspace(100, 3e6, 20).astype(int).tolist():
        leave_memory(runtime, left)
        try:
            found = call()
        except MemoryError:
            failed.append(True)
        else:
            failed.append(False)
            assert_close(found, expected, "float64")
        gc.collect()
        assert (runtime.live_objects(), runtime.live_memory()) == (objects, memory)
    assert failed[0]
    assert failed == sorted(failed, reverse=True)  # more is not worse
    assert not failed[-1]


def test_an_allocation_fails_once(runtime: Runtime) -> None:
    expected = NET.ntk(X, device="cuda")
    for spared in range(100):
        runtime.fail(b"cudaMallocFromPoolAsync", OUT_OF_MEMORY, spared)
        assert_close(NET.ntk(X, device="cuda"), expected, "float64")
        if runtime.pending_failure():
            break
    assert spared > 5


@pytest.mark.parametrize("call", [b"cudaMemcpyAsync", b"cudaEventRecord", b"cudaLaunchKernelEx"])
def test_other_failures(call: bytes, runtime: Runtime) -> None:
    runtime.fail(call, OTHER_ERROR, 0)
    with pytest.raises(RuntimeError, match=r"cuda.*: as the test wants it"):
        NET.ntk(X, device="cuda")
    runtime.fail(b"", 0, 0)
    assert_close(NET.ntk(X, device="cuda"), NET.ntk(X), "float64")


def test_products_of_cublas_may_fail(runtime: Runtime) -> None:
    runtime.fail(b"gemm", 13, 2)
    with pytest.raises(RuntimeError, match="cublasDgemm_64: cuBLAS status 13"):
        NET.ntk(X, device="cuda")
