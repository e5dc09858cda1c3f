# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Matrices that were checked once, or formed here, are not read again to be checked."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

import fastntk
import fastntk._core as _core
from fastntk import PackedKernel
from fastntk.studies.rates import convergence_rate
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Matrix = npt.NDArray[np.float64]


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the size of each matrix is added that is read to be checked."""
    sizes: list[int] = []
    read = _core.symmetry

    def counted(matrix: Any, threads: int, monitor: Any) -> tuple[float, float]:
        sizes.append(len(matrix))
        return read(matrix, threads, monitor)

    monkeypatch.setattr(_core, "symmetry", counted)
    return sizes


def kernel(n: int, dtype: str = "float64") -> npt.NDArray[Any]:
    X = np.random.default_rng(n).standard_normal((n, 5))
    return np.asarray(fastntk.MLP([5, 64, 64, 1]).ntk(X, dtype=dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_checked_once(readings: list[int], dtype: str) -> None:
    K = kernel(40, dtype)
    matrix = SymmetricMatrix.of(K, "K")
    assert matrix.array is K
    assert (matrix.n, matrix.shape, matrix.dtype) == (40, (40, 40), np.dtype(dtype))
    assert SymmetricMatrix.of(matrix, "other") is matrix
    assert matrix.frobenius_norm == pytest.approx(
        np.linalg.norm(K.astype(np.float64)), rel=1e-12, abs=0
    )
    assert readings == [40]
    assert np.asarray(matrix) is K
    assert np.array_equal(matrix.submatrix(np.array([3, 5])), K[np.ix_([3, 5], [3, 5])])


def test_made_here_is_read_for_its_norm_alone(readings: list[int]) -> None:
    K = kernel(40)
    matrix = SymmetricMatrix.made(K)
    assert SymmetricMatrix.of(matrix, "K") is matrix
    fastntk.closest_pairs(matrix, 3)
    assert readings == []
    assert matrix.frobenius_norm == SymmetricMatrix.of(K, "K").frobenius_norm
    assert matrix.frobenius_norm > 0
    assert readings == [40, 40]


def test_what_overflowed_is_found_with_the_norm() -> None:
    K = np.eye(3, dtype=np.float32)
    K[1, 1] = np.inf
    with pytest.raises(ValueError, match=r"K\[1, 1\]=.*inf.*: expected numbers that are finite"):
        fastntk.conditioning(SymmetricMatrix.made(K))
    assert SymmetricMatrix.made(np.eye(3) * 1e200).frobenius_norm == np.inf


@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize(
    "function",
    [
        fastntk.conditioning,
        fastntk.spectrum,
        lambda K: fastntk.batch_conditioning(K, 20).batches,
        fastntk.gradient_angles,
        fastntk.smallest_angle,
        lambda K: fastntk.closest_pairs(K, 4),
        fastntk.angle_bound,
    ],
)
def test_results_are_those_of_the_array(n: int, function: Callable[[Any], Any]) -> None:
    K = kernel(n)
    expected = function(K)
    for matrix in (SymmetricMatrix.of(K, "K"), SymmetricMatrix.made(K)):
        result = function(matrix)
        assert (
            np.array_equal(result, expected)
            if isinstance(result, np.ndarray)
            else (result == expected)
        )


@pytest.mark.parametrize(
    "function",
    [
        fastntk.conditioning,
        fastntk.spectrum,
        fastntk.gradient_angles,
        fastntk.smallest_angle,
        lambda K: fastntk.closest_pairs(K, 4),
        fastntk.angle_bound,
        lambda K: fastntk.angle_bound(K, fastntk.AnglePair(0.1, 0, 1, resolved=True)),
    ],
)
def test_a_matrix_from_outside_is_checked_once(
    readings: list[int], function: Callable[[Matrix], Any]
) -> None:
    function(kernel(300))
    assert readings == [300]
    K = kernel(300)
    K[7, 2] += 1e-3
    with pytest.raises(ValueError, match=r"K is not symmetric: K\[2, 7\]"):
        function(K)


@pytest.mark.filterwarnings("ignore:X has 1 zero row")
@pytest.mark.parametrize("batches", [None, 70])  # more than the few that the core looks at itself
def test_a_cell_of_a_depth_study_reads_its_kernel_once(
    readings: list[int], batches: int | None
) -> None:
    X = np.random.default_rng(0).standard_normal((150, 4))
    X[30] = X[7] + 1e-6  # so close that the closest pairs are looked for again
    X[50] = 0.0  # without a gradient: the angles are those of the rest
    study = fastntk.depth_study(
        X,
        depths=[1, 2],
        width=64,
        seeds=1,
        activations=["relu"],
        infinite=True,
        batches=batches,
        progress=False,
    )
    assert len(study.results) == 4
    assert readings.count(150) == 4
    assert readings.count(70) == sum(result.batches for result in study.results)
    assert set(readings) <= {150, 70}


def test_kernels_that_are_followed_in_training_are_read_once(readings: list[int]) -> None:
    X = np.random.default_rng(0).standard_normal((100, 4))
    net = fastntk.MLP([4, 32, 1])
    history = fastntk.train(net, X, X[:, 0], loss="mse", learning_rate=0.1, epochs=2, probe=X[:70])
    assert readings == [70] * len(history.probe)
    readings.clear()
    convergence_rate(net, X, X[:, 0], steps=20)
    assert readings == [100]


@pytest.mark.parametrize(
    ("dtype", "epsilon"),
    [
        ("<f2", 2.0**-10),
        (">f2", 2.0**-10),
        ("<f4", 2.0**-23),
        (">f4", 2.0**-23),
        ("<f8", 2.0**-52),
        (">f8", 2.0**-52),
        ("i8", 2.0**-52),
        ("bool", 2.0**-52),
    ],
)
def test_a_kernel_keeps_the_precision_that_it_came_in(dtype: str, epsilon: float) -> None:
    K = np.ones((20, 20)).astype(dtype)
    packed = PackedKernel.from_dense(K)
    assert SymmetricMatrix.of(K, "K").epsilon == packed.epsilon == packed.copy().epsilon == epsilon
    for matrix in (K, SymmetricMatrix.of(K, "K"), packed):
        for method in ("dense", "cholesky"):
            result = fastntk.conditioning(matrix, method=method)
            assert not result.resolved
            assert result.noise_floor == pytest.approx(20 * epsilon * 20, rel=1e-6, abs=0)
        batch = fastntk.batch_conditioning(matrix, 20).batches[0]
        assert batch.noise_floor == pytest.approx(20 * epsilon * 20, rel=1e-6, abs=0)


@pytest.mark.parametrize("mmap", [False, True])
def test_files_keep_the_precision_that_a_kernel_came_in(tmp_path: Path, mmap: bool) -> None:
    file = tmp_path / "kernel.npy"
    for dtype, epsilon in ((np.float16, 2.0**-10), (np.float32, 2.0**-23), (np.float64, 2.0**-52)):
        PackedKernel.from_dense(np.eye(5, dtype=dtype)).save(file, overwrite=True)
        assert PackedKernel.load(file, mmap=mmap).epsilon == epsilon
    # Earlier versions wrote no precision behind the array, or nothing at all, as NumPy does.
    PackedKernel.from_dense(np.eye(5)).save(file)
    content = file.read_bytes()
    array, trailer = content[: 128 + 15 * 8], json.loads(content[128 + 15 * 8 : -64])
    del trailer["epsilon"]
    old = json.dumps(trailer).encode()
    end = hashlib.sha256(old).digest() + len(old).to_bytes(8, "little") + content[-24:]
    file.write_bytes(array + old + end)
    assert PackedKernel.load(file, mmap=mmap).epsilon == 2.0**-52
    np.save(file, PackedKernel.from_dense(np.eye(5, dtype=np.float16)).data)
    assert PackedKernel.load(file, mmap=mmap).epsilon == 2.0**-52


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4"])
def test_rounded_parallel_samples_are_never_resolved(dtype: str) -> None:
    for seed in range(100):
        v = np.random.default_rng(seed).standard_normal((1, 3))
        samples = np.vstack([v, 1.7 * v])
        gram = (samples @ samples.T).astype(dtype)
        assert not fastntk.conditioning(gram, bounds=seed % 2 == 0).resolved


def test_a_packed_kernel_of_another_byte_order_has_the_precision_of_this_one() -> None:
    K = kernel(12, "float32")
    swapped = PackedKernel.from_dense(K.astype(">f4"))
    assert swapped.dtype == np.float32
    assert np.array_equal(swapped.to_dense(), PackedKernel.from_dense(K).to_dense())
