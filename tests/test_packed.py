# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Packed kernels: their layout, what can be asked of them, files, and kernels made packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits
from tolerances import assert_close

import fastntk
from fastntk import PackedKernel
from fastntk._support import memory

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = ["float32", "float64"]


def symmetric(n: int, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    a = np.random.default_rng(n).standard_normal((n, n))
    return (a + a.T).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@given(n=st.integers(1, 70))
def test_round_trip_and_lapack_agree(n: int, dtype: str) -> None:
    K = symmetric(n, dtype)
    packed = PackedKernel.from_dense(np.tril(K) + np.triu(np.full_like(K, np.nan), 1))
    to_packed = lapack.strttf if dtype == "float32" else lapack.dtrttf
    expected, info = to_packed(K, transr="T", uplo="L")
    assert info == 0
    assert packed.data.dtype == dtype
    assert np.array_equal(packed.data, expected)
    assert np.array_equal(packed.to_dense(), K)
    assert (packed.n, packed.shape, packed.dtype) == (n, (n, n), np.dtype(dtype))
    assert packed.nbytes == n * (n + 1) // 2 * packed.dtype.itemsize


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 30, 31, 2050])
def test_questions(n: int, dtype: str) -> None:
    K = symmetric(n, dtype)
    packed = PackedKernel.from_dense(K)
    assert np.array_equal(packed.diagonal(), K.diagonal())
    assert packed.trace() == pytest.approx(K.astype(np.float64).trace(), rel=1e-12)
    assert packed.frobenius_norm() == pytest.approx(
        float(np.linalg.norm(K.astype(np.float64))), rel=1e-12
    )
    chosen = sorted({0, n // 3, (n - 1) // 2, n // 2, n - 1}, reverse=True)
    assert all(np.array_equal(packed.row(i), K[i]) for i in chosen)
    assert np.array_equal(packed.rows(chosen), K[chosen])
    assert np.array_equal(packed.submatrix(np.array(chosen)), K[np.ix_(chosen, chosen)])
    v = np.random.default_rng(0).standard_normal((n, 3)).astype(dtype)
    assert (packed @ v).dtype == dtype
    assert_close(packed @ v, K.astype(np.float64) @ v, dtype)
    assert_close(packed @ v[:, 0], K.astype(np.float64) @ v[:, 0], dtype)
    assert_close(v.T @ packed, v.T @ K.astype(np.float64), dtype)


def test_copies_are_apart_and_attributes_stay() -> None:
    packed = PackedKernel.from_dense(symmetric(5))
    other = packed.copy()
    other.data[0] = 7.0
    assert packed.data[0] != 7.0
    with pytest.raises(AttributeError, match="'n'"):
        packed.n = 4
    assert repr(packed) == "PackedKernel(n=5, dtype=float64)"
    assert PackedKernel.from_dense(np.eye(3, dtype=int)).dtype == np.float64


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_files(tmp_path: Path, dtype: str, mmap: bool) -> None:
    path = tmp_path / "kernel.npy"
    K = symmetric(21, dtype)
    PackedKernel.from_dense(K).save(path)
    assert path.stat().st_size == 128 + 231 * np.dtype(dtype).itemsize
    loaded = PackedKernel.load(path, mmap=mmap)
    assert isinstance(loaded.data, np.memmap) == mmap
    assert np.array_equal(loaded.to_dense(), K)
    assert_close(loaded @ np.ones(21), K.sum(axis=1, dtype=np.float64), dtype)
    assert [p.name for p in tmp_path.iterdir()] == ["kernel.npy"]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path='.*kernel.npz': expected a file that ends in .npy"):
        PackedKernel.from_dense(np.eye(2)).save(tmp_path / "kernel.npz")
    with pytest.raises(FileNotFoundError):
        PackedKernel.load(tmp_path / "kernel.npy")
    for content in (np.eye(3), np.ones(5), np.ones(6, dtype=int)):
        np.save(tmp_path / "other.npy", content)
        with pytest.raises(ValueError, match=r"other.npy': not a packed kernel: data has"):
            PackedKernel.load(tmp_path / "other.npy")
    (tmp_path / "noise.npy").write_bytes(b"noise")
    with pytest.raises(ValueError, match=r"noise.npy': not a packed kernel"):
        PackedKernel.load(tmp_path / "noise.npy", mmap=True)


def test_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = PackedKernel.from_dense(np.eye(4))
    with pytest.raises(ValueError, match=r"data has 5 elements: expected n\(n \+ 1\)/2"):
        PackedKernel(np.ones(5))
    with pytest.raises(ValueError, match=r"data has 0 elements"):
        PackedKernel(np.ones(0))
    with pytest.raises(ValueError, match=r"data has shape \(2, 2\)"):
        PackedKernel(np.eye(2))
    with pytest.raises(ValueError, match=r"data has dtype int64"):
        PackedKernel(np.ones(3, dtype=np.int64))
    with pytest.raises(ValueError, match=r"K has shape \(2, 3\): expected a square matrix"):
        PackedKernel.from_dense(np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"K has dtype complex128"):
        PackedKernel.from_dense(np.eye(2) * 1j)
    with pytest.raises(ValueError, match=r"i=4: expected a row from 0 to 3"):
        packed.row(4)
    with pytest.raises(ValueError, match=r"indices\[1\]=-1"):
        packed.rows([0, -1])
    with pytest.raises(ValueError, match=r"vectors have shape \(3,\): expected \(4,\) or \(4, k\)"):
        packed @ np.ones(3)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    with pytest.raises(MemoryError, match=r"a packed kernel of 1000 × 1000 in float64 needs 3.8 M"):
        PackedKernel.empty(1000)
    monkeypatch.setattr(memory, "available_memory", lambda: 10)
    with pytest.raises(MemoryError, match=r"an array of 4 × 4 in float64 .*rows\(\)"):
        packed.to_dense()


@pytest.mark.parametrize(
    ("dtype", "kernel_dtype"), [*zip(DTYPES, DTYPES, strict=True), ("float32", "float64")]
)
@pytest.mark.parametrize("n", [1, 2, 3, 333, 1300])
def test_ntk(n: int, dtype: str, kernel_dtype: str) -> None:
    net = fastntk.MLP([6, 40, 30, 2], bias_std=0.1, dtype=dtype)
    X = np.random.default_rng(0).standard_normal((n, 6))
    packed = net.ntk(X, out="packed", dtype=kernel_dtype)
    assert packed.dtype == kernel_dtype
    # The same products; tiles of other shapes may round otherwise.
    assert_close(packed.to_dense(), net.ntk(X, dtype=kernel_dtype), kernel_dtype)
    one = net.ntk(X, out="packed", outputs=1, layer_weights=[1, 0, 2])
    assert_close(one.to_dense(), net.ntk(X, outputs=1, layer_weights=[1, 0, 2]), dtype)


def test_ntk_does_not_depend_on_the_number_of_threads() -> None:
    net = fastntk.MLP([6, 40, 2])
    X = np.random.default_rng(0).standard_normal((700, 6))
    kernels = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            kernels.append(net.ntk(X, out="packed").data)
    assert all(np.array_equal(kernels[0], other) for other in kernels[1:])


def test_ntk_where_the_features_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    net = fastntk.MLP([6, 2000, 1])
    X = np.random.default_rng(0).standard_normal((901, 6))
    expected = net.ntk(X)
    packed_bytes = 901 * 902 // 2 * 8
    monkeypatch.setattr(memory, "available_memory", lambda: packed_bytes + 20 * 10**6)
    steps: list[tuple[str, int, int]] = []
    packed = net.ntk(X, out="packed", progress=lambda *step: steps.append(step))
    assert steps[-1][0] == "blocks"
    assert steps[-1][1] == steps[-1][2] > 1
    assert_close(packed.to_dense(), expected, "float64")


def test_ntk_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    net = fastntk.MLP([6, 20, 2])
    X = np.ones((5, 6))
    with pytest.raises(ValueError, match=r"outputs='full': expected 'trace' or one output"):
        net.ntk(X, out="packed", outputs="full")
    with pytest.raises(ValueError, match=r"Z of shape \(5, 6\): expected None with out='packed'"):
        net.ntk(X, X, out="packed")
    monkeypatch.setattr(memory, "available_memory", lambda: 10)
    with pytest.raises(MemoryError, match=r"a packed kernel of 5 × 5 .*or dtype='float32'"):
        net.ntk(X, out="packed")
