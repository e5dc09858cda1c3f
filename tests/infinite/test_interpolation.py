# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Interpolation of costly functions of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fastntk import activations, infinite
from fastntk.infinite.duals.interpolation import interpolated

Array = npt.NDArray[np.float64]


def recorded(points: list[float], kink: float = 0.0) -> Any:
    def function(s: Array) -> Array:
        points.extend(s.tolist())
        vectors = np.stack([np.cos(3 * np.log(s)), 1e5 * s**2, 1e5 * np.abs(s - kink)])
        return np.vstack([vectors, np.linalg.norm(vectors, axis=0)])

    return function


@pytest.mark.parametrize("error", [1e-4, 1e-9, 1e-13])
@pytest.mark.parametrize("width", [1e-9, 0.3, 2.0])
def test_smooth_functions_are_computed_at_few_points(error: float, width: float) -> None:
    s = np.sort(1.3 * np.exp(width * np.random.default_rng(0).uniform(-1, 1, 1000)))
    points: list[float] = []
    found = interpolated(recorded(points), s, error)
    right = recorded([])(s)
    assert len(points) == len(set(points)) <= 129
    off = np.linalg.norm(found[:-1] - right[:-1], axis=0) / right[-1]
    assert off.max() <= error
    assert np.abs(found[-1] / right[-1] - 1).max() <= error


def test_others_are_computed_for_all_samples() -> None:
    s = np.linspace(1.0, 2.0, 200)
    function = recorded([], kink=1.5)
    np.testing.assert_array_equal(interpolated(function, s, 1e-10), function(s))


def test_the_worst_point_decides() -> None:
    """Far from a kink a few points are enough, near it they are not."""
    s = np.linspace(1.0, 2.0, 4000)

    def function(s: Array) -> Array:
        vectors = np.stack([np.ones_like(s), np.abs(s - 1.5)])
        return np.vstack([vectors, np.linalg.norm(vectors, axis=0)])

    off = np.abs(interpolated(function, s, 1e-3)[:-1] - function(s)[:-1])
    assert off.max() <= 2e-3


@pytest.mark.parametrize("n", [0, 1, 2, 17])
def test_few_samples_are_not_interpolated(n: int) -> None:
    s = np.linspace(1.0, 2.0, n)
    points: list[float] = []
    interpolated(recorded(points), s, 1e-3)
    assert points == s.tolist()


@pytest.mark.parametrize("derivative", [False, True])
def test_kernels_of_many_samples_are_those_of_few(derivative: bool) -> None:
    softplus = activations.softplus()
    assert softplus.function is not None
    phi = activations.custom(softplus.function, softplus.derivative if derivative else None)
    X = np.random.default_rng(0).standard_normal((120, 5))
    X[3] = 0.0
    whole = infinite.ntk(X, depth=2, activation=phi, tolerance=1e-8)
    few = [3, 0, 60, 119]
    expected = infinite.ntk(X[few], depth=2, activation=phi, tolerance=1e-8)
    np.testing.assert_allclose(whole[np.ix_(few, few)], expected, rtol=1e-10)
