# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Linear systems of kernels: which ones rounding decides, which ridge would do, and the reason."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fastntk import infinite
from fastntk.infinite.kernel_system import KernelSystem

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPS = 2.0**-52


def pair(gap: float) -> NDArray[np.float64]:
    """Return a kernel with the eigenvalues gap and 2 − gap."""
    return np.array([[1.0, 1.0 - gap], [1.0 - gap, 1.0]])


def test_systems_are_resolved_from_the_noise_floor_on() -> None:
    # Sixteen roundings of λ_max = 2.
    for gap, resolved in ((40 * EPS, True), (24 * EPS, False), (0.0, False)):
        assert KernelSystem(pair(gap), 0.0, 0.0).resolved is resolved
    # An error of the elements moves eigenvalues by as much for each row.
    for gap, resolved in ((2.1e-6, True), (1.9e-6, False)):
        assert KernelSystem(pair(gap), 0.0, 1e-6).resolved is resolved
    # A ridge is an eigenvalue more.
    assert KernelSystem(pair(0.0), 40 * EPS, 0.0).resolved
    assert not KernelSystem(pair(0.0), 20 * EPS, 0.0).resolved


def test_the_ridge_that_would_do() -> None:
    assert KernelSystem(pair(0.0), 0.0, 0.0).sufficient_ridge == 1e3 * 16 * EPS * 2
    with_error = KernelSystem(pair(0.0), 0.0, 1e-6).sufficient_ridge
    assert with_error == pytest.approx(1e3 * 2e-6, rel=1e-6, abs=0)
    # By the largest element of the diagonal, of a system that is scaled to numbers about 1.
    assert KernelSystem(64 * pair(0.0), 0.0, 0.0).sufficient_ridge == 64e3 * 16 * EPS * 2
    assert KernelSystem(np.zeros((2, 2)), 0.0, 0.0).sufficient_ridge == 0.0
    large = KernelSystem(np.ones((100, 100)), 0.0, 0.0).sufficient_ridge
    assert large == pytest.approx(1e3 * 100 * EPS * 100, rel=1e-12, abs=0)


def test_solutions_do_not_depend_on_norms_that_are_powers_of_two() -> None:
    F = np.random.default_rng(0).standard_normal((5, 8))
    K, right = F @ F.T, np.random.default_rng(1).standard_normal((5, 2))
    scales = 2.0 ** np.array([0, 30, -40, 7, -1])
    plain = KernelSystem(K, 0.0, 0.0)
    scaled = KernelSystem(scales[:, np.newaxis] * K * scales, 0.0, 0.0)
    assert plain.resolved
    assert scaled.resolved
    expected = plain.solve(right)
    np.testing.assert_allclose(K @ expected, right, rtol=1e-12)
    found = scaled.solve(scales[:, np.newaxis] * right)
    np.testing.assert_array_equal(found, expected / scales[:, np.newaxis])
    ridge = KernelSystem(K, 0.5, 0.0).solve(right)
    np.testing.assert_allclose(K @ ridge + 0.5 * ridge, right, rtol=1e-12)


X = np.random.default_rng(5).standard_normal((5, 3))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([X[0], X[1], X[0]], r"X\[0\] and X\[2\] are equal; expected"),
        ([X[0], X[1], 3 * X[0]], r"X\[0\] and X\[2\] are parallel or nearly so; expected"),
        (
            [X[0], X[1], np.zeros(3)],
            r"X\[2\] has a kernel of 0, as a row of zeros has \(1 such rows\); expected",
        ),
        (
            [X[0], X[0], X[1], X[1], X[2], X[2], X[3], X[3], X[4], X[4]],
            r"(X\[\d\] and X\[\d\] are equal, ){3}and 2 more such pairs; expected",
        ),
    ],
)
def test_the_reason_why_a_system_is_singular(
    rows: list[NDArray[np.float64]], expected: str
) -> None:
    regression = infinite.Regression(np.array(rows), activation="relu", depth=1)
    with pytest.raises(np.linalg.LinAlgError) as caught:
        regression.predict(X, np.ones(len(rows)))
    message = str(caught.value)
    assert message.startswith("ridge=0.0: the kernel of X is singular to working precision")
    assert re.search(f"that rounding decides: {expected}", message)
    n, least = len(rows), message.partition("expected ridge=")[2].partition(" ")[0]
    with_it = infinite.Regression(np.array(rows), depth=1, ridge=1.01 * float(least))
    assert np.isfinite(with_it.predict(X, np.ones(n)).mean).all()
    assert message.endswith("or more, ridge='auto', solution='least_squares' or a finite time")


def test_other_reasons() -> None:
    odd = infinite.Regression(np.array([X[0], X[1], -2 * X[0]]), activation="identity", depth=1)
    with pytest.raises(np.linalg.LinAlgError, match=r"X\[0\] and X\[2\] are opposite or nearly so"):
        odd.predict(X, np.ones(3))
    linear = infinite.Regression(X, activation="identity", depth=1)
    with pytest.raises(np.linalg.LinAlgError) as caught:
        linear.predict(X, np.ones(5))
    message = str(caught.value)
    assert "no two rows are the same to it, but together they are dependent (the closest" in message
    units = X / np.linalg.norm(X, axis=1)[:, np.newaxis]
    cosines = np.abs(units @ units.T) - np.eye(5)
    i, j = sorted(np.unravel_index(cosines.argmax(), cosines.shape))
    gap = 1 - cosines.max()
    assert f"(the closest rows, X[{i}] and X[{j}], have |cos| = 1 - {gap:.2g} in it)" in message


def test_predictions_at_several_times_are_those_at_each() -> None:
    regression = infinite.Regression(X, activation="erf", depth=1)
    y = np.arange(5.0)
    times = np.array([0.0, 1.0, math.inf])
    together = regression.predict(X, y, time=times).mean
    assert together.shape == (3, 5)
    for k, time in enumerate(times):
        np.testing.assert_allclose(
            together[k], regression.predict(X, y, time=time).mean, rtol=1e-13, atol=1e-15
        )
    np.testing.assert_allclose(together[0], np.zeros(5), atol=1e-15)
    np.testing.assert_allclose(together[2], y, rtol=1e-9, atol=1e-9)
    # Gradient flow on ½/n ‖f − y‖² with the kernel, by the exponential of the matrix.
    K = infinite.ntk(X, depth=1, activation="erf")
    values, vectors = np.linalg.eigh(K)
    left = vectors @ (np.exp(-values / 5) * (vectors.T @ y))
    np.testing.assert_allclose(together[1], y - left, rtol=1e-10)
