# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals of activations with kinks off 0, of softsign, and of multiples of ELU: limits and scales.

Their expectations at ordinary samples are checked with those of all others in `test_duals`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from infinite_reference import pairs_at

from fastntk import activations, infinite
from fastntk.infinite.duals import Correlation, Gaps, dual_of

if TYPE_CHECKING:
    from fastntk.activations import Activation

GAPS = (0.0, 1e-9, 1e-3, 0.3, 1.2, 1.999, 2.0)
KINKED = ("relu6", "hardtanh", "hardsigmoid", "hardswish", "softsign")


def cosines(phi: Activation, s: float, t: float, gap: float) -> list[float]:
    """Return the cosines of φ and of φ' of one pair."""
    dual = dual_of(phi)
    states = dual.state(np.array([s, t]))
    x, z = states.take(slice(0, 1)), states.take(slice(1, 2))
    both = dual.both_gaps(x, z, pairs_at(x, z, gap), tangent=True)
    return [float(gaps.cosine[0, 0]) for gaps in both if gaps is not None]


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("relu6", activations.relu()),
        ("hardtanh", activations.identity()),
        ("hardswish", activations.identity()),
        ("softsign", activations.identity()),
    ],
)
def test_tiny_samples(name: str, limit: Activation, gap: float) -> None:
    """Close to 0 they are linear on either side."""
    phi = activations.get(name)
    for s, t in ((1e-18, 3e-18), (1e-150, 1e-140)):
        np.testing.assert_allclose(
            cosines(phi, s, t, gap), cosines(limit, s, t, gap), rtol=0, atol=1e-14
        )


@pytest.mark.parametrize("gap", GAPS)
def test_huge_samples(gap: float) -> None:
    """Far from 0 they are steps or a ramp, but for parts of 1/s."""
    size = 1e7
    theta = 2 * math.atan2(math.sqrt(gap), math.sqrt(2 - gap))
    step = 1 - theta / math.pi  # twice the probability that both are above 0
    for name, expected in (
        ("relu6", step),
        ("hardsigmoid", step),
        ("hardtanh", 2 * step - 1),
        ("softsign", 2 * step - 1),
    ):
        assert cosines(activations.get(name), size, 3 * size, gap)[0] == pytest.approx(
            expected, rel=0, abs=1e-5
        )
    np.testing.assert_allclose(
        cosines(activations.hardswish(), size, 3 * size, gap),
        cosines(activations.relu(), size, 3 * size, gap),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", KINKED)
def test_equal_samples_have_no_gap(name: str) -> None:
    for s in (0.0, 1e-3, 1.0, 30.0):
        assert cosines(activations.get(name), s, s, 0.0)[1] == 1.0
    assert cosines(activations.get(name), 1.0, 1.0, 0.0)[0] == 1.0


@pytest.mark.parametrize("name", KINKED)
def test_both_ways_agree_where_one_gives_way_to_the_other(name: str) -> None:
    """Series and integrals are the same function of the angle: it has no jump."""
    dual = dual_of(activations.get(name))
    small = np.arange(0.05, 0.2, 0.0005)
    states = dual.state(np.append(np.full(len(small), 2.0), 0.7))
    x, z = states.take(slice(-1, None)), states.take(slice(-1))
    for near in (small, 2 - small):
        gaps = Gaps(near[np.newaxis], (2 - near)[np.newaxis])
        difference = x.deviation[:, np.newaxis] - z.deviation
        for found in dual.both_gaps(x, z, Correlation(gaps, difference), tangent=True):
            assert found is not None
            # Of differences of the eighth order of a smooth function, next to nothing is left.
            assert np.abs(np.diff(found.near[0], 8)).max() < 256 * 1e-14


def test_multiples_of_elu() -> None:
    alpha = 1.6732632423543772848
    pairs = [(0.3, 1.7, gap) for gap in GAPS]
    for s, t, gap in pairs:
        assert cosines(activations.selu(), s, t, gap) == cosines(activations.elu(alpha), s, t, gap)
        assert cosines(activations.celu(0.25), s, t, gap) == cosines(
            activations.elu(), 4 * s, 4 * t, gap
        )
    of_selu, of_elu = (
        dual_of(phi).state(np.ones(1))
        for phi in (
            activations.selu(),
            activations.elu(alpha),
        )
    )
    assert of_selu.activation[0] == pytest.approx(1.0, rel=1e-14)
    ratio = of_selu.derivative[0] / of_elu.derivative[0]
    assert ratio == pytest.approx(1.0507009873554804934, rel=1e-14)


@pytest.mark.parametrize("name", KINKED)
def test_kernels_have_no_negative_eigenvalues(name: str) -> None:
    X = np.random.default_rng(0).standard_normal((10, 4))
    X = np.concatenate([X, 1e-3 * X[:3], -X[:2], 30 * X[:5]])
    net = infinite.Network(2, name, bias_std=0.1)
    K = net.ntk(X)
    eigenvalues = np.linalg.eigvalsh(K)
    assert eigenvalues[0] > -net.kernel_error(X, K)
