# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernel regression without the kernel: solutions, residuals, and what a preconditioner saves."""

from __future__ import annotations

import tracemalloc
import warnings
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from threadpoolctl import threadpool_limits

import fastntk
from fastntk.symmetric import conjugate_gradients as module
from fastntk.symmetric.lapack import orthonormal_factor
from fastntk.symmetric.preconditioners import COLUMNS_AT_ONCE, LowRankPreconditioner

Array = npt.NDArray[np.float64]


@dataclass
class Formed:
    """A matrix that is asked for products and columns only, and counts them."""

    matrix: Any
    widths: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    @property
    def shape(self) -> Any:
        return self.matrix.shape

    @property
    def dtype(self) -> Any:
        return self.matrix.dtype

    def matmat(self, V: Any) -> Any:
        self.widths.append(V.shape[1])
        return self.matrix @ V.astype(self.dtype)

    def diagonal(self) -> Any:
        return np.diagonal(self.matrix)

    def columns(self, indices: Any) -> Any:
        self.asked += [int(i) for i in indices]
        return self.matrix[:, indices]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def of_spectrum(eigenvalues: Any, seed: int = 0) -> Array:
    """A dense symmetric matrix with these eigenvalues."""
    basis, _ = np.linalg.qr(normal(len(eigenvalues), len(eigenvalues), seed=seed))
    matrix = (basis * np.asarray(eigenvalues)) @ basis.T
    return np.asarray((matrix + matrix.T) / 2)


@pytest.mark.parametrize("rank", [0, 40, 1000])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_dense_solutions(rank: int, ridge: float) -> None:
    K, targets = of_spectrum(np.geomspace(1e-1, 1e2, 100)), normal(100, 3, seed=1)
    expected = np.linalg.solve(K + ridge * np.eye(100), targets)
    options: dict[str, Any] = {"ridge": ridge, "preconditioner_rank": rank, "tolerance": 1e-12}
    found = fastntk.conjugate_gradients(Formed(K), targets, **options)
    np.testing.assert_allclose(found.coefficients, expected, rtol=0, atol=1e-8)
    residual = targets - K @ found.coefficients - ridge * found.coefficients
    norms = np.linalg.norm(residual, axis=0) / np.linalg.norm(targets, axis=0)
    np.testing.assert_allclose(found.residuals, norms, rtol=0.05, atol=1e-14)
    assert found.converged.tolist() == [True] * 3
    assert found.preconditioner_rank == min(rank, 100)
    single = fastntk.conjugate_gradients(Formed(K), targets[:, 1], **options)
    assert single.coefficients.shape == (100,)
    assert single.residuals.shape == single.iterations.shape == single.converged.shape == ()
    np.testing.assert_allclose(single.coefficients, expected[:, 1], rtol=0, atol=1e-8)


def test_columns_that_have_converged_take_no_further_part() -> None:
    K = Formed(of_spectrum([*np.ones(60), *np.geomspace(1, 1e3, 20)]))
    easy = np.linalg.eigh(K.matrix)[1][:, -1]
    targets = np.stack([easy, normal(80), np.zeros(80)], axis=1)
    found = fastntk.conjugate_gradients(K, targets, preconditioner_rank=0)
    assert found.iterations[0] == 1
    assert found.iterations[1] > 10
    assert found.iterations[2] == found.residuals[2] == 0
    assert not found.coefficients[:, 2].any()
    # A product of the two, one alone until it has converged, and one for both residuals.
    assert K.widths == [2] + [1] * (found.iterations[1] - 1) + [2]


def test_a_preconditioner_saves_iterations() -> None:
    """κ = 1e8; 40 eigenvalues are apart from 260 others, whose κ is 1e3."""
    K = Formed(of_spectrum([*np.geomspace(1e-2, 1e1, 260), *np.geomspace(1e2, 1e6, 40)]))
    y = normal(300, seed=1)
    iterations = {}
    for rank in (0, 60, 150, 300):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if rank == 0 else "error")
            found = fastntk.conjugate_gradients(K, y, preconditioner_rank=rank, tolerance=1e-6)
        iterations[rank] = int(found.iterations)
    assert iterations[0] > 2 * iterations[60] > 2.2 * iterations[150] > 20 * iterations[300]


def test_digits_of_an_ill_conditioned_system() -> None:
    """κ = 1e11: the residual is right, and the solution as close as κ allows."""
    K = of_spectrum(np.geomspace(1e-7, 1e4, 24))
    y = normal(24, seed=1)
    found = fastntk.conjugate_gradients(Formed(K), y, preconditioner_rank=24, tolerance=1e-6)
    with mpmath.workdps(50):
        exact = mpmath.lu_solve(mpmath.matrix(K.tolist()), mpmath.matrix(y.tolist()))
        left = mpmath.matrix(y.tolist()) - mpmath.matrix(K.tolist()) * mpmath.matrix(
            found.coefficients.tolist()
        )
        residual = float(mpmath.norm(left) / mpmath.norm(mpmath.matrix(y.tolist())))
        solution = np.array([float(value) for value in exact])
    scale = float(np.linalg.norm(K, 2) * np.linalg.norm(found.coefficients) / np.linalg.norm(y))
    assert abs(residual - found.residuals) <= 24 * np.finfo(float).eps * scale
    assert found.converged
    error = np.linalg.norm(found.coefficients - solution) / np.linalg.norm(solution)
    assert error < 1e-3


def test_residuals_are_measured_and_not_those_of_the_recursion() -> None:
    """A recursion's residual falls to any tolerance; the true one ends at rounding, and is told."""
    K = of_spectrum(np.geomspace(1e-9, 1e3, 40))
    y = normal(40, seed=1)
    with pytest.warns(RuntimeWarning, match=r"tolerance=1e-15: 1 of 1 right-hand sides have not"):
        found = fastntk.conjugate_gradients(
            Formed(K), y, preconditioner_rank=40, tolerance=1e-15, max_iterations=400
        )
    residual = np.linalg.norm(y - K @ found.coefficients) / np.linalg.norm(y)
    assert not found.converged
    assert found.residuals == pytest.approx(residual, rel=0.5, abs=0)


@dataclass
class Drifting(Formed):
    """Its first products have the errors of float32, as those of a long recursion have some."""

    def matmat(self, V: Any) -> Any:
        exact = super().matmat(V)
        return exact if len(self.widths) > 20 else (self.matrix.astype(np.float32) @ V)


def test_recursions_begin_again_where_rounding_ended_them() -> None:
    K, y = of_spectrum(np.geomspace(1, 1e3, 100)), normal(100, seed=1)
    drifting = Drifting(K)
    found = fastntk.conjugate_gradients(drifting, y, preconditioner_rank=0, tolerance=1e-11)
    assert found.converged
    # Each recursion is followed by a product for its residual.
    assert len(drifting.widths) >= found.iterations + 2
    assert np.linalg.norm(y - K @ found.coefficients) < 2e-11 * np.linalg.norm(y)


def test_singular_systems() -> None:
    """Duplicates: solved where targets agree, with a warning where they do not, never without."""
    features = normal(50, 20)
    features[25:] = features[:25]
    K, y = Formed(features @ features.T), normal(50, seed=1)
    within = K.matrix @ y
    found = fastntk.conjugate_gradients(K, within, preconditioner_rank=50)
    assert found.converged
    assert found.preconditioner_rank == 20
    np.testing.assert_allclose(K.matrix @ found.coefficients, within, rtol=1e-6)
    with pytest.warns(RuntimeWarning, match="1 of 2 right-hand sides have not converged"):
        found = fastntk.conjugate_gradients(K, np.stack([within, y], axis=1), max_iterations=60)
    assert found.converged.tolist() == [True, False]
    assert found.residuals[1] > 0.1
    found = fastntk.conjugate_gradients(K, y, ridge=1e-3)
    expected = np.linalg.solve(K.matrix + 1e-3 * np.eye(50), y)
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-4, atol=1e-3)
    assert found.converged


@pytest.mark.parametrize("rank", [0, 20, 60])
@pytest.mark.parametrize("fill", [1e-9, 1.0])
def test_what_has_no_solution_is_never_worse_than_nothing(rank: int, fill: float) -> None:
    """Steps along a null space, whose curvature is rounding, lead to 1e17 times the targets."""
    features = normal(60, 30)
    features[30:] = features[:30]
    features[7] = features[37] = 0.0
    K = Formed(fill * (features @ features.T))
    targets = normal(60, 3, seed=5)
    targets[[7, 37], 0] = 0.0
    targets[:30, 0] = targets[30:, 0]  # which has a solution
    with pytest.warns(RuntimeWarning, match="2 of 3 .* or tolerance, or a kernel in") as caught:
        found = fastntk.conjugate_gradients(K, targets, preconditioner_rank=rank)
    assert len(caught) == 1  # and no other warning
    left = np.linalg.norm(targets - K.matrix @ found.coefficients, axis=0)
    left /= np.linalg.norm(targets, axis=0)
    np.testing.assert_allclose(found.residuals, left, rtol=1e-6, atol=1e-9)
    assert (found.residuals <= 1.0).all()
    assert found.converged.tolist() == [True, False, False]


@pytest.mark.parametrize("rank", [0, 5])
def test_a_kernel_of_0(rank: int) -> None:
    K, y = Formed(np.zeros((4, 4))), np.ones(4)
    with pytest.warns(RuntimeWarning, match="relative residual of up to 1 after"):
        found = fastntk.conjugate_gradients(K, y, preconditioner_rank=rank)
    assert not found.coefficients.any()
    found = fastntk.conjugate_gradients(K, y, ridge=2.0, preconditioner_rank=rank)
    assert np.array_equal(found.coefficients, y / 2)


@pytest.mark.parametrize("rank", [0, 1])
def test_one_row(rank: int) -> None:
    found = fastntk.conjugate_gradients(
        Formed(np.array([[4.0]])), [[2.0, 0.0]], ridge=1.0, preconditioner_rank=rank
    )
    np.testing.assert_allclose(found.coefficients, [[0.4, 0.0]], rtol=1e-15)


def test_right_hand_sides_of_any_size() -> None:
    """Squares leave the range of float64, solutions do not; where they do, it is an error."""
    K, y = Formed(of_spectrum(np.geomspace(1, 100, 30))), normal(30, seed=1)
    plain = fastntk.conjugate_gradients(K, y)
    for power in (-1000, -600, 600, 1000):
        targets = np.stack([y, np.ldexp(y, power)], axis=1)
        found = fastntk.conjugate_gradients(K, targets)
        assert found.converged.all()
        np.testing.assert_allclose(
            np.ldexp(found.coefficients[:, 1], -power), plain.coefficients, rtol=1e-6, atol=1e-6
        )
    with pytest.raises(OverflowError, match="coefficients of the kernel are not finite"):
        fastntk.conjugate_gradients(Formed(1e-9 * K.matrix), 1e300 * y)


def test_the_preconditioner_is_the_inverse_of_its_matrix() -> None:
    """To the digits of each eigenvalue, of which some are 1e16 times as large as the shift."""
    shift = 1e-10
    vectors, _ = np.linalg.qr(normal(80, 80))
    large = np.geomspace(1e3, 1e6, 8)
    turn, _ = np.linalg.qr(normal(8, 8, seed=1))
    factor = np.asfortranarray((vectors[:, :8] * np.sqrt(large)) @ turn)
    inverse = LowRankPreconditioner(factor, shift)
    solved = inverse.solve(vectors)
    values = np.append(large + shift, np.full(72, shift))
    # In the basis of the eigenvectors, scaled so that the inverse would be the identity.
    scaled = (vectors.T @ solved) * np.sqrt(np.outer(values, values))
    np.testing.assert_allclose(scaled, np.eye(80), rtol=0, atol=1e-6)


def test_the_shift_is_the_mean_of_what_is_left() -> None:
    K = of_spectrum([*np.geomspace(1e3, 1e6, 8), *np.full(72, 1e-6)])
    assert 0.5e-6 < LowRankPreconditioner.of(Formed(K), 0.0, 8, seed=0).shift < 9e-6
    whole = LowRankPreconditioner.of(Formed(K), 3.0, 8, seed=0)
    assert whole.rank == 8
    assert whole.shift == pytest.approx(3.0, rel=1e-5, abs=0)


def test_pivots_are_drawn_from_what_is_left() -> None:
    """Clusters of equal samples, one of which is small: a column of each, none twice."""
    sizes = np.repeat([1.0, 1.0, 1.0, 1e-3], [100, 50, 3, 2])
    groups = np.repeat(np.arange(4), [100, 50, 3, 2])
    K = Formed(np.equal.outer(groups, groups) * np.outer(sizes, sizes))
    inverse = LowRankPreconditioner.of(K, 0.0, 50, seed=0)
    assert inverse.rank == 4
    assert len(K.asked) <= 4 * COLUMNS_AT_ONCE
    assert set(groups[K.asked]) == {0, 1, 2, 3}


def test_the_trace_that_is_left_is_near_the_least() -> None:
    K = of_spectrum(np.geomspace(1e-4, 1e2, 200))
    for seed in range(5):
        inverse = LowRankPreconditioner.of(Formed(K), 0.0, 100, seed=seed)
        least = np.sort(np.linalg.eigvalsh(K))[:100].sum()
        assert least <= inverse.shift * 200 < 12 * least


def test_bits_do_not_depend_on_threads() -> None:
    X, targets = normal(300, 10), normal(300, 3, seed=1)
    operator = fastntk.MLP([10, 128, 1]).ntk_operator(X)
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            results.append(fastntk.conjugate_gradients(operator, targets).coefficients)
    assert all(np.array_equal(each, results[0]) for each in results)
    other = fastntk.conjugate_gradients(operator, targets, seed=1).coefficients
    assert not np.array_equal(other, results[0])
    np.testing.assert_allclose(other, results[0], rtol=0, atol=1e-6 * np.abs(other).max())


@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 7), (40, 3), (300, 90)])
def test_orthonormal_factors(n: int, k: int) -> None:
    matrix = np.asfortranarray(normal(n, k))
    matrix[:, -1] = matrix[:, 0]
    given = matrix.copy()
    basis, triangle = orthonormal_factor(matrix)
    assert basis is matrix
    assert np.array_equal(triangle, np.triu(triangle))
    np.testing.assert_allclose(basis.T @ basis, np.eye(k), rtol=0, atol=1e-13)
    np.testing.assert_allclose(basis @ triangle, given, rtol=0, atol=1e-13 * n)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"K": np.eye(3)}, TypeError, "(?s)^K=.*expected an operator with matmat, diagonal a"),
        ({"y": np.ones(4)}, ValueError, r"y has shape \(4,\): expected \(3,\) or \(3, k\)"),
        ({"y": np.array([1.0, np.nan, 2.0])}, ValueError, r"^y\[1\]=nan: expected"),
        ({"ridge": -1.0}, ValueError, "ridge=-1.0: expected a finite number of at least 0"),
        ({"preconditioner_rank": -1}, ValueError, "preconditioner_rank=-1: expected"),
        ({"tolerance": 0.0}, ValueError, "tolerance=0.0: expected"),
        ({"max_iterations": 0}, ValueError, "max_iterations=0: expected"),
        ({"seed": -1}, ValueError, "seed=-1: expected"),
    ],
)
def test_bad_arguments(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fastntk.conjugate_gradients(**{"K": Formed(np.eye(3)), "y": np.ones(3), **given})


@dataclass
class Scaling:
    """A diagonal kernel, whose products take the memory of one result."""

    values: npt.NDArray[np.float64]
    dtype: np.dtype[np.float64] = field(default_factory=lambda: np.dtype(np.float64))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.values), len(self.values)

    def matmat(self, V: Any) -> Any:
        return self.values[:, np.newaxis] * V

    def diagonal(self) -> Any:
        return self.values.copy()

    def columns(self, indices: Any) -> Any:
        found = np.zeros((len(self.values), len(indices)))
        found[indices, np.arange(len(indices))] = self.values[indices]
        return found


def test_memory_is_asked_for_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(module, "require_memory", lambda *given: asked.append(given))
    fastntk.conjugate_gradients(Formed(np.eye(100)), np.ones((100, 2)), preconditioner_rank=40)
    _, what, _ = asked[0]
    assert "preconditioner_rank=40: a preconditioner for 100 rows" in what


@pytest.mark.parametrize("rank", [0, 8, COLUMNS_AT_ONCE + 8])
@pytest.mark.parametrize("count", [1, 4, 40])
def test_as_much_memory_is_asked_for_as_is_used(
    rank: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(module, "require_memory", lambda *given: asked.append(given))
    n, random = 10_000, np.random.default_rng(0)
    kernel, right = Scaling(random.uniform(0.1, 10, n)), random.standard_normal((n, count))
    how = module.Iterations.checked(rank, 1e-8, 5)
    tracemalloc.start()
    try:
        module.solution_of(kernel, right, 0.1, how)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Beside the arrays there are some small objects.
    assert used - 2**17 <= asked[0][0] <= 1.25 * used


def test_progress_is_told() -> None:
    seen = []
    found = fastntk.conjugate_gradients(
        Formed(of_spectrum(np.geomspace(1, 100, 60))),
        normal(60),
        preconditioner_rank=10,
        progress=lambda *given: seen.append(given),
    )
    columns = [each for each in seen if each[0] == "columns"]
    assert columns[-1] == ("columns", 10, 10)
    passes = [each for each in seen if each[0] == "iterations"]
    assert [each[1] for each in passes] == list(range(1, int(found.iterations) + 1))
    assert repr(found).startswith("<KernelSolution: coefficients (60,)")


@pytest.mark.parametrize(("of_kernel", "of_right"), [(1e300, 1e-25), (1e300, 1e-10), (1.0, 1e-322)])
def test_solutions_that_have_no_digits(of_kernel: float, of_right: float) -> None:
    K = of_spectrum(np.linspace(1, 2, 12))
    kernel, right = Formed(of_kernel * K), of_right * np.ones((12, 1))
    with pytest.raises(OverflowError, match=r"coefficients of the kernel are below 2.23e-308"):
        fastntk.conjugate_gradients(kernel, right)
    # Beside others, too; and a right-hand side of zeros has a solution of zeros.
    with pytest.raises(OverflowError, match=r"coefficients of the kernel are below 2.23e-308"):
        fastntk.conjugate_gradients(kernel, np.hstack([right, of_kernel * np.ones((12, 1))]))
    assert not fastntk.conjugate_gradients(kernel, 0 * right).coefficients.any()


@pytest.mark.parametrize("rank", [0, 4, 12])
def test_kernels_that_are_not_finite(rank: int) -> None:
    K = of_spectrum(np.linspace(1, 2, 12))
    K[3, 4] = K[4, 3] = np.nan
    with pytest.raises(OverflowError, match=r"^K: expected finite"):
        fastntk.conjugate_gradients(Formed(K), np.ones(12), preconditioner_rank=rank)


def test_what_is_no_square_kernel() -> None:
    with pytest.raises(ValueError, match=r"^K has shape \(12, 5\): expected a symmetric kernel"):
        fastntk.conjugate_gradients(Formed(normal(12, 5)), np.ones(12))
    kernel: Any = normal(12, 12)
    with pytest.raises(TypeError, match=r"^K=<ndarray of shape \(12, 12\)>: expected an operator"):
        fastntk.conjugate_gradients(kernel, np.ones(12))
