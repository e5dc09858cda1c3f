# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Conditioning of kernels that are packed, overwritten or in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import fastntk
from fastntk import PackedKernel

Matrix = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def kernel() -> Matrix:
    X = np.random.default_rng(0).standard_normal((521, 8))
    return np.asarray(fastntk.MLP([8, 64, 64, 1], dtype="float64").ntk(X))


def same_bits(result: fastntk.Conditioning, expected: fastntk.Conditioning) -> None:
    assert result == expected
    assert np.array_equal(result.smallest, expected.smallest)
    assert np.array_equal(result.largest, expected.largest)


def test_packed_kernels_give_the_same_bits(kernel: Matrix) -> None:
    packed = PackedKernel.from_dense(kernel)
    kept = packed.data.copy()
    result = fastntk.conditioning(packed)
    truth = fastntk.conditioning(kernel)
    assert result.condition_number == pytest.approx(truth.condition_number, rel=1e-9, abs=0)
    assert result.bounds is not None
    assert truth.condition_number in result.bounds.condition_number
    assert np.array_equal(packed.data, kept)


@pytest.mark.parametrize("bounds", [False, True])
def test_overwriting_an_array(kernel: Matrix, bounds: bool) -> None:
    expected = fastntk.conditioning(kernel, bounds=bounds)
    scratch = kernel.copy()
    result = fastntk.conditioning(scratch, bounds=bounds, overwrite=True)
    assert result.condition_number == pytest.approx(expected.condition_number, rel=1e-10, abs=0)
    assert (result.bounds is not None) == bounds
    # Without bounds the matrix is put back where it was, for an upper bound of λ_min.
    assert np.array_equal(scratch, kernel) != bounds


def test_overwriting_a_packed_kernel(kernel: Matrix) -> None:
    packed = PackedKernel.from_dense(kernel)
    expected = fastntk.conditioning(packed, bounds=False)
    with pytest.raises(ValueError, match="overwrite=True: bounds need a packed kernel twice"):
        fastntk.conditioning(packed, overwrite=True)
    kept = packed.data.copy()
    same_bits(fastntk.conditioning(packed, bounds=False, overwrite=True), expected)
    assert not np.array_equal(packed.data, kept)


def test_kernels_in_files(kernel: Matrix, tmp_path: Path) -> None:
    packed = PackedKernel.from_dense(kernel)
    packed.save(tmp_path / "kernel.npy")
    mapped = PackedKernel.load(tmp_path / "kernel.npy", mmap=True)
    same_bits(fastntk.conditioning(mapped), fastntk.conditioning(packed))
    same_bits(fastntk.conditioning(mapped, overwrite=True), fastntk.conditioning(packed))
    again = PackedKernel.load(tmp_path / "kernel.npy")
    assert np.array_equal(again.data, packed.data)


def test_singular_kernels_of_every_kind(kernel: Matrix, tmp_path: Path) -> None:
    singular = kernel.copy()
    singular[:, 7], singular[7] = singular[:, 3], singular[3]
    singular[7, 7] = singular[3, 3]
    packed = PackedKernel.from_dense(singular)
    packed.save(tmp_path / "kernel.npy")
    mapped = PackedKernel.load(tmp_path / "kernel.npy", mmap=True)
    for K, rank in ((packed, None), (mapped, None), (singular, len(kernel) - 1)):
        result = fastntk.conditioning(K)
        assert not result.resolved
        assert result.rank == rank
        assert result.bounds is not None
        assert result.bounds.eigenvalue_min.lower <= 0 <= result.bounds.eigenvalue_min.upper
        assert result.bounds.eigenvalue_min.upper < 1e-9 * result.eigenvalue_max
    assert fastntk.conditioning(singular.copy(), overwrite=True).rank == len(kernel) - 1


def test_float32_packed_kernels_keep_their_noise_floor(kernel: Matrix) -> None:
    single = kernel.astype(np.float32)
    result = fastntk.conditioning(PackedKernel.from_dense(single))
    assert result.noise_floor == pytest.approx(
        fastntk.conditioning(single).noise_floor, rel=1e-9, abs=0
    )
    assert result.noise_floor > 1e8 * len(kernel) * 2.0**-52


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_small_packed_kernels(n: int) -> None:
    values = np.geomspace(1.0, 2.0, n)
    result = fastntk.conditioning(PackedKernel.from_dense(np.diag(values)))
    assert result.condition_number == pytest.approx(values[-1] / values[0], rel=1e-12, abs=0)
    assert fastntk.spectrum(PackedKernel.from_dense(np.diag(values))) == pytest.approx(
        values, rel=1e-9, abs=0
    )


def test_what_is_not_finite_is_refused() -> None:
    packed = PackedKernel.from_dense(np.eye(5))
    packed.data[7] = np.nan
    with pytest.raises(ValueError, match=r"K.data\[7\]=.*nan.*: expected finite numbers"):
        fastntk.conditioning(packed)


def test_packed_kernels_of_networks() -> None:
    X = np.random.default_rng(1).standard_normal((300, 5))
    net = fastntk.MLP([5, 128, 128, 1], dtype="float32")
    packed = net.ntk(X, out="packed", dtype="float64")
    expected = fastntk.conditioning(net.ntk(X, dtype="float64"))
    result = fastntk.conditioning(packed, bounds=False, overwrite=True)
    assert result.condition_number == pytest.approx(expected.condition_number, rel=1e-8, abs=0)
