# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Angles from kernels and from gradients."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from long_networks import exact_features
from reference import angle

import fastntk
from fastntk import layers
from fastntk._support.angles import angle_from_chord, angle_from_cosine, angle_from_gap
from fastntk.kernels.angles import kernel_angle_resolution, smallest_eigenvalue_of_pair


@given(st.floats(1e-12, np.pi - 1e-3))
def test_each_number_that_tells_an_angle(theta: float) -> None:
    with mpmath.workdps(60):
        gap = float(1 - mpmath.cos(theta))
        chord = float(2 * mpmath.sin(mpmath.mpf(theta) / 2))
    assert angle_from_gap(np.array(gap)) == pytest.approx(theta, rel=1e-11, abs=0)
    assert angle_from_chord(chord) == pytest.approx(theta, rel=1e-11, abs=0)
    # A cosine is off by half a rounding, and that is all that is lost.
    cosine = np.array(np.cos(theta))
    assert abs(np.cos(angle_from_cosine(cosine)) - cosine) <= 4e-16


def test_ends_of_the_angles() -> None:
    assert angle_from_cosine(np.array([1.0, 0.0, -1.0])).tolist() == [0.0, np.pi / 2, np.pi]
    zero = angle_from_gap(np.array([-0.0, 1.0, 2.0]))
    assert zero.tolist() == [0.0, np.pi / 2, np.pi]
    assert not np.signbit(zero[0])
    assert angle_from_chord(2.0 + 1e-15) == np.pi


def gram(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vectors @ vectors.T


@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 999))
def test_angles_of_random_vectors(n: int, dimension: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((n, dimension))
    K = gram(vectors)
    angles = fastntk.gradient_angles(K)
    expected = np.array([[angle(u, v) for v in vectors] for u in vectors])
    # In one dimension all angles are 0 or π, the worst case: √ε of the angle is lost.
    np.testing.assert_allclose(
        angles, expected, rtol=1e-12, atol=kernel_angle_resolution(float(np.finfo(K.dtype).eps))
    )
    assert np.array_equal(np.diagonal(angles), np.zeros(n))
    assert np.array_equal(angles, angles.T)
    pair = fastntk.smallest_angle(K)
    i, j = np.triu_indices(n, 1)
    assert pair.angle == angles[i, j].min() == angles[pair.i, pair.j]
    assert pair.i < pair.j


@given(st.integers(2, 10), st.integers(1, 60), st.integers(0, 999))
def test_closest_pairs_are_the_sorted_angles(n: int, k: int, seed: int) -> None:
    K = gram(np.random.default_rng(seed).standard_normal((n, 4)))
    angles = fastntk.gradient_angles(K)
    pairs = fastntk.closest_pairs(K, k)
    i, j = np.triu_indices(n, 1)
    assert [p.angle for p in pairs] == np.sort(angles[i, j])[:k].tolist()
    assert all(angles[p.i, p.j] == p.angle for p in pairs)
    assert len({(p.i, p.j) for p in pairs}) == len(pairs)


def test_closest_pairs_across_blocks_of_rows() -> None:
    # Large enough that the search goes through several blocks.
    vectors = np.random.default_rng(0).standard_normal((1700, 6))
    vectors[1650] = vectors[3] + 1e-3
    vectors[1400] = vectors[1300] + 2e-3
    K = gram(vectors)
    pairs = fastntk.closest_pairs(K, 5)
    angles = fastntk.gradient_angles(K)[np.triu_indices(1700, 1)]
    assert [p.angle for p in pairs] == np.sort(angles)[:5].tolist()
    assert {(p.i, p.j) for p in pairs} >= {(3, 1650), (1300, 1400)}


def test_equal_angles_are_listed_in_order() -> None:
    pairs = fastntk.closest_pairs(np.eye(4), 6)
    assert [(p.i, p.j) for p in pairs] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", [0.0, 0.01, 0.1, 10.0, 100.0])
def test_resolution_of_angles_from_a_kernel(dtype: str, factor: float) -> None:
    """A kernel's angle is off by less than the resolution, and flagged when it may mean nothing."""
    resolution = kernel_angle_resolution(float(np.finfo(dtype).eps))
    net = fastntk.MLP([8, 256, 256, 1], dtype=dtype)
    exact = fastntk.MLP([8, 256, 256, 1])
    X = np.random.default_rng(1).standard_normal((40, 8))
    X[17] = X[4] * (1 + 0.5 * factor)
    X[17, 0] += factor * resolution
    X = X.astype(dtype).astype(np.float64)
    pair = fastntk.smallest_angle(net.ntk(X))
    ((truth, _, _, _),) = exact.pair_angles(X, [(4, 17)])
    if truth > 2 * resolution:
        assert pair.resolved
        assert (pair.i, pair.j) == (4, 17)
    assert abs(pair.angle**2 - truth**2) < resolution**2
    if truth < resolution / 2:
        assert not pair.resolved


@pytest.mark.parametrize(
    ("K", "message"),
    [
        (np.ones((2, 3)), r"K has shape \(2, 3\): expected a square matrix"),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), r"K is not symmetric: K\[0, 1\]"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), r"K\[1, 1\]=.*0\.0.*: expected a positive diagonal"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), r"K\[0, 1\]=.*nan.*: expected numbers"),
        (np.ones(3), r"K has shape \(3,\): expected a matrix"),
        (np.ones((0, 0)), r"K has shape \(0, 0\): expected at least one"),
    ],
)
def test_bad_kernels(K: npt.NDArray[np.float64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastntk.gradient_angles(K)
    with pytest.raises(ValueError, match=message):
        fastntk.smallest_angle(K)


@given(
    n=st.integers(2, 20),
    dimension=st.integers(1, 30),
    distance=st.floats(1e-9, 1.0),
    spread=st.floats(0.0, 3.0),
    seed=st.integers(0, 9999),
)
def test_the_smallest_angle_bounds_the_smallest_eigenvalue(
    n: int, dimension: int, distance: float, spread: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, dimension))
    vectors[1] = vectors[0] + distance * random.standard_normal(dimension)
    K = gram(vectors * np.exp(spread * random.standard_normal((n, 1))))
    bound = fastntk.angle_bound(K)
    eigenvalues = np.linalg.eigvalsh(K)
    rounding = 4 * n * np.finfo(np.float64).eps * eigenvalues[-1]
    assert eigenvalues[0] <= bound + rounding
    pair = fastntk.smallest_angle(K)
    largest = float(np.diagonal(K)[[pair.i, pair.j]].max())
    assert bound <= 2 * largest * np.sin(pair.angle / 2) ** 2 * (1 + 1e-12)
    result = fastntk.conditioning(K)
    if result.resolved:
        assert result.condition_number >= eigenvalues[-1] / (bound + rounding) * (1 - 1e-9)


@given(a=st.floats(1e-150, 1e150), b=st.floats(1e-150, 1e150), angle=st.floats(1e-12, np.pi - 1e-6))
def test_the_bound_is_the_smallest_eigenvalue_of_the_pair(a: float, b: float, angle: float) -> None:
    with mpmath.workdps(400):
        product = mpmath.mpf(a) * b
        half, across = (mpmath.mpf(a) + b) / 2, product * mpmath.cos(angle) ** 2
        exact = half - mpmath.sqrt(((mpmath.mpf(a) - b) / 2) ** 2 + across)
        assert smallest_eigenvalue_of_pair(angle, a, b) == pytest.approx(
            float(exact), rel=1e-13, abs=0
        )


def test_the_bound_of_a_given_pair_has_its_digits() -> None:
    net = fastntk.MLP([4, 64, 64, 1])
    X = np.random.default_rng(0).standard_normal((10, 4))
    X[7] = X[2]
    X[7, 0] += 1e-12
    K = net.ntk(X)
    pair = net.smallest_angle(X)
    expected = 0.5 * pair.angle**2 * (K[2, 2] + K[7, 7]) / 2
    assert fastntk.angle_bound(K, pair) == pytest.approx(expected, rel=1e-6, abs=0)
    assert 0 < fastntk.angle_bound(K, pair) < 1e-20


def test_bad_pairs() -> None:
    for i, j in ((1, 1), (2, 1), (0, 3), (-1, 2)):
        with pytest.raises(ValueError, match="expected samples i < j of the 3 of K"):
            fastntk.angle_bound(np.eye(3), fastntk.AnglePair(0.1, i, j, True))
    with pytest.raises(ValueError, match=r"K\[1, 1\]=.*: expected a positive diagonal"):
        fastntk.angle_bound(np.diag([1.0, 0.0]))


def test_bad_counts() -> None:
    with pytest.raises(ValueError, match=r"K has shape \(1, 1\): expected at least two samples"):
        fastntk.smallest_angle([[1.0]])
    with pytest.raises(ValueError, match="k=0: expected an integer of at least 1"):
        fastntk.closest_pairs(np.eye(3), 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_angles_of_kernels_that_came_in_less_precision(dtype: type[np.floating]) -> None:
    """What float16 rounded away is not there because float64 has room for it."""
    # The smallest angle that the precision lets through: one step below 1.
    step = float(np.finfo(dtype).eps) / 2
    K = np.array([[1.0, 1 - step, 0.0], [1 - step, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert fastntk.smallest_angle(K).resolved  # in float64
    pair = fastntk.smallest_angle(K.astype(dtype))
    assert pair.angle == pytest.approx(np.sqrt(2 * step), rel=1e-3, abs=0)
    assert not pair.resolved
    assert fastntk.smallest_angle(np.eye(2, dtype=dtype)).resolved


def exact_angle(net: fastntk.MLP, x: Any, z: Any) -> float:
    """Return the angle between two gradients, to an absolute accuracy of 1e-18."""
    F = exact_features(net, np.stack([x, z])).reshape(2, -1)
    u, v = F / np.sqrt((F**2).sum(axis=1))[:, np.newaxis]
    minus, plus = (np.sqrt((w**2).sum()) for w in (u - v, u + v))
    return float(2 * np.arctan2(minus, plus))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs", "identity"])
@pytest.mark.parametrize("factor", [2.0, 0.5, 2.0**40, 1.0])
def test_small_angles_between_a_sample_and_nearly_a_multiple(
    activation: str, factor: float
) -> None:
    """Samples of which one is nearly the other times a power of two are as good as close ones."""
    rng = np.random.default_rng(0)
    net = fastntk.MLP([5, 32, 32, 1], activation=activation)
    for step in (1e-3, 1e-6, 1e-9):
        x = rng.standard_normal(5)
        z = factor * x * (1 + step * rng.standard_normal(5))
        ((angle, _, _, resolved), (back, _, _, _)) = net.pair_angles([x, z], [(0, 1), (1, 0)])
        assert resolved
        expected = exact_angle(net, x, z)
        assert angle == pytest.approx(expected, rel=1e-9 + 1e-17 / step, abs=0)
        assert back == pytest.approx(expected, rel=1e-9 + 1e-17 / step, abs=0)
    # As small as it gets.
    pair = net.smallest_angle([[1.0, 0, 0, 0, 0], [factor, factor * 1e-30, 0, 0, 0]])
    assert pair.resolved
    assert 1e-32 < pair.angle < 1e-29


def random_pair(rng: np.random.Generator, inputs: int) -> tuple[Any, Any]:
    x = rng.standard_normal(inputs) * 10.0 ** rng.choice([-1, 0, 1])
    near = x * (1 + 10.0 ** rng.integers(-16, 0) * rng.standard_normal(inputs))
    factor = float(rng.choice([1.0, 2.0, 3.0, -1.0, 1e-3, 0.1]))
    return x, factor * near if rng.random() < 0.8 else rng.standard_normal(inputs)


def check_pair(rng: np.random.Generator) -> tuple[float, float, bool]:
    """Return the angle of a random pair, its error, and whether it is resolved."""
    names = ["relu", "abs", "leaky_relu", "identity", "relu2", "tanh", "silu", "elu", "sin"]
    depth, inputs = int(rng.choice([0, 1, 2, 4])), int(rng.integers(2, 6))
    net = fastntk.MLP(
        [inputs, *[16] * depth, 1],
        activation=str(rng.choice(names)),
        bias_std=float(rng.choice([0.0, 0.3])),
        seed=int(rng.integers(2**32)),
    )
    x, z = random_pair(rng, inputs)
    ((angle, _, _, resolved),) = net.pair_angles([x, z], [(0, 1)])
    expected = exact_angle(net, x, z)
    return expected, abs(angle - expected), resolved


def test_what_is_resolved_of_angles_has_a_digit() -> None:
    rng = np.random.default_rng(1)
    found = [check_pair(rng) for _ in range(400)]
    for expected, error, resolved in found:
        if resolved:
            assert error <= 0.5 * expected + 1e-17
        elif not np.isnan(error):
            assert expected < 1e-12  # a sixty-fourfold error, and no more
    assert 5 < sum(not resolved for _, _, resolved in found) < 200


@pytest.mark.parametrize("exponent", [-30, 0, 6, 12, 26, 40])
def test_angles_have_their_digits_at_any_size_of_samples(exponent: int) -> None:
    """Activations make of a step something with digits of its own, wherever the step begins."""
    rng = np.random.default_rng(0)
    x, direction = np.ldexp(rng.standard_normal((2, 5)), exponent)
    x, direction = (np.float64(np.float32(v)) for v in (x, direction))  # for sums without rounding
    phis: list[Any] = ["relu", "abs", "relu2", "gelu", "silu", "elu", "softplus"]
    if exponent <= 0:  # larger ones saturate, or turn all digits round
        phis += ["tanh", "sigmoid", "erf", "sin", "cos"]
    for phi in phis:
        net = fastntk.MLP([5, 32, 32, 1], activation=phi, bias_std=0.3, seed=1)
        for halvings in (0, 2, 4, 7, 10, 13, 17, 21, 25, 28):
            z = x + np.ldexp(direction, -halvings)
            ((angle, _, _, resolved), (back, _, _, _)) = net.pair_angles([x, z], [(0, 1), (1, 0)])
            expected = exact_angle(net, x, z)
            # The reference has errors of its own.
            allowed = pytest.approx(expected, rel=1e-12, abs=1e-18)
            assert angle == allowed, (phi, halvings)
            assert back == allowed, (phi, halvings)
            assert resolved


def test_angles_of_powers_near_zero() -> None:
    """Where φ turns over a distance as small as the argument itself."""
    for degree in (2, 3):
        phi = fastntk.activations.rectified_monomial(degree)
        net = fastntk.MLP([2, 16, 16, 1], activation=phi, seed=4)
        x = 1e-6 * np.random.default_rng(4).standard_normal(2)
        for z in (3 * x, x * [1.3, 1.0], 2 * x * [1.001, 1.0]):
            ((angle, _, _, _),) = net.pair_angles([x, z], [(0, 1)])
            assert angle == pytest.approx(exact_angle(net, x, z), rel=1e-9, abs=1e-13)
    steep = fastntk.MLP([2, 16, 16, 1], activation=fastntk.activations.sine(1e4), seed=4)
    x = np.array([0.3, -0.7])
    z = x + np.array([1e-9, 0.0])
    ((angle, _, _, _),) = steep.pair_angles([x, z], [(0, 1)])
    assert angle == pytest.approx(exact_angle(steep, x, z), rel=1e-7, abs=0)


@pytest.mark.parametrize(
    "net",
    [
        fastntk.MLP([2, 24, 24, 2]),
        fastntk.MLP([2, 1]),
        fastntk.MLP([2, 24, 24, 1], activation="tanh", bias_std=0.1),
        fastntk.Network(
            [layers.Dense(24), layers.Activation("gelu"), layers.Dense(1)], inputs=2
        ).sample(),
    ],
    ids=["relu", "linear", "biases", "layers"],
)
def test_angles_of_differences_whose_squares_vanish(net: Any) -> None:
    """The angle is in proportion to so small a difference."""
    share = net.smallest_angle([[1.0, 0.0], [1.0, 1e-100]]).angle / 1e-100
    for distance in (1e-140, 1e-153, 1e-158, 1e-161, 1e-170, 1e-220, 1e-280):
        X = np.array([[1.0, 0.0], [1.0, distance], [0.0, 1.0]])
        pair = net.smallest_angle(X)
        assert pair.angle / distance == pytest.approx(share, rel=1e-12, abs=0)
        assert pair[1:] == (0, 1, True)
        assert net.pair_angles(X, [(1, 0)])[0].angle == pytest.approx(pair.angle, rel=1e-12, abs=0)
    for distance in (1e-300, 1e-310):  # which has lost digits on the way
        assert net.smallest_angle([[1.0, 0.0], [1.0, distance]]) == (0.0, 0, 1, False)


def test_gradients_whose_squares_vanish_have_no_angle() -> None:
    net = fastntk.MLP([2, 8, 8, 1], activation="relu2")
    ((angle, _, _, resolved),) = net.pair_angles([[1e-50, 0.0], [0.0, 1e-50]], [(0, 1)])
    assert np.isnan(angle)
    assert not resolved
    # The ratio of two gradients may be out of range all the same.
    deep = fastntk.MLP([2, *[8] * 6, 1], activation="relu2")
    X = np.array([[1e-2, 0.0], [0.0, 1e2]])
    F = deep.jacobian(X)[:, 0]
    F /= np.abs(F).max(axis=1)[:, np.newaxis]
    cosine = F[0] @ F[1] / np.linalg.norm(F[0]) / np.linalg.norm(F[1])
    found = deep.pair_angles(X, [(0, 1), (1, 0)])
    assert [pair.angle for pair in found] == pytest.approx(
        [np.arccos(cosine)] * 2, rel=1e-12, abs=0
    )


@pytest.mark.parametrize("size", [1e-150, 1e-170, 2.0**-1000, 1e170])
@pytest.mark.parametrize("activation", ["relu", "abs"])
def test_small_samples_beside_others(size: float, activation: str) -> None:
    """Networks without biases make no difference between sizes, and all pairs are compared."""
    net = fastntk.MLP([4, 16, 1], activation=activation)
    X = np.random.default_rng(3).standard_normal((6, 4))
    plain = net.smallest_angle(X, k=15)
    sizes = np.array([size] * 3 + [1.0] * 3)[:, np.newaxis]
    found = net.smallest_angle(sizes * X, k=15)
    assert [pair[1:] for pair in found] == [pair[1:] for pair in plain]
    angles = [pair.angle for pair in plain]
    assert [pair.angle for pair in found] == pytest.approx(angles, rel=1e-12, abs=0)
    pairs = [(i, j) for _, i, j, _ in plain]
    found = net.pair_angles(sizes * X, pairs)
    assert [pair.angle for pair in found] == pytest.approx(angles, rel=1e-12, abs=0)


@pytest.mark.parametrize("psi", ["identity", "softplus"])
@pytest.mark.parametrize("ratio", [1e5, 1e9, 1e100])
def test_angles_of_samples_of_very_different_sizes(psi: str, ratio: float) -> None:
    # Far from 0 nothing is left of the slope of a tanh, as of a small sample beside a large one.
    net = fastntk.MLP([2, 4, 2], activation="tanh", output_activation=psi)
    x = np.array([-0.1, -1.3])
    X = np.stack([x, ratio * x])
    F = net.jacobian(X).reshape(2, -1)
    F /= np.linalg.norm(F, axis=1)[:, np.newaxis]
    expected = 2 * np.arctan2(np.linalg.norm(F[0] - F[1]), np.linalg.norm(F[0] + F[1]))
    assert 0.2 < expected < 1
    found = net.pair_angles(X, [(0, 1), (1, 0)])
    assert [pair.angle for pair in found] == pytest.approx([expected] * 2, rel=1e-12, abs=0)


def test_outputs_without_a_gradient_at_one_sample() -> None:
    # The square of the slope of the second tanh vanishes at the first sample.
    net = fastntk.MLP.from_weights([np.diag([0.1, 90.0])], output_activation="tanh")
    X = np.array([[1.0, 3.0], [2.0, 0.001]])
    F = net.jacobian(X).reshape(2, -1)
    cosine = F[0] @ F[1] / np.linalg.norm(F[0]) / np.linalg.norm(F[1])
    found = net.pair_angles(X, [(0, 1), (1, 0)])
    assert [pair.angle for pair in found] == pytest.approx(
        [np.arccos(cosine)] * 2, rel=1e-10, abs=0
    )
