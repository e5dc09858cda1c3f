# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Regression at infinite width without the kernel: what its Cholesky decomposition gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastntk import infinite
from fastntk.infinite import iterative_regression, regression
from fastntk.symmetric.conjugate_gradients import solution_of

RANDOM = np.random.default_rng(0)
X, Z = RANDOM.standard_normal((60, 4)), RANDOM.standard_normal((7, 4))
TARGETS = RANDOM.standard_normal((60, 2))


@pytest.mark.parametrize("ridge", [0.0, 0.1])
@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
def test_the_predictions_of_a_decomposition(kernel: str, ridge: float) -> None:
    options: dict[str, Any] = {"depth": 2, "bias_std": 0.1, "kernel": kernel, "ridge": ridge}
    expected = infinite.predict(X, TARGETS, Z, **options)
    found = infinite.predict(
        X, TARGETS, Z, solver="cg", solver_tolerance=1e-11, preconditioner_rank=20, **options
    )
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=1e-7)
    assert found.covariance is None
    solution: Any = found.solution  # type: ignore[attr-defined]
    assert solution.converged.tolist() == [True, True]
    assert solution.coefficients.shape == (60, 2)
    assert (solution.residuals <= 1e-11).all()
    single = infinite.Network(2, bias_std=0.1).predict(
        X, TARGETS[:, 0], Z, kernel=kernel, ridge=ridge, solver="cg"
    )
    assert single.mean.shape == (7,)
    np.testing.assert_allclose(single.mean, expected.mean[:, 0], rtol=0, atol=1e-4)


def test_rows_in_blocks_and_solutions_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    solved = []

    def counted(*given: Any) -> Any:
        solved.append(given)
        return solution_of(*given)

    monkeypatch.setattr(iterative_regression, "solution_of", counted)
    fitted = infinite.Regression(X, depth=2, ridge=0.1, solver="cg")
    assert fitted.ridge == 0.1
    assert repr(fitted).startswith("<Regression: ntk, 60 samples, ridge 0.1, ")
    whole = fitted.predict(Z, TARGETS).mean
    monkeypatch.setattr(iterative_regression, "_CROSS_KERNEL_ENTRIES", 150)
    np.testing.assert_allclose(fitted.predict(Z, TARGETS).mean, whole, rtol=0, atol=1e-12)
    assert len(solved) == 1
    fitted.predict(Z, TARGETS + 1)
    assert len(solved) == 2


def test_many_samples_choose_conjugate_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, chosen in ((60, False), (59, True)):
        monkeypatch.setattr(regression, "_MOST_FACTORIZED", most)
        found = infinite.predict(X, TARGETS, Z, depth=1, ridge=0.1, solver="auto")
        assert hasattr(found, "solution") is chosen


def test_repeated_samples_with_other_targets() -> None:
    twice = np.concatenate([X, X])
    with pytest.warns(RuntimeWarning, match=r"solver_tolerance=1e-08: 2 of 2 right-hand sides"):
        infinite.predict(
            twice, RANDOM.standard_normal((120, 2)), Z, depth=1, solver="cg", max_iterations=30
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"solver": "lu"}, "solver='lu': expected one of 'cholesky', 'cg', 'auto'"),
        ({"ridge": "auto"}, "ridge='auto': expected a number of at least 0 with solver='cg'"),
        ({"solution": "least_squares"}, "solution='least_squares': expected 'unique' with solver"),
        ({"time": 3.0}, "time=3.0, steps=None, covariance=False: expected the mean at the end"),
        ({"steps": 3, "learning_rate": 0.1}, "steps=3, covariance=False: expected the mean"),
        ({"covariance": True}, "covariance=True: expected the mean at the end of training"),
        ({"depth": [1, 2]}, r"depth=\[1, 2\]: expected an integer"),
        ({"solver_tolerance": 0.0}, "solver_tolerance=0.0: expected a finite number above 0"),
        ({"preconditioner_rank": -1}, "preconditioner_rank=-1: expected"),
        ({"max_iterations": 0}, "max_iterations=0: expected"),
    ],
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        infinite.predict(X, TARGETS, Z, **{"depth": 1, "solver": "cg", **given})
