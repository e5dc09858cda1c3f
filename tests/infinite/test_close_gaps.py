# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gaps of samples that are nearly multiples of each other, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from fastntk import infinite
from fastntk.infinite.close_gaps import TINY, close_gap, close_gap_error

RANDOM = np.random.default_rng(0)


def exact_gap(x: Any, z: Any) -> mpmath.mpf:
    """Return 1 − |cos θ|, by sin² θ of exact sums."""
    rows = [[Fraction(float(value)) for value in row] for row in (x, z)]
    xx, xz, zz = (
        sum((a * b for a, b in zip(rows[i], rows[j], strict=True)), Fraction())
        for i, j in ((0, 0), (0, 1), (1, 1))
    )
    with mpmath.workdps(80):
        square = (xx * zz - xz * xz) / (xx * zz)
        sine2 = mpmath.mpf(square.numerator) / square.denominator
        return sine2 / (1 + mpmath.sqrt(1 - sine2))


def check(x: Any, z: Any) -> None:
    exact = exact_gap(x, z)
    for a, b in ((x, z), (z, x)):
        for sign in (1.0, -1.0):
            gap = close_gap(np.ascontiguousarray(a), sign * np.ascontiguousarray(b))
            if exact == 0:
                assert gap == (0.0 if sign > 0 else -TINY)
            else:
                assert np.sign(gap) == sign
                off = abs(abs(gap) - exact) / exact
                assert off <= close_gap_error(len(x)), (float(exact), float(off))


@pytest.mark.parametrize("inputs", [1, 2, 64, 784, 3072])
def test_exact_multiples_are_at_no_distance(inputs: int) -> None:
    for _ in range(8):
        first, second = RANDOM.random(2)
        check(np.full(inputs, first), np.full(inputs, second))
        # Of 26 bits each, so that products are exact.
        row = RANDOM.integers(1, 2**26, inputs).astype(float)
        check(row, row * float(RANDOM.integers(1, 2**26)))
    grey = np.stack([np.full(inputs, 0.1), np.full(inputs, 0.3)])
    assert infinite.Network(3).smallest_angle(grey)[:3] == (0.0, 0, 1)


@pytest.mark.parametrize("inputs", [2, 10, 1000, 10_000])
def test_tiny_angles_between_samples_that_are_nearly_multiples(inputs: int) -> None:
    for exponent in (-3, -8, -12, -16, -18, -20, -22, -24, -26, -28):
        x = np.full(inputs, 0.1)
        x[0] = 0.0
        z = 3 * x
        z[0] = 10.0**exponent * np.linalg.norm(z)
        check(x, z)
        step = 10.0**exponent * RANDOM.standard_normal(inputs)
        check(RANDOM.random() * (x + step), x)


def test_the_smallest_angles_that_there_are() -> None:
    """Of integers of 53 bits with the determinant 1; and where entries of other size are exact."""
    a, b = 2**53 - 1, 2**53 - 111
    for _ in range(20):
        # a d − b c = 1
        d = pow(a, -1, b)
        c = (a * d - 1) // b
        x, z = np.array([a, b], dtype=float), np.array([c, d], dtype=float)
        if (float(c), float(d)) == (c, d):
            check(x * 2.0**-53, z * 2.0**-53)
        a, b = b - 2 * int(RANDOM.integers(1, 2**20)), a - 2 * int(RANDOM.integers(1, 2**20))
        while np.gcd(a, b) != 1:
            a -= 2
    for tiny in (1e-30, 1e-100, 1e-150):
        check(np.array([1.0, 0.0]), np.array([0.7, tiny]))
        check(np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, tiny]))
    # One step above what stands for opposite samples, which even functions bring together.
    assert close_gap(np.array([1.0, 0.0]), np.array([1.0, 1e-300])) == 2 * TINY
