# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Block Lanczos on operators whose spectrum is known, looked at from both sides of `multiply`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from fastntk.symmetric.block_lanczos import RitzPairs, largest_eigenpairs

Matrix = npt.NDArray[np.float64]


@dataclass
class Operator:
    """U diag(values) Uᵀ with a random orthogonal U, and the widths of what it has multiplied."""

    values: Matrix
    widths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = len(self.values)
        basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((n, n)))
        self.matrix = basis * self.values @ basis.T

    def __call__(self, vectors: Matrix) -> Matrix:
        assert np.allclose(vectors.T @ vectors, np.eye(vectors.shape[1]), rtol=0, atol=1e-13)
        self.widths.append(vectors.shape[1])
        images: Matrix = self.matrix @ vectors
        return images


def require_pairs(pairs: RitzPairs, operator: Operator, k: int, tolerance: float) -> None:
    scale = np.abs(operator.values).max()
    exact = np.sort(operator.values)[::-1][:k]
    assert np.abs(pairs.values - exact).max() <= 10 * tolerance * scale
    assert np.allclose(pairs.vectors.T @ pairs.vectors, np.eye(k), rtol=0, atol=1e-12)
    actual = np.linalg.norm(operator.matrix @ pairs.vectors - pairs.vectors * pairs.values, axis=0)
    assert pairs.residuals == pytest.approx(actual, rel=1e-6, abs=1e-13 * scale)
    assert pairs.converged == bool((actual <= tolerance * scale).all())


FALLING = np.concatenate([[-3.0], 2 / np.arange(1, 300)])


@pytest.mark.parametrize("k", [1, 2])
def test_pairs_of_a_spectrum_that_falls_quickly(k: int) -> None:
    operator = Operator(FALLING)
    pairs = largest_eigenpairs(operator, 300, k, tolerance=1e-8)
    require_pairs(pairs, operator, k, 1e-8)
    # One guard vector, and as few passes as it takes: not after a residual that is small enough.
    assert set(operator.widths) == {k + 1}
    assert 7 <= len(operator.widths) <= 11
    assert pairs.following == pytest.approx(2 / (k + 1), abs=1e-8)


def test_a_basis_that_is_full_is_cut_down_to_the_best_vectors() -> None:
    """At most four blocks of 41 vectors; what is left of them still leads to all digits."""
    operator = Operator(np.linspace(0, 1, 300) ** 2)
    pairs = largest_eigenpairs(operator, 300, 40, tolerance=1e-4)
    require_pairs(pairs, operator, 40, 1e-4)
    assert set(operator.widths) == {41}
    assert 10 <= len(operator.widths) <= 14
    assert pairs.following == pytest.approx((259 / 299) ** 2, abs=1e-5)
    exact = np.sort(operator.values)[::-1][:40]
    assert np.abs(pairs.values - exact).max() < 1e-7


@pytest.mark.parametrize("most", [1, 4])
def test_no_more_passes_than_are_allowed(most: int) -> None:
    operator = Operator(FALLING)
    pairs = largest_eigenpairs(operator, 300, 2, tolerance=1e-8, most_passes=most)
    assert len(operator.widths) == most
    assert not pairs.converged
    assert pairs.residuals.max() > 1e-8


def test_a_basis_that_is_the_whole_space() -> None:
    operator = Operator(np.array([3.0, 1.0, 2.0, 0.0, 0.0, -7.0]))
    pairs = largest_eigenpairs(operator, 6, 1, tolerance=1e-30)
    assert operator.widths == [2, 2, 2]
    assert pairs.converged
    assert pairs.values == pytest.approx([3.0], abs=1e-14)
    assert pairs.following == pytest.approx(2.0, abs=1e-14)
    everything = largest_eigenpairs(Operator(operator.values[:3]), 3, 3, tolerance=1e-30)
    assert everything.values == pytest.approx([3.0, 2.0, 1.0], abs=1e-14)
    assert everything.following is None
    odd = Operator(np.arange(1.0, 8.0))
    assert largest_eigenpairs(odd, 7, 1, tolerance=1e-30).values == pytest.approx([7.0], abs=1e-13)
    assert odd.widths == [2, 2, 2, 1]  # the last block is what is left of the space


def test_repeated_eigenvalues_and_none() -> None:
    operator = Operator(np.concatenate([[5.0, 5.0], np.ones(198)]))
    pairs = largest_eigenpairs(operator, 200, 2, tolerance=1e-10)
    require_pairs(pairs, operator, 2, 1e-10)
    assert len(operator.widths) == 3
    zero = Operator(np.zeros(200))
    pairs = largest_eigenpairs(zero, 200, 2, tolerance=1e-10)
    assert pairs.values.tolist() == [0.0, 0.0]
    # Values count as settled once they have been the same twice.
    assert zero.widths == [3, 3]


def test_the_same_start_every_time() -> None:
    first, second = (
        largest_eigenpairs(Operator(FALLING), 300, 1, tolerance=1e-2, most_passes=2)
        for _ in range(2)
    )
    assert first.vectors.tobytes() == second.vectors.tobytes()
