# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every angle at infinite width is right or says that it is not: against many digits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from exact_networks import CASES, DIGITS, PIECEWISE_LINEAR, covariance_of, exact_angle, exact_gaps

from fastntk import infinite
from fastntk.infinite.gap_bounds import bounded_gaps, input_error
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.layer_factors import LayerFactors
from fastntk.infinite.sample_norms import Samples


def pairs_of_all_kinds(rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
    """Return near-duplicates, parallel, opposite, small, large and unequal pairs, and others."""
    x, direction = rng.standard_normal((2, 3))
    distance = 10.0 ** rng.uniform(-16, -1)
    near = x + distance * np.linalg.norm(x) * direction
    small, ratio = 10.0 ** rng.uniform(-12, -3), 10.0 ** rng.uniform(-3, 3)
    pairs = [
        (x, direction),
        (x, near),
        (x, -near),
        (x, -x),
        (x, 2 * x),
        (x, (1 + distance) * x),
        (small * x, -0.1 * small * near),
        (small * x, small * direction),
        (x, ratio * direction),
        (3 * x, 3 * near),
    ]
    return [np.array(pair) for pair in pairs if (pair[0] != pair[1]).any()]


def check_pairs(name: str, bias: float, seeds: range) -> tuple[int, int, int]:
    """Check angles and bounds; return how many are resolved, how many could be, and all."""
    case = CASES[name]
    kind = "ntk" if case.slope else "nngp"
    resolved = could = total = 0
    for seed in seeds:
        rng = np.random.default_rng([seed, len(name)])
        depth = int(rng.choice([1, 2, 3, 6, 12, 20]))
        weight = float(rng.choice([0.7, 1.0, 1.5, 3.0]))
        if name in ("exponential", "monomial", "relu2"):  # their sizes grow like towers of powers
            depth, weight = min(depth, 2), min(weight, 1.0)
        net = infinite.Network(depth, case.phi, weight, bias, activation_scale=1.0)
        for position, pair in enumerate(pairs_of_all_kinds(rng)):
            samples = Samples.of(pair)
            try:
                factors = LayerFactors.of(samples.norms, net)
            except (OverflowError, ValueError):  # refused, as its sizes or its series are too long
                assert name in ("exponential", "series")
                continue
            sides = factors.take(slice(0, 1)), factors.take(slice(1, 2))
            gap = np.empty((1, 1))
            fill_gaps(samples, samples, slice(0, 1), slice(1, 2), gap, same=True)
            ((hidden, gradients),) = bounded_gaps(
                net, sides, gap, input_error(gap, 3), tangent=kind == "ntk"
            )
            bounded = gradients if kind == "ntk" else hidden
            near, far, error = (float(each[0, 0]) for each in (*bounded.gaps, bounded.error))
            with mpmath.workdps(DIGITS):
                exact = exact_gaps(case, covariance_of(pair), depth, weight, bias)[kind == "ntk"]
                about = f"{name}, bias {bias}, depth {depth}, weight {weight}, {pair!r}"
                rounding = 2.0**-52 * (4 + depth)  # of the larger gap, layer by layer
                assert abs(near - exact) <= error + rounding * near, about
                assert abs(far - (2 - exact)) <= error + rounding * far, about
                angle = exact_angle(exact)
                low, high = (float(end[0, 0]) for end in bounded.angle_bounds)
                assert low <= angle <= high, about
                total += 1
                could += min(float(exact), 2 - float(exact)) > 1e-3
                if bounded.resolved[0, 0]:
                    resolved += 1
                    assert abs(float(bounded.gaps.angle[0, 0]) - angle) <= 1e-3 * angle, about
                if kind == "ntk" and position < 3:
                    found = net.smallest_angle(pair)
                    assert found.resolved == bounded.resolved[0, 0]
                    if found.resolved:
                        assert abs(found.angle - angle) <= 1e-3 * angle, about
    return resolved, could, total


@pytest.mark.parametrize("bias", [0.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_angles_of_pairs(name: str, bias: float) -> None:
    resolved, could, total = check_pairs(name, bias, range(2 if bias == 0 else 1))
    assert total >= 8
    assert resolved == total if name in PIECEWISE_LINEAR else resolved >= 0.8 * could


@pytest.mark.long
@pytest.mark.parametrize("bias", [0.0, 0.01, 0.5, 2.0])
@pytest.mark.parametrize("name", CASES)
def test_angles_of_many_pairs(name: str, bias: float) -> None:
    resolved, could, total = check_pairs(name, bias, range(100, 140))
    assert resolved == total if name in PIECEWISE_LINEAR else resolved >= 0.8 * could


@pytest.mark.parametrize("power", [-900, -600, 520, 700, 1020])
def test_sizes_whose_squares_are_out_of_range(power: int) -> None:
    """Samples and biases times a power of two have, without activations that bend, the same bits.

    In between, weights may bring samples to sizes that every activation takes.
    """
    X = np.random.default_rng(0).standard_normal((5, 4))
    scale = 2.0**power
    for phi in ("identity", "relu"):
        usual, scaled = (infinite.Network(3, phi, 1.0, 0.5 * by) for by in (1.0, scale))
        assert scaled.smallest_angle(X * scale) == usual.smallest_angle(X)
        assert usual.smallest_angle(X).resolved
    if power > 0:
        usual, scaled = (
            infinite.Network(2, ["relu", "tanh"], [1.0, 1 / by, 1.0], [0.5 * by, 0.5, 0.5])
            for by in (1.0, scale)
        )
        assert scaled.smallest_angle(X * scale) == usual.smallest_angle(X)
        K = scaled.ntk(X * scale, normalize=True)
        np.testing.assert_array_equal(K, usual.ntk(X, normalize=True))
