# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Double-double arithmetic beside numbers of 60 digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import numpy.typing as npt
from hypothesis import example, given
from hypothesis import strategies as st

from fastntk.infinite.double_double import Scaled, lengths, product

if TYPE_CHECKING:
    Array = npt.NDArray[np.float64]

SIGNIFICANDS = st.floats(0.5, 1.0, exclude_max=True)
NUMBERS = st.tuples(SIGNIFICANDS, st.floats(-0.5, 0.5), st.integers(-400, 400))


def made(numbers: list[tuple[float, float, int]]) -> Scaled:
    high, low, exponents = (np.array(part) for part in zip(*numbers, strict=True))
    return Scaled.of(np.stack([high, low * 2.0**-53]), exponents)


def exact(parts: Array, exponent: Any = 0) -> Any:
    return (mpmath.mpf(float(parts[0])) + mpmath.mpf(float(parts[1]))) * mpmath.mpf(2) ** int(
        exponent
    )


@given(NUMBERS, NUMBERS, SIGNIFICANDS)
def test_products_and_quotients(
    x: tuple[float, float, int], y: tuple[float, float, int], factor: float
) -> None:
    a, b = made([x]), made([y])
    with mpmath.workdps(60):
        left, right = (exact(each.parts[:, 0], each.exponents[0]) for each in (a, b))
        for found, expected in ((a.over(b), left / right), (a.times(factor), left * factor)):
            off = exact(found.parts[:, 0], found.exponents[0]) - expected
            assert abs(off) <= 2.0**-98 * expected
            assert 0.5 <= found.parts[0, 0] < 1
        both = exact(a.parts[:, 0]) * exact(b.parts[:, 0])
        assert abs(exact(product(a.parts, b.parts)[:, 0]) - both) <= 2.0**-98 * both


@example([(0.5, 0.0, 400), (0.75, 0.25, -400)])
@example([(0.5, -0.5, 0)])
@given(st.lists(NUMBERS, min_size=1, max_size=3))
def test_unit_vectors(numbers: list[tuple[float, float, int]]) -> None:
    length, entries = lengths([made([each]) for each in numbers])
    with mpmath.workdps(200):
        every = [made([each]) for each in numbers]
        values = [exact(each.parts[:, 0], each.exponents[0]) for each in every]
        expected = mpmath.sqrt(sum(value**2 for value in values))
        off = exact(length.parts[:, 0], length.exponents[0]) - expected
        assert abs(off) <= 2.0**-98 * expected
        for value, entry in zip(values, entries, strict=True):
            of_unit = value / expected
            assert abs(exact(entry[:, 0]) - of_unit) <= 2.0**-98 * of_unit + 2.0**-800


def test_what_is_nothing_stays_nothing() -> None:
    zero = Scaled.filled(0.0, 3)
    length, entries = lengths([zero, zero])
    assert not length.parts.any()
    assert not np.any(entries)
    assert not zero.over(zero).parts.any()
    np.testing.assert_array_equal(Scaled.filled(0.75, 3).value, [[0.75] * 3, [0.0] * 3])
