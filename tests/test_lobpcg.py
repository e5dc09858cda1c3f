# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The smallest eigenvalues by products alone, on operators whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest
from test_block_lanczos import Matrix, Operator

from fastntk.symmetric import lobpcg


class Watched(Operator):
    """An operator that takes blocks that are not orthonormal, too."""

    def __call__(self, vectors: Matrix) -> Matrix:
        self.widths.append(vectors.shape[1] if vectors.ndim == 2 else 1)
        images: Matrix = self.matrix @ vectors
        return images


def spectrum(n: int) -> Matrix:
    """A few large eigenvalues, and others between 1 and 3."""
    return np.concatenate([10.0 ** np.arange(2, 8), np.linspace(1, 3, n - 6)])


@pytest.mark.parametrize("k", [1, 3])
def test_smallest_pairs(k: int) -> None:
    operator = Watched(spectrum(80))
    pairs = lobpcg.smallest_eigenpairs(operator, 80, k, floor=1e-6)
    exact = np.sort(operator.values)[:k]
    assert pairs.values == pytest.approx(exact, rel=1e-9, abs=0)
    assert np.allclose(pairs.vectors.T @ pairs.vectors, np.eye(k), rtol=0, atol=1e-10)
    actual = np.linalg.norm(operator.matrix @ pairs.vectors - pairs.vectors * pairs.values, axis=0)
    assert pairs.residuals == pytest.approx(actual, rel=1e-3, abs=1e-12)
    assert pairs.converged
    assert (pairs.residuals <= 1e-5 * exact[0]).all()
    # A fourth of the rows for the preconditioner, and blocks of three vectors more than wanted.
    assert operator.widths[0] == 20
    assert set(operator.widths[1:]) <= set(range(1, k + 4))
    assert max(operator.widths[1:]) == k + 3
    # Without the preconditioner, or with a wrong one, it is ten times as many.
    assert len(operator.widths) < 100


def test_as_many_products_as_are_allowed_by_rounds_of_forty() -> None:
    values = np.concatenate([np.geomspace(1e-9, 1e-8, 50), np.ones(30)])
    counts = []
    for most in (1, 40, 41, 80):
        operator = Watched(values)
        pairs = lobpcg.smallest_eigenpairs(operator, 80, 1, floor=0.0, most_passes=most)
        counts.append(len(operator.widths))
        assert not pairs.converged
    assert counts[0] == counts[1] <= 46
    assert counts[2] == counts[3] > counts[1] + 30


def test_what_is_below_the_floor_is_not_told_from_zero() -> None:
    values = np.concatenate([np.zeros(10), np.ones(70)])
    operator = Watched(values)
    pairs = lobpcg.smallest_eigenpairs(operator, 80, 2, floor=1e-3)
    assert np.abs(pairs.values).max() < 1e-3
    assert len(operator.widths) <= 46  # one round
    with pytest.raises(np.linalg.LinAlgError):
        lobpcg.smallest_eigenpairs(Watched(-np.ones(20)), 20, 1, floor=1e-9)


def test_the_preconditioner_divides_what_is_large() -> None:
    operator = Watched(spectrum(80))
    random = np.random.Generator(np.random.Philox(0))
    solve = lobpcg._nystrom(operator, 80, 1e-6, random)
    values, basis = np.linalg.eigh(operator.matrix)
    images = solve.matmat(basis)
    gains = np.einsum("ij,ij->j", basis, images)
    # Six large eigenvalues: as far as the others they are made alike, up to a common factor.
    products = gains[-6:] * values[-6:]
    assert products.max() < 1.5 * products.min()
    assert 0.5 < products.min() < 4
    assert ((gains[:-6] > 0.3) & (gains[:-6] <= 1 + 1e-12)).all()
    assert np.allclose(basis.T @ images, (basis.T @ images).T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(solve.matvec(basis[:, 0]), images[:, 0], rtol=1e-12, atol=1e-14)
