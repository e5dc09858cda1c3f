# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Angles at infinite width: all digits, and what arXiv 2305.08813 proves of them."""

from __future__ import annotations

import math
import re

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from infinite_reference import exact_angles

import fastntk
from fastntk import infinite
from fastntk.infinite.angles import Angles
from fastntk.infinite.duals import half_angle

THETAS = [
    *(1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 0.01, 0.0624, 0.0626, 0.5, 1.0, 1.5707, 1.5708, 2.0, 3.0),
    *(3.1415, 3.1415926, math.pi - 1e-10, math.pi),
]
angles = st.floats(1e-10, math.pi)
depths = st.integers(1, 60)


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("depth", [0, 1, 3, 10, 100])
def test_all_digits(theta: float, depth: int) -> None:
    embedding, gradient = exact_angles(theta, depth)
    assert abs(float(infinite.embedding_angle(theta, depth) / embedding - 1)) < 1e-14
    assert abs(float(infinite.gradient_angle(theta, depth) / gradient - 1)) < 1e-14


def test_errors_do_not_add_up_with_depth() -> None:
    embedding, gradient = exact_angles(1.0, 10_000)
    assert abs(float(infinite.embedding_angle(1.0, 10_000) / embedding - 1)) < 1e-14
    assert abs(float(infinite.gradient_angle(1.0, 10_000) / gradient - 1)) < 1e-14


def test_values_of_the_paper() -> None:
    actual = np.degrees(infinite.gradient_angle([0.05, 1.0, 2.0], [1, 3, 6]))
    expected = [
        [7.77410, 59.85149, 90.37245],
        [12.74962, 62.94097, 78.77310],
        [17.60961, 65.54387, 74.22384],
    ]
    np.testing.assert_allclose(actual, expected, atol=5e-6)


@pytest.mark.parametrize(
    ("coefficients", "function"),
    [
        (half_angle.ANGLE_COEFFICIENTS, lambda e, s: e / (mpmath.pi * s)),
        (half_angle.ARC_COEFFICIENTS, lambda e, _: e / (mpmath.pi * mpmath.sin(e))),
        (
            half_angle.DEFICIT_COEFFICIENTS,
            lambda e, s: (mpmath.sin(e) - e * mpmath.cos(e)) / (mpmath.pi * s**3),
        ),
    ],
)
def test_polynomials(coefficients: tuple[float, ...], function: object) -> None:
    assert callable(function)
    with mpmath.workdps(60):
        for v in np.linspace(1e-9, 0.5, 300):
            root = mpmath.sqrt(mpmath.mpf(v))
            exact = function(2 * mpmath.asin(root), root)
            value = mpmath.fsum(c * mpmath.mpf(v) ** k for k, c in enumerate(coefficients))
            assert abs(value / exact - 1) < 1e-16


@given(angles)
def test_map_falls_below_the_identity(theta: float) -> None:
    image = float(infinite.angle_map(theta))
    assert 0 <= image <= theta
    # At 1e-16 the difference θ²/(3π) is below the rounding of θ.
    assert image < theta or theta < 1e-14


@given(angles, st.floats(1e-6, 1.0))
def test_map_increases(theta: float, factor: float) -> None:
    smaller = theta * factor * (1 - 1e-9)
    lower, upper = infinite.angle_map([smaller, theta])
    assert lower <= upper
    # At π the map is flat: what is left of the difference is (π − θ)²/(2π).
    assert lower < upper or math.pi - smaller < 1e-7


def test_map_at_its_ends() -> None:
    assert infinite.angle_map(0.0) == 0.0
    assert infinite.angle_map(math.pi) == pytest.approx(math.pi / 2, rel=1e-15, abs=0)


@given(angles)
def test_iterated_map_falls_to_zero(theta: float) -> None:
    path = infinite.embedding_angle(theta, [0, 1, 10, 100, 10_000])
    assert (np.diff(path) <= 0).all()
    # θ^l tends to 3π/l.
    assert path[-1] <= 3 * math.pi / 10_000 * 1.01


@given(st.floats(1e-8, 1e-4), st.integers(1, 10))
def test_small_angles_by_expansion(theta: float, depth: int) -> None:
    # The next term is of third order.
    fall = theta - float(infinite.embedding_angle(theta, depth))
    expected = depth * theta**2 / (3 * math.pi)
    assert abs(fall - expected) < 10 * depth**2 * theta**3 + 4e-16 * theta
    cosine = 1 - 2 * math.sin(float(infinite.gradient_angle(theta, depth)) / 2) ** 2
    assert abs(cosine - (1 - depth * theta / (2 * math.pi))) < depth**2 * theta**2 + 4e-16


@given(st.floats(1e-10, 0.05), st.integers(1, 15))
def test_gradients_separate_small_angles(theta: float, depth: int) -> None:
    assert float(infinite.gradient_angle(theta, depth)) > theta


@given(st.floats(1e-10, 0.01), st.integers(1, 15))
def test_deeper_networks_separate_more(theta: float, depth: int) -> None:
    shallow, deep = infinite.gradient_angle(theta, [depth, depth + 1])
    assert deep > shallow


def test_slow_approach_to_the_limit() -> None:
    path = np.degrees(infinite.gradient_angle(0.3, [10, 100, 1000]))
    np.testing.assert_allclose(path, [48.51, 70.89, 75.00], atol=0.01)


@given(st.floats(0.01, math.pi))
def test_limit_angle(theta: float) -> None:
    assert infinite.limit_angle() == pytest.approx(math.radians(75.5225), rel=1e-6, abs=0)
    # The smaller the angle, the more layers it takes.
    deep = float(infinite.gradient_angle(theta, 2000 + round(1000 / theta)))
    assert deep == pytest.approx(infinite.limit_angle(), abs=3e-3)


@pytest.mark.parametrize("name", ["leaky_relu", "abs"])
def test_limit_angle_of_other_kinks(name: str) -> None:
    phi = fastntk.activations.leaky_relu(0.2) if name == "leaky_relu" else name
    deep = float(infinite.gradient_angle(1.0, 10**5, phi))
    assert deep == pytest.approx(infinite.limit_angle(), abs=1e-3)


@given(angles, depths)
def test_linear_network_keeps_angles(theta: float, depth: int) -> None:
    assert float(infinite.gradient_angle(theta, depth, "identity")) == pytest.approx(
        theta, rel=1e-14, abs=0
    )


@pytest.mark.parametrize("depth", [1, 2, 3, 6, 50])
@pytest.mark.parametrize("rest", [0.0, 1e-12, 1e-9, 1e-6, 1e-3])
def test_linear_network_keeps_angles_close_to_pi(rest: float, depth: int) -> None:
    theta = math.pi - rest
    assert float(infinite.gradient_angle(theta, depth, "identity")) == pytest.approx(
        theta, abs=9e-16
    )


@pytest.mark.parametrize("depth", range(8))
def test_linear_network_keeps_opposite_samples_opposite(depth: int) -> None:
    assert float(infinite.gradient_angle(math.pi, depth, "identity")) == math.pi
    pair = infinite.smallest_angle([[1.0, 3.0], [-1.0, -3.0]], depth, "identity")
    assert pair.angle == pytest.approx(math.pi, abs=1e-7)


def gradient_angle_of_pair(
    pair: np.ndarray, depth: int, name: str, weight_std: float, bias_std: float
) -> mpmath.mpf:
    """Return the angle of the gradients of two samples, in 80 digits; activations unscaled."""
    with mpmath.workdps(80):
        weight, bias = mpmath.mpf(weight_std) ** 2, mpmath.mpf(bias_std) ** 2
        pi = mpmath.pi
        rows = [[mpmath.mpf(float(x)) for x in row] for row in pair]
        inner = [mpmath.fdot(rows[i], rows[j]) / len(rows[0]) for i, j in ((0, 0), (1, 1), (0, 1))]
        sigma = [weight * each + bias for each in inner]
        theta = list(sigma)
        for _ in range(depth):
            p, q, c = sigma
            root = mpmath.sqrt(p * q)
            angle = mpmath.acos(min(max(c / root, -1), 1))
            if name == "erf":

                def image(p: mpmath.mpf, q: mpmath.mpf, c: mpmath.mpf) -> mpmath.mpf:
                    return 2 / pi * mpmath.asin(2 * c / mpmath.sqrt((1 + 2 * p) * (1 + 2 * q)))

                def slope(p: mpmath.mpf, q: mpmath.mpf, c: mpmath.mpf) -> mpmath.mpf:
                    return 4 / pi / mpmath.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c**2)

                images = [image(p, p, p), image(q, q, q), image(p, q, c)]
                slopes = [slope(p, p, p), slope(q, q, q), slope(p, q, c)]
            else:
                # φ(x) = αx for x < 0, x for x > 0.
                alpha = {"identity": 1, "relu": 0, "abs": -1}[name]
                even = (mpmath.mpf(1) - alpha) ** 2 / 2
                squares = (mpmath.mpf(1) + alpha**2) / 2
                bend = even * (mpmath.sin(angle) - angle * mpmath.cos(angle)) / pi
                images = [squares * p, squares * q, root * bend + squares * c]
                slopes = [squares, squares, squares - even * angle / pi]
            sigma = [weight * each + bias for each in images]
            theta = [
                s + weight * slope * t for s, slope, t in zip(sigma, slopes, theta, strict=True)
            ]
        half = (1 - theta[2] / mpmath.sqrt(theta[0] * theta[1])) / 2
        return 2 * mpmath.asin(mpmath.sqrt(min(max(half, 0), 1)))


def close_pairs(seed: int) -> list[np.ndarray]:
    """Return near-duplicates, parallel, nearly opposite and small obtuse pairs."""
    rng = np.random.default_rng(seed)
    pairs = []
    for distance in 10.0 ** rng.uniform(-16, 0, 6):
        x, direction = rng.standard_normal((2, 3))
        x *= 10.0 ** rng.uniform(-3, 3)
        near = x + distance * np.linalg.norm(x) * direction
        small = 10.0 ** rng.uniform(-12, -3)
        pairs += [[x, near], [x, -near], [x, (1 + distance) * x], [small * x, -0.1 * small * near]]
    return [np.array(pair) for pair in pairs if (pair[0] != pair[1]).any()]


@pytest.mark.parametrize("bias_std", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("name", ["identity", "relu", "abs", "erf"])
def test_what_is_resolved_has_three_digits(name: str, bias_std: float) -> None:
    resolved = 0
    for seed, depth in enumerate((0, 1, 2, 3, 6, 12)):
        for pair in close_pairs(seed):
            weight_std = (0.7, 1.0, 1.5, 3.0)[seed % 4]
            exact = gradient_angle_of_pair(pair, depth, name, weight_std, bias_std)
            found = infinite.smallest_angle(
                pair, depth, name, weight_std, bias_std, activation_scale=1.0
            )
            assert math.isfinite(found.angle)
            if found.resolved:
                resolved += 1
                assert abs(found.angle / exact - 1) < 1e-3, (pair, depth, found, exact)
    assert resolved > (60 if name == "erf" else 120)


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-15])
def test_near_duplicates_with_biases_keep_their_digits(distance: float) -> None:
    x = np.array([0.3, -1.2, 0.8])
    pair = np.array([x, x + distance * np.array([0.5, 0.1, -0.4])])
    exact = gradient_angle_of_pair(pair, 3, "relu", 1.0, 1.0)
    found = infinite.smallest_angle(pair, 3, "relu", bias_std=1.0, activation_scale=1.0)
    assert found.resolved
    assert abs(found.angle / exact - 1) < 1e-13


def test_the_closest_of_near_duplicates_with_biases_is_found() -> None:
    # Of both pairs the compiled recursion sees distances that are below its rounding.
    x = np.array([0.3, -1.2, 0.8])
    far, near = x.copy(), 2 * x
    far[2] = x[2] + 12 * np.spacing(x[2])
    near[2] = near[2] + np.spacing(near[2])
    X = np.array([x, far, 2 * x, near, [5.0, 1.0, 2.0]])
    pair = infinite.smallest_angle(X, 3, "relu", bias_std=1.0)
    assert (pair.i, pair.j) == (2, 3)
    assert pair.resolved


def test_equal_samples_with_biases() -> None:
    x = np.array([0.3, -1.2, 0.8])
    duplicates = infinite.smallest_angle([x, x], 3, "relu", bias_std=1.0)
    assert duplicates == (0.0, 0, 1, True)


@pytest.mark.parametrize("d", [1, 3])
def test_multiples_are_at_no_angle(d: int) -> None:
    # Integers, so that multiples are exact, and quotients are not.
    rng = np.random.default_rng(0)
    X = rng.integers(1, 2**20, (30, 1)) * rng.integers(-(2**20), 2**20, (1, d)).astype(float)
    pairs = infinite.smallest_angle(X, 3, "relu", k=30 * 29 // 2)
    assert {(pair.angle, pair.resolved) for pair in pairs} == {(0.0, True)}
    # Opposite ones are parallel to an even function.
    X[::2] *= -1
    for depth in (1, 3):
        pairs = infinite.smallest_angle(X, depth, "abs", k=30 * 29 // 2)
        assert {(pair.angle, pair.resolved) for pair in pairs} == {(0.0, True)}


@pytest.mark.parametrize("sign", [1, -1])
def test_nearly_multiples_are_at_an_angle(sign: int) -> None:
    # The minor of these two is 1.
    big = 2.0**51
    x, z = np.array([big + 1, big + 2]), np.array([big, big + 1])
    angle = 1 / (2 * big**2)
    pair = infinite.smallest_angle([x, sign * z], 1, "identity" if sign > 0 else "abs", k=1)[0]
    assert pair.angle > 0.1 * angle


def test_errors_of_duals_decide_what_is_resolved() -> None:
    X = np.array([[1.0, 0.0], [math.cos(1e-4), math.sin(1e-4)]])
    for tolerance, resolved in ((1e-12, True), (1e-6, False)):
        assert infinite.smallest_angle(X, 2, "tanh", tolerance=tolerance).resolved is resolved


def test_chaotic_networks_lose_small_angles() -> None:
    # Each layer multiplies 1 − cos, and what it is off by, by up to χ = 4 here.
    angle = 1e-5
    X = np.array([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    settled = infinite.smallest_angle(X, 3, "erf", 1.0, activation_scale=1.0)
    exact = gradient_angle_of_pair(X, 3, "erf", 1.0, 0.0)
    assert abs(settled.angle / exact - 1) < 1e-3
    found = infinite.Network([1, 8], "erf", 4.0, activation_scale=1.0).gradient_angle(
        angle, bounds=True
    )
    widths = (found.upper - found.lower) / found.angle
    assert widths[1] > 3 * widths[0]


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("distance", [1e-14, 1e-9, 1e-3])
def test_opposite_samples_are_near_duplicates_to_even_functions(
    distance: float, depth: int
) -> None:
    pair = np.array([[1.0, 0.5], [-1.0, -0.5 + distance]])
    exact = gradient_angle_of_pair(pair, depth, "abs", 1.0, 0.0)
    found = infinite.smallest_angle(pair, depth, "abs")
    assert found.resolved
    assert abs(found.angle / exact - 1) < 1e-13
    cosine = infinite.ntk(pair, depth=depth, activation="abs", normalize=True)[0, 1]
    assert abs(cosine - float(mpmath.cos(exact))) < 4e-16


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("depth", [0, 1, 3, 6])
def test_small_obtuse_pairs_beside_biases(depth: int, flip: int) -> None:
    pair = np.array([[1e-9, 0.0], [-1e-8 * flip, 0.0]])
    exact = gradient_angle_of_pair(pair, depth, "relu", 1.0, 1.0)
    found = infinite.smallest_angle(pair, depth, "relu", bias_std=1.0, activation_scale=1.0)
    if found.resolved:
        assert abs(found.angle / exact - 1) < 1e-3
    if flip == 1:
        assert abs(found.angle / exact - 1) < 1e-6
    K = infinite.ntk(pair, depth=depth, bias_std=1.0, activation_scale=1.0, normalize=True)
    assert abs(K[0, 1] - float(mpmath.cos(exact))) < 1e-15


@pytest.mark.parametrize("name", ["erf", "gelu", "relu2", "elu", "sin", "gabor", "gaussian"])
def test_closed_forms_resolve_the_smallest_angles(name: str) -> None:
    thetas = [1e-10, 1e-8, 1e-5, 1e-3]
    found = infinite.Network([1, 3], name).gradient_angle(thetas, bounds=True)
    assert isinstance(found, Angles)
    assert found.resolved.all()
    factors = found.angle / thetas
    np.testing.assert_allclose(factors[:, :3], factors[:, :1].repeat(3, 1), rtol=1e-4)
    np.testing.assert_allclose(factors[:, 0], factors[:, 3], rtol=1e-2)


@pytest.mark.parametrize("name", ["tanh", "silu"])
def test_angles_that_are_not_resolved_say_so(name: str) -> None:
    net = infinite.Network([1, 3], name)
    found = net.gradient_angle([0.0, 1e-10, 0.5], bounds=True)
    assert isinstance(found, Angles)
    known = f"between {found.lower[0, 1]:.4g} and {found.upper[0, 1]:.4g}, no more is known (2 such"
    words = re.escape(f"theta=1e-10: the angle at depth 1 is {known}")
    with pytest.warns(RuntimeWarning, match=words):
        angles = net.gradient_angle([0.0, 1e-10, 0.5])
    np.testing.assert_array_equal(found.angle, angles)
    np.testing.assert_array_equal(found.resolved, [[True, False, True]] * 2)
    # Small angles are multiplied by a factor, whose square is a mean of powers of one number.
    factors = net.gradient_angle([1e-2, 1e-3], bounds=True).angle / [1e-2, 1e-3]
    np.testing.assert_allclose(factors[:, 0], factors[:, 1], rtol=1e-2)
    assert (found.lower[:, 1] <= 1e-10 * factors[:, 1]).all()
    assert (1e-10 * factors[:, 1] <= found.upper[:, 1]).all()
    assert (found.angle[:, 0] == 0).all()


@pytest.mark.parametrize("name", ["relu2", "gelu", "tanh"])
def test_other_activations_separate_towards_right_angles(name: str) -> None:
    path = np.degrees(infinite.gradient_angle(0.1, [0, 1, 3, 10, 100], name))
    assert (np.diff(path) > 0).all()
    assert path[-1] > (60 if name == "tanh" else 70)
    assert path[-1] < 90.5


def test_limit_kernel_and_its_condition_number() -> None:
    for n in (1, 2, 50):
        kernel = infinite.limit_kernel(n)
        assert np.linalg.cond(kernel) == pytest.approx(
            infinite.limit_condition_number(n), rel=1e-9, abs=0
        )
    X = np.random.default_rng(0).standard_normal((6, 3))
    deep = infinite.ntk(X, depth=10**5, normalize=True)
    np.testing.assert_allclose(deep, infinite.limit_kernel(6), atol=1e-3)


def test_shapes() -> None:
    theta = np.linspace(0, 3, 12).reshape(3, 4)
    assert infinite.angle_map(theta).shape == (3, 4)
    assert infinite.gradient_angle(theta, [3, 1]).shape == (2, 3, 4)
    assert infinite.gradient_angle(1.0).shape == ()
    both = infinite.gradient_angle(theta, [3, 1])
    np.testing.assert_array_equal(both[1], infinite.gradient_angle(theta, 1))


def test_more_angles_than_one_block() -> None:
    theta = np.linspace(0, math.pi, 70_000)
    some = [0, 65_535, 65_536, 69_999]
    # Which products are fused with sums may depend on an element's place in a loop.
    np.testing.assert_array_max_ulp(
        infinite.gradient_angle(theta, 2)[some], infinite.gradient_angle(theta[some], 2), 4
    )


@pytest.mark.parametrize(
    ("theta", "error", "message"),
    [
        (-0.1, ValueError, r"theta=-0.1: expected angles between 0 and π"),
        ([1.0, 3.2], ValueError, r"theta=3.2: expected angles between 0 and π"),
        (math.nan, ValueError, r"theta=nan: expected angles"),
        ("a", TypeError, r"theta='a': expected an array of numbers"),
    ],
)
def test_bad_angles(theta: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        infinite.angle_map(theta)  # type: ignore[arg-type]


@pytest.mark.parametrize(("depth", "error"), [(-1, ValueError), (1.5, TypeError), ([], ValueError)])
def test_bad_depths(depth: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="depth"):
        infinite.gradient_angle(1.0, depth)  # type: ignore[arg-type]


def test_bad_sizes() -> None:
    for function in (infinite.limit_kernel, infinite.limit_condition_number):
        with pytest.raises(ValueError, match="n=0: expected an integer of at least 1"):
            function(0)


@pytest.mark.parametrize("depth", [0, 2])
def test_angles_whose_squares_vanish_are_not_called_resolved(depth: int) -> None:
    net = infinite.Network(depth=depth)
    for angle in (1e-158, 1e-161, 1e-170, 1e-300):
        assert not net.smallest_angle([[1.0, 0.0], [1.0, angle]]).resolved
    assert net.smallest_angle([[1.0, 0.0], [1.0, 1e-150]]).resolved
    assert net.smallest_angle([[1.0, 0.0], [2.0, 0.0]]).resolved  # 0
    # The angle between what biases add to, too
    biased = infinite.Network(depth=depth, bias_std=0.5)
    X = np.random.default_rng(0).standard_normal((2, 3))
    assert biased.smallest_angle(1e-140 * X).resolved
    assert not biased.smallest_angle(1e-200 * X).resolved


def test_opposite_samples_that_only_seem_so_are_not_called_resolved() -> None:
    """The absolute value brings them together, and what is left of their angle has vanished."""
    for angle, resolved in ((1e-140, True), (1e-158, False), (1e-170, False), (1e-200, False)):
        X = [[1.0, 0.0], [-1.0, angle]]
        assert infinite.smallest_angle(X, 2, "abs").resolved is resolved
        assert infinite.smallest_angle(X, 2, "relu").resolved  # a right angle, nearly


@pytest.mark.parametrize("name", ["relu", "abs", "leaky_relu", "identity"])
@pytest.mark.parametrize("bias_std", [0.0, 0.3])
def test_angles_whose_squares_vanish_keep_their_digits(name: str, bias_std: float) -> None:
    """Angles of layers are multiples of θ, and those between gradients of √θ if units switch."""
    net = infinite.Network([0, 1, 4], name, bias_std=bias_std)
    theta = np.array([1e-140, 1e-150, 1e-153, 1e-154, 1e-158, 1e-170, 1e-300, 1e-307])
    for function, powers in (
        (net.embedding_angle, [1.0, 1.0, 1.0]),
        (net.gradient_angle, [1.0, *([1.0 if name == "identity" else 0.5] * 2)]),
    ):
        found = function(theta, bounds=True)
        assert isinstance(found, Angles)
        shares = (theta / theta[0]) ** np.array(powers)[:, np.newaxis]
        right = found.angle[:, :1] * shares
        np.testing.assert_allclose(found.angle, right, rtol=1e-13, atol=0)
        assert found.resolved.all()
        assert ((found.lower <= found.angle) & (found.angle <= found.upper)).all()
    for angle in (1e-155, 1e-250):  # without a warning
        assert infinite.angle_map(angle) == pytest.approx(angle, rel=1e-14, abs=0)


def test_angles_with_few_digits_have_wide_bounds() -> None:
    found = infinite.Network(2, bias_std=0.3).embedding_angle([5e-324, 1e-321, 0.0], bounds=True)
    assert isinstance(found, Angles)
    assert found.resolved.tolist() == [False, False, True]
    assert found.angle[2] == 0
