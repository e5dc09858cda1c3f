# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Packed kernels: their layout, what can be asked of them, files, and kernels made packed."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import struct
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
from fastntk.symmetric import packed_files

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
    assert packed.to_dense().dtype == dtype
    assert (packed.n, packed.shape, packed.dtype) == (n, (n, n), np.dtype(dtype))
    assert packed.nbytes == n * (n + 1) // 2 * packed.dtype.itemsize


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 5e307])
def test_norms_of_what_has_no_squares(scale: float) -> None:
    K = scale * np.array([[1.0, 0.5], [0.5, 1.0]])
    expected = 2.0**0.5 * K[0, 0] * 1.25**0.5
    assert PackedKernel.from_dense(K).frobenius_norm() == pytest.approx(expected, rel=1e-3, abs=0)
    assert PackedKernel.from_dense(np.full((9, 9), 1e308)).frobenius_norm() == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 30, 31, 2050])
def test_questions(n: int, dtype: str) -> None:
    K = symmetric(n, dtype)
    packed = PackedKernel.from_dense(K)
    assert np.array_equal(packed.diagonal(), K.diagonal())
    assert packed.trace() == pytest.approx(K.astype(np.float64).trace(), rel=1e-12, abs=0)
    assert packed.frobenius_norm() == pytest.approx(
        float(np.linalg.norm(K.astype(np.float64))), rel=1e-12, abs=0
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
    assert np.array_equal(np.load(path), PackedKernel.from_dense(K).data)
    loaded = PackedKernel.load(path, mmap=mmap)
    assert isinstance(loaded.data, np.memmap) == mmap
    assert np.array_equal(loaded.to_dense(), K)
    assert_close(loaded @ np.ones(21), K.sum(axis=1, dtype=np.float64), dtype)
    assert [p.name for p in tmp_path.iterdir()] == ["kernel.npy"]


def flipped(content: bytes, position: int, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


@pytest.mark.parametrize("mmap", [False, True])
def test_every_flipped_bit_and_every_missing_end_is_found(tmp_path: Path, mmap: bool) -> None:
    path, other = tmp_path / "kernel.npy", tmp_path / "damaged.npy"
    packed = PackedKernel.from_dense(symmetric(4))
    packed.save(path, description={"of": "four rows"})
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in range(len(content)):
        # All bits of the header and of what says how long the rest is; one of each other byte.
        ends = position < 128 or position >= len(content) - 64
        for bit in range(8) if ends else [int(rng.integers(8))]:
            other.write_bytes(flipped(content, position, bit))
            with pytest.raises(ValueError, match=r"path='.*damaged.npy': not a packed kernel"):
                PackedKernel.load(other, mmap=mmap)
    end_of_data = 128 + packed.nbytes
    for length in {*range(0, len(content), 7)} - {end_of_data}:
        other.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"path='.*damaged.npy': not a packed kernel"):
            PackedKernel.load(other, mmap=mmap)
    other.write_bytes(content[: end_of_data - 8])
    missing = rf"it has {end_of_data - 8} bytes of {end_of_data}: the end is missing"
    with pytest.raises(ValueError, match=missing):
        PackedKernel.load(other, mmap=mmap)
    other.write_bytes(content + b"more")
    with pytest.raises(ValueError, match="what follows the array is damaged"):
        PackedKernel.load(other, mmap=mmap)


def test_checksums_are_those_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_files, "_BLOCK", 1000)
    path = tmp_path / "kernel.npy"
    packed = PackedKernel.from_dense(symmetric(30))
    packed.save(path)
    content = path.read_bytes()
    end = 128 + packed.nbytes
    trailer = json.loads(content[end:-64])
    assert trailer["sha256"] == [
        hashlib.sha256(content[first : min(first + 1000, end)]).hexdigest()
        for first in range(0, end, 1000)
    ]
    assert PackedKernel.load(path).data.tobytes() == content[128:end]
    for position in (999, 1000, end - 1):
        path.write_bytes(flipped(content, position, 0))
        first = position // 1000 * 1000
        with pytest.raises(ValueError, match=rf"checksum of its bytes from {first} on does not"):
            PackedKernel.load(path, mmap=True)
        # Whoever does not ask for that gets what is there.
        assert PackedKernel.load(path, verify=False).n == 30


def test_files_without_checksums_are_read(tmp_path: Path) -> None:
    packed = PackedKernel.from_dense(symmetric(6))
    np.save(tmp_path / "old.npy", packed.data)
    for mmap in (False, True):
        assert np.array_equal(PackedKernel.load(tmp_path / "old.npy", mmap=mmap).data, packed.data)
    with pytest.raises(ValueError, match="it is the kernel of None: expected that of description="):
        PackedKernel.load(tmp_path / "old.npy", description={"of": "six rows"})


def test_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "kernel.npy"
    packed = PackedKernel.from_dense(symmetric(6))
    packed.save(path, description={"network": "κ", "rows": (1, 2)})
    for description in (None, {"rows": [1, 2], "network": "κ"}):
        assert PackedKernel.load(path, description=description).n == 6
    with pytest.raises(
        ValueError, match=r"it is the kernel of .*expected that of description={'rows': 3}"
    ):
        PackedKernel.load(path, description={"rows": 3})
    with pytest.raises(ValueError, match=r"description=.*expected a dict of what JSON knows"):
        packed.save(path, description={"rows": np.ones(2)})
    with pytest.raises(ValueError, match=r"description=.*expected a dict of what JSON knows"):
        packed.save(path, description={"rows": float("nan")})
    assert PackedKernel.load(path, description={"network": "κ", "rows": [1, 2]}).n == 6
    content = path.read_bytes()
    newer = content[128 + packed.nbytes : -64].replace(b'"version": 1', b'"version": 2')
    end = hashlib.sha256(newer).digest() + content[-32:]
    path.write_bytes(content[: 128 + packed.nbytes] + newer + end)
    with pytest.raises(ValueError, match=r"has version 2 of the format; expected 1"):
        PackedKernel.load(path)


def test_a_kernel_may_replace_the_file_it_lies_in(tmp_path: Path) -> None:
    path = tmp_path / "kernel.npy"
    packed = PackedKernel.from_dense(symmetric(6))
    packed.save(path)
    mapped = PackedKernel.load(path, mmap=True)
    mapped.save(path)
    assert np.array_equal(mapped.data, packed.data)
    assert np.array_equal(PackedKernel.load(path).data, packed.data)


def test_kernels_that_do_not_fit_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PackedKernel.from_dense(np.eye(9)).save(tmp_path / "kernel.npy")
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 300)
    with pytest.raises(MemoryError, match=r"kernel.npy' needs 360 bytes.*give mmap=True"):
        PackedKernel.load(tmp_path / "kernel.npy")
    assert PackedKernel.load(tmp_path / "kernel.npy", mmap=True).n == 9


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_pipes_and_directories_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    for name in ("pipe.npy", "folder.npy"):
        with pytest.raises(ValueError, match=rf"{name}': not a packed kernel: expected a regular"):
            PackedKernel.load(tmp_path / name)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies(tmp_path: Path, dtype: str, mapped: bool) -> None:
    packed = PackedKernel.from_dense(symmetric(7, dtype))
    if mapped:
        packed.save(tmp_path / "kernel.npy")
        packed = PackedKernel.load(tmp_path / "kernel.npy", mmap=True)
    kept = packed.data.copy()
    copies = [packed.copy(), copy.copy(packed), copy.deepcopy(packed), copy.deepcopy([packed])[0]]
    protocols = range(2, pickle.HIGHEST_PROTOCOL + 1)
    copies += [pickle.loads(pickle.dumps(packed, protocol)) for protocol in protocols]
    for other in copies:
        assert type(other.data) is np.ndarray
        assert (other.n, other.dtype) == (7, np.dtype(dtype))
        assert np.array_equal(other.data, kept)
        assert not np.shares_memory(other.data, packed.data)


def places(n: int) -> st.SearchStrategy[slice]:
    ends = st.one_of(st.none(), st.integers(-n - 2, n + 2))
    return st.builds(slice, ends, ends, st.sampled_from([None, 1, 1, 1, 2, -1]))


@given(data=st.data(), n=st.integers(1, 9))
def test_tiles_are_right_or_refused(data: st.DataObject, n: int) -> None:
    K = np.arange(n * n, dtype=np.float64).reshape(n, n)
    K = np.tril(K) + np.tril(K, -1).T
    packed = PackedKernel.from_dense(K)
    rows = data.draw(places(n))
    cols = data.draw(st.one_of(st.just(rows), places(n)))
    block = -1.0 - K[rows, cols]
    chosen_rows, chosen_cols = range(n)[rows], range(n)[cols]
    allowed = (
        chosen_rows.step == chosen_cols.step == 1
        and len(chosen_rows) > 0
        and len(chosen_cols) > 0
        and not chosen_cols[0] < (n + 1) // 2 <= chosen_cols[-1]
        and (chosen_rows == chosen_cols or chosen_cols[-1] <= chosen_rows[0])
    )
    if not allowed:
        for call in (
            lambda: packed.tile(rows, cols),
            lambda: packed.put(rows, cols, block),
        ):
            with pytest.raises(ValueError, match=r"(rows|cols)=slice\("):
                call()
        assert np.array_equal(packed.to_dense(), K)
        return
    tile = packed.tile(rows, cols)
    below = np.array([[i >= j for j in chosen_cols] for i in chosen_rows])
    assert np.array_equal(tile[below], K[rows, cols][below])
    assert np.shares_memory(tile, packed.data)
    packed.put(rows, cols, block)
    expected = K.copy()
    expected[rows, cols] = block
    expected[cols, rows] = block.T
    assert np.array_equal(packed.to_dense(), expected)


def test_blocks_that_do_not_fit_are_refused() -> None:
    packed = PackedKernel.from_dense(np.eye(6))
    with pytest.raises(TypeError, match=r"rows=3: expected a slice of step 1"):
        packed.tile(3, slice(0, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"cols=slice\(0, 1.5, None\): expected a slice"):
        packed.tile(slice(3, 4), slice(0, 1.5))
    with pytest.raises(ValueError, match=r"cols=.*one side of 3, the middle of the kernel"):
        packed.tile(slice(5, 6), slice(2, 4))
    for block in (np.ones((1, 2)), 1.0, np.ones((2, 1))):
        with pytest.raises(ValueError, match=r"block has shape .*: expected \(2, 2\)"):
            packed.put(slice(4, 6), slice(1, 3), block)
    with pytest.raises(TypeError, match="block has dtype complex128: expected real numbers"):
        packed.put(slice(4, 6), slice(1, 3), np.ones((2, 2)) * 1j)
    assert np.array_equal(packed.to_dense(), np.eye(6))


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
    with pytest.raises(ValueError, match=r"i=4: expected an integer of at least 0 and at most 3"):
        packed.row(4)
    with pytest.raises(ValueError, match=r"indices\[1\]=-1"):
        packed.rows([0, -1])
    with pytest.raises(ValueError, match=r"vectors have shape \(3,\): expected \(4,\) or \(4, k\)"):
        packed @ np.ones(3)
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    with pytest.raises(MemoryError, match=r"a packed kernel of 1000 × 1000 in float64 needs 3.8 M"):
        PackedKernel.empty(1000)
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10)
    for available in (10, 127):
        monkeypatch.setattr(memory, "available_memory", lambda available=available: available)
        with pytest.raises(MemoryError, match=r"an array of 4 × 4 in float64 needs 128 .*rows\(\)"):
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
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
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
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10)
    with pytest.raises(MemoryError, match=r"a packed kernel of 5 × 5 .*or dtype='float32'"):
        net.ntk(X, out="packed")


def test_blocks_that_have_a_checksum_have_four_mebibytes(tmp_path: Path) -> None:
    """Part of the format: files of other versions are read by it."""
    n = 1025  # a little more than one block
    kernel = fastntk.PackedKernel(np.arange(n * (n + 1) // 2, dtype=np.float64))
    kernel.save(tmp_path / "k.npy")
    content = (tmp_path / "k.npy").read_bytes()
    array = np.load(tmp_path / "k.npy")
    end = len(content) - struct.unpack("<32sQ24s", content[-64:])[1] - 64
    assert content[:end].endswith(array.tobytes())
    trailer = json.loads(content[end:-64])
    assert trailer["block_bytes"] == 4 * 2**20 < end < 2 * trailer["block_bytes"]
    blocks = content[: 2**22], content[2**22 : end]
    assert trailer["sha256"] == [hashlib.sha256(block).hexdigest() for block in blocks]


@pytest.mark.parametrize("size", [128, 1000, 2**23])
def test_blocks_of_other_sizes_are_read(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = fastntk.PackedKernel(np.arange(105.0))
    with monkeypatch.context() as patch:
        patch.setattr(packed_files, "_BLOCK", size)
        kernel.save(tmp_path / "k.npy")
    assert (fastntk.PackedKernel.load(tmp_path / "k.npy").data == kernel.data).all()
    content = bytearray((tmp_path / "k.npy").read_bytes())
    content[900] ^= 1
    (tmp_path / "k.npy").write_bytes(content)
    with pytest.raises(ValueError, match=f"its bytes from {900 // size * size} on does not match"):
        fastntk.PackedKernel.load(tmp_path / "k.npy")


def test_blocks_that_end_within_the_header_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(packed_files, "_BLOCK", 128)
        fastntk.PackedKernel(np.arange(6.0)).save(tmp_path / "k.npy")
    content = (tmp_path / "k.npy").read_bytes()
    length = struct.unpack("<32sQ24s", content[-64:])[1]
    trailer = json.loads(content[-64 - length : -64])
    encoded = json.dumps(trailer | {"block_bytes": 60}).encode()
    end = struct.pack("<32sQ24s", hashlib.sha256(encoded).digest(), len(encoded), content[-24:])
    (tmp_path / "k.npy").write_bytes(content[: -64 - length] + encoded + end)
    with pytest.raises(ValueError, match="each 60 bytes: expected at least the 128"):
        fastntk.PackedKernel.load(tmp_path / "k.npy")
