# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels and outputs beyond the range of their numbers: an error, and never where they are right.

The networks are exact powers of two apart: what is right is known from samples of size 1.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import fastntk
from fastntk.kernels.block_loop import BlockLoop
from fastntk.kernels.destinations import Arrays
from fastntk.kernels.request import KernelRequest

X = np.random.default_rng(0).standard_normal((12, 5))
NET = fastntk.MLP([5, 64, 64, 2], dtype="float32")
EXACT = NET.astype("float64")

# All that hands out kernels, and needs no more than samples.
KERNELS: dict[str, Any] = {
    "ntk": lambda net, X: net.ntk(X),
    "diagonal": lambda net, X: net.ntk(X, outputs="diagonal"),
    "full": lambda net, X: net.ntk(X, outputs="full"),
    "one output": lambda net, X: net.ntk(X, outputs=1),
    "by layer": lambda net, X: net.ntk_by_layer(X),
    "packed": lambda net, X: net.ntk(X, out="packed"),
    "array": lambda net, X: net.ntk(X, out=np.empty((len(X), len(X)), net.dtype)),
    "tiles": lambda net, X: [tile.kernel for tile in net.ntk_tiles(X, tile=5)],
    "angle": lambda net, X: net.smallest_angle(X),
}
LARGE = r"X\[0\] with elements of at most .* \(of all samples .*\): its kernel is not finite in fl"


@pytest.mark.parametrize("name", KERNELS)
def test_samples_whose_kernel_overflows(name: str) -> None:
    size = "e.20" if name != "angle" else "e.160"  # angles are found in float64
    # Those of a network without biases do not depend on the scale.
    net = NET if name != "angle" else fastntk.MLP([5, 64, 64, 2], bias_std=0.1)
    factor = 1e20 if name != "angle" else 1e160
    with pytest.raises(OverflowError, match=r"X\[\d+\] with elements of at most .*" + size):
        KERNELS[name](net, (factor * X).astype(net.dtype))
    KERNELS[name](net, X)


def test_both_kinds_of_samples_are_named() -> None:
    large = np.array([X[1], 1e30 * X[2]], dtype=NET.dtype)
    named = r"^X\[0\] .*e\+\d\d, beside Z of up to .*e\+\d\d\): its kernel"
    with pytest.raises(OverflowError, match=named):
        NET.ntk((1e20 * X[:1]).astype(NET.dtype), large)


@pytest.mark.parametrize("name", [name for name in KERNELS if name not in {"tiles", "angle"}])
def test_samples_whose_kernel_vanishes(name: str) -> None:
    with pytest.raises(OverflowError, match=r"X with elements of at most .*: the largest elem"):
        KERNELS[name](NET, 1e-25 * X)


def test_kernels_that_vanish_in_blocks() -> None:
    """None of the blocks tells by itself: others may be large."""

    def in_blocks(samples: Any) -> None:
        asked = KernelRequest.checked(NET.network, samples, None)
        kernel = np.empty(asked.shape, np.float32)
        BlockLoop.of_size(asked, 5).run(Arrays(asked, [kernel]), progress=False)

    small = X.astype(np.float32) * np.float32(1e-25)
    for call in (in_blocks, lambda samples: list(NET.ntk_tiles(samples, tile=5))):
        with pytest.raises(OverflowError, match=r"X with elements of at most .*: the largest elem"):
            call(small)
        for large in (0, 6, 11):  # in the first block, in one between and in the last
            samples = small.copy()
            samples[large] = X[large]
            call(samples)


def test_kernels_of_two_sets_that_vanish() -> None:
    message = r"X with elements of at most .* and Z with .*: the largest element of the kernel is t"
    small = 1e-25 * X
    calls: list[Any] = [
        lambda Z: NET.ntk(small, Z),
        lambda Z: list(NET.ntk_tiles(small, Z, tile=5)),
        lambda Z: NET.ntk(small, Z, outputs="full"),
        lambda Z: NET.ntk_by_layer(small, Z),
        lambda Z: NET.ntk(small, Z, out=np.empty((len(X), len(Z)), np.float32)),
    ]
    for call in calls:
        with pytest.raises(OverflowError, match=message):
            call(1e-20 * X[:7])
        call(X[:7])
    # That one of several is large is enough.
    assert NET.ntk(small, np.concatenate([1e-20 * X[:7], X[:1]])).any()
    # Orthogonal samples have nothing in common.
    linear = fastntk.MLP([4, 1], dtype="float32")
    assert not linear.ntk(1e-25 * np.eye(4)[:2], 1e-25 * np.eye(4)[2:]).any()
    assert not NET.ntk(np.zeros((2, 5)), 1e-25 * X).any()


def test_kernels_that_float64_does_not_hold_either() -> None:
    """Passes free of scale say whether a unit is active."""
    for activation, std in (("relu2", 0.1), ("relu", 1e-60), ("tanh", 1e-60)):
        net = fastntk.MLP([5, *[16] * 10, 1], activation=activation, weight_std=std)
        with pytest.raises(OverflowError, match=r"the largest element of the kernel is t"):
            net.ntk(X)
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((1, 4))], activation="relu2")
    assert not dead.ntk(1e-200 * np.abs(X)).any()
    frozen = fastntk.MLP([5, 8, 1]).ntk(1e-200 * X[:1] * 0, layer_weights=[0, 1])
    assert not frozen.any()


@pytest.mark.parametrize("outputs", ["trace", "full", 1])
def test_products_with_kernels_that_vanish(outputs: Any) -> None:
    message = r"X with elements of at most .* and vectors with .*: the largest element of the resul"
    small = (1e-22 * X).astype(np.float32)
    operator = NET.ntk_operator(small, outputs=outputs)
    ones = np.ones(operator.shape[0], np.float32)
    with pytest.raises(OverflowError, match=message + r"t is too small for float32: expected larg"):
        operator @ ones
    plain = NET.ntk_operator(X.astype(np.float32), outputs=outputs)
    with pytest.raises(OverflowError, match=message):
        plain @ (ones * np.float32(1e-43))
    # Large vectors bring the product back into the range.
    scale = np.float32(2.0**100)
    scaled = np.ldexp(X.astype(np.float32), -70)
    large = NET.ntk_operator(scaled, outputs=outputs) @ (scale * ones)
    np.testing.assert_allclose(np.ldexp(large, 40), plain @ ones, rtol=1e-5)
    # These are 0, and not by rounding.
    assert not (operator @ (0 * ones)).any()
    twice = NET.ntk_operator(np.concatenate([X[:1], X[:1]]), outputs=1)
    assert np.abs(twice @ np.array([1.0, -1.0])).max() < 1e-5
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((1, 4))])
    assert not (dead.ntk_operator(np.abs(X)) @ np.ones(len(X))).any()


def test_samples_whose_gradients_vanish() -> None:
    net = fastntk.MLP([5, 64, 64, 2], activation="gelu")
    with pytest.raises(OverflowError, match=r"X with elements of at most .*: the largest elem"):
        net.smallest_angle(1e-160 * X)


@pytest.mark.parametrize("exponent", [1000, 700, 100, -100, -600, -1000])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
def test_angles_of_networks_that_are_free_of_scale(exponent: int, activation: str) -> None:
    net = fastntk.MLP([5, 64, 64, 2], activation=activation)
    samples = X[:8]  # the directions of 8 samples; two more are close to one of them
    samples = np.concatenate([samples, samples[:2] * (1 + 1e-9 * X[8:10])])
    scaled = np.ldexp(samples, exponent)
    assert net.smallest_angle(scaled, k=3) == net.smallest_angle(samples, k=3)
    pairs = [(0, 8), (1, 2)]
    assert net.pair_angles(scaled, pairs) == net.pair_angles(samples, pairs)
    single = net.astype("float32")
    if abs(exponent) <= 100:
        scaled, samples = scaled.astype("float32"), samples.astype("float32")
        assert single.smallest_angle(scaled) == single.smallest_angle(samples)


def test_samples_that_no_common_factor_brings_into_range() -> None:
    large = X.copy()
    large[3] *= 1e-170
    large[7] *= 1e170
    with pytest.raises(OverflowError, match=r"X\[7\] with elements of at most"):
        EXACT.ntk(large)
    # Angles need none: each sample has a factor of its own.
    assert EXACT.smallest_angle(large) == pytest.approx(EXACT.smallest_angle(X), rel=1e-12)
    assert EXACT.smallest_angle(0 * X[:2] + 1e-170) == EXACT.smallest_angle(np.ones((2, 5)))


@pytest.mark.parametrize("factor", [2.0**500, 2.0**-500, 2.0**-400])
def test_kernels_within_the_range_are_the_same_but_for_the_factor(factor: float) -> None:
    np.testing.assert_array_equal(EXACT.ntk(factor * X) / factor**2, EXACT.ntk(X))
    np.testing.assert_array_equal(EXACT(factor * X) / factor, EXACT(X))
    assert EXACT.smallest_angle(factor * X) == EXACT.smallest_angle(X)


def test_one_sample_that_overflows_is_named_even_among_others() -> None:
    large = X.copy()
    large[7] *= 1e170
    message = LARGE.replace("0", "7", 1)
    for call in (EXACT.ntk, lambda X: EXACT.ntk(X, out="packed")):
        with pytest.raises(OverflowError, match=message):
            call(large)
    with pytest.raises(OverflowError, match=message):
        EXACT.ntk(large, 1e170 * X[:3])
    # With a small sample the product is within the range again, and right.
    right = EXACT.ntk(X[7:8], X[:3])
    np.testing.assert_allclose(EXACT.ntk(large[7:8], 1e-170 * X[:3]), right, rtol=1e-12)


def test_a_sum_that_overflows_is_no_element_that_does() -> None:
    linear = fastntk.MLP([1, 1])
    side = np.full((100, 1), 1e154)
    K = linear.ntk(side, side.copy())
    assert np.isfinite(K).all()
    with np.errstate(over="ignore"):
        assert np.isinf(K.sum())


def test_float32_networks_name_float64_as_the_way_out() -> None:
    deep = fastntk.MLP([5, *[64] * 40, 1], weight_std=10.0, dtype="float32")
    advice = r"expected samples, weight_std, .* network of float64 \(net\.astype\('float64'\)\)"
    calls: list[Any] = [deep, deep.ntk]
    for call in calls:
        with pytest.raises(OverflowError, match=advice):
            call(X)
    # These pass the samples in float64.
    assert np.isfinite(deep.ntk(X, dtype="float64")).all()
    assert np.isfinite(deep.smallest_angle(X).angle)
    assert np.isfinite(deep.astype("float64").ntk(X)).all()


def test_weights_that_are_not_finite_are_blamed() -> None:
    net = fastntk.MLP([5, 8, 1])
    net.weights[0][:] = np.nan
    with pytest.raises(OverflowError, match="the weights of the network are not finite"):
        net.ntk(X)
    with pytest.raises(OverflowError, match="the weights of the network are not finite"):
        net(X)


def test_kernels_that_are_zero_for_good_reasons() -> None:
    # No unit of the hidden layer is active.
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((1, 4))])
    assert not dead.ntk(np.abs(X)).any()
    assert not dead.ntk(np.abs(X), out="packed").data.any()
    # Samples that are 0.
    assert not EXACT.ntk(np.zeros((3, 5))).any()
    assert not EXACT.ntk(np.zeros((3, 5)), X).any()
    with pytest.raises(ValueError, match="fewer than two with a gradient that is not zero"):
        EXACT.smallest_angle(np.zeros((3, 5)))
    # One layer of several that does not depend on its input, and a kernel of depth 0.
    assert set(fastntk.ntk_depths(X, [0, 3], width=16)) == {0, 3}


def products(net: fastntk.MLP, samples: Any, size: float) -> dict[str, Any]:
    """Return products with derivatives: at samples, with vectors of a size."""
    v = np.full(net.n_parameters, size, net.dtype)
    u = np.full((len(samples), net.n_outputs), size, net.dtype)
    hvp = fastntk.linearity.hessian_vector_product
    return {
        "jvp": (lambda: net.jvp(samples, v), "v"),
        "vjp": (lambda: net.vjp(samples, u), "u"),
        "linear model": (lambda: net.linearize()(samples, v), "v"),
        "operator": (lambda: net.ntk_operator(samples) @ u[:, :1], "vectors"),
        "operator of pairs": (
            lambda: net.ntk_operator(samples, outputs="full") @ u.reshape(-1, 1),
            "vectors",
        ),
        "hessian product": (lambda: hvp(net, samples, v), "v"),
    }


@pytest.mark.parametrize("name", products(NET, X, 1.0))
def test_products_that_overflow_name_samples_and_vectors(name: str) -> None:
    for net, size, vector in ((EXACT, 1e155, 1e300), (NET, 1e19, 1e37)):
        samples = (size * X).astype(net.dtype)
        largest = re.escape(f"{np.abs(samples).max():.3g}")
        call, vectors = products(net, samples, vector)[name]
        with pytest.raises(
            OverflowError,
            match=rf"X with elements of at most {largest} and {vectors} with elements of at most "
            rf"{re.escape(f'{vector:.3g}')}: the result is not finite in {net.dtype}: expected "
            rf"smaller {vectors}, samples, weight_std",
        ):
            call()
        plain, _ = products(net, X.astype(net.dtype), 1.0)[name]
        assert np.isfinite(plain()).all()


def test_gradients_that_overflow() -> None:
    steep = fastntk.MLP([5, 8, 8, 1], weight_std=1e160)
    message = r"X with elements of at most 2\.33: the result is not finite in float64: expected sam"
    for call in (steep.gradient_features, steep.jacobian, steep.input_jacobian):
        with pytest.raises(OverflowError, match=message):
            call(X)
    moderate = fastntk.MLP([5, 8, 8, 1], weight_std=1e100)
    for call in (moderate.gradient_features, moderate.jacobian, moderate.input_jacobian):
        assert np.isfinite(call(X)).all()
        assert call(X).any()


def test_products_with_weights_that_are_not_finite() -> None:
    net = fastntk.MLP([5, 8, 1])
    net.weights[0][:] = np.nan
    with pytest.raises(OverflowError, match="the weights of the network are not finite"):
        net.jvp(X, np.ones(net.n_parameters))


def test_kernels_do_not_go_where_elements_lie_on_each_other() -> None:
    n = len(X)
    strided = np.lib.stride_tricks.as_strided
    for strides in ((0, 8), (8, 0), (0, 0), (8, 8), (16, 8), (8, -8)):
        out = strided(np.zeros(4 * n * n)[2 * n * n :], (n, n), strides)
        with pytest.raises(ValueError, match=r"out has strides .*: expected an array whose elem"):
            EXACT.ntk(X, out=out)
    expected = EXACT.ntk(X)
    for strides in ((8 * n, 8), (8, 8 * n), (-8 * n, 8), (16 * n, 16), (8 * (n + 3), 8)):
        out = strided(np.zeros(4 * n * n)[2 * n * n :], (n, n), strides)
        assert np.array_equal(EXACT.ntk(X, out=out), expected)


def test_a_matrix_that_may_not_be_written_is_not_overwritten() -> None:
    K = EXACT.ntk(X)
    packed = fastntk.PackedKernel.from_dense(K)
    full = K.copy()
    cases: list[tuple[Any, Any]] = [(full, full), (packed, packed.data)]
    for kernel, data in cases:
        data.flags.writeable = False
        for method in ("dense", "cholesky"):
            with pytest.raises(ValueError, match="overwrite=True: K is read-only: expected a writ"):
                fastntk.conditioning(kernel, method=method, overwrite=True, bounds=False)
            fastntk.conditioning(kernel, method=method, bounds=False)
    # What is converted to float64 is a copy.
    single = K.astype(np.float32)
    single.flags.writeable = False
    assert fastntk.conditioning(single, overwrite=True).n == len(X)


def test_matrices_beyond_the_range_of_squares_are_described() -> None:
    K = np.full((3, 3), 1e300)
    with pytest.raises(ValueError, match="K has entries whose squares add up to more than a f"):
        fastntk.conditioning(K)
    with pytest.raises(ValueError, match=r"K has entries as large as 3e\+300: expected between"):
        fastntk.conditioning(fastntk.PackedKernel.from_dense(K))
    with pytest.raises(ValueError, match=r"K has entries as large as 3e\+130: expected between"):
        fastntk.conditioning(np.full((3, 3), 1e130))


@pytest.mark.parametrize(("activation", "power"), [("relu", 1), ("leaky_relu", 1), ("relu2", 2)])
@pytest.mark.parametrize("exponent", [480, 300, -300, -480])
def test_norms_of_hessians_are_free_of_scale(activation: str, power: int, exponent: int) -> None:
    """Squares of Hessians would be out of range; powers of two lose no digit."""
    net = fastntk.MLP([5, 32, 1], activation=activation)
    plain = fastntk.linearity.hessian_norm(net, X[:3])
    scaled = fastntk.linearity.hessian_norm(net, np.ldexp(X[:3], exponent))
    np.testing.assert_array_equal(scaled.values, np.ldexp(plain.values, power * exponent))
    np.testing.assert_array_equal(scaled.errors, np.ldexp(plain.errors, power * exponent))
    assert plain.resolved.all()
    assert scaled.resolved.all()


def test_norms_of_hessians_beyond_the_range() -> None:
    norm = fastntk.linearity.hessian_norm
    steep = fastntk.MLP([5, 32, 32, 32, 1], activation="relu2")
    for size in (1e50, 1e300):
        with pytest.raises(OverflowError, match=r"X with elements of .*: its Hessian is not finit"):
            norm(steep, size * X[:1])
    # A second derivative that is finite, of outputs that are not.
    assert np.isfinite(norm(fastntk.MLP([5, 32, 1]), np.ldexp(X[:1], 1021)).values).all()
    # Too small, on the way or in the end.
    shallow = fastntk.MLP([5, 32, 1], activation="relu2")
    flat = fastntk.MLP([5, 32, 32, 32, 1], activation="tanh", weight_std=1e-100)
    for net, size in ((steep, 1e-50), (shallow, 1e-157), (flat, 1.0)):
        found = norm(net, size * X[:1])
        assert 0 <= found.values[0] < 1e-300
        assert not found.resolved[0]
    # These are 0, and not by rounding.
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((1, 4))])
    for net, x in (
        (dead, np.ones((1, 5))),
        (fastntk.MLP([5, 1]), np.ones((1, 5))),
        (fastntk.MLP([5, 8, 1], activation="tanh"), np.zeros((1, 5))),
    ):
        found = norm(net, x)
        assert found.values.tolist() == [0.0]
        assert found.resolved[0]


@pytest.mark.parametrize(
    "activation",
    [
        "relu",
        "abs",
        "relu2",
        fastntk.activations.leaky_relu(-0.3),
        fastntk.activations.rectified_monomial(1),
    ],
)
def test_derivatives_of_what_is_no_number_are_none(activation: Any) -> None:
    """Slopes on either side of 0 are numbers: that of a NaN, as inf − inf makes it, is none."""
    deep = fastntk.MLP([5, *[16] * 40, 2], weight_std=30.0, activation=activation, dtype="float32")
    for call in (deep.jacobian, deep.input_jacobian, deep.gradient_features, deep):
        with pytest.raises(OverflowError, match=r"X.* with elements of at most .* not finite in f"):
            call(X)


def positive(net: fastntk.MLP, samples: Any) -> dict[str, Any]:
    """Return derivatives at samples, and products with vectors of size 1, by how they scale."""
    v = np.random.default_rng(1).standard_normal(net.n_parameters).astype(net.dtype)
    u = np.random.default_rng(2).standard_normal((len(samples), net.n_outputs)).astype(net.dtype)
    hessian = fastntk.linearity.hessian_vector_product
    return {
        "gradient_features": lambda: net.gradient_features(samples, output=1),
        "jacobian": lambda: net.jacobian(samples),
        "jvp": lambda: net.jvp(samples, v),
        "vjp": lambda: net.vjp(samples, u),
        "hessian product": lambda: hessian(net, samples, v, coefficients=u),
        "hessian operator": lambda: (
            fastntk.linearity.hessian_operator(net, samples, coefficients=u) @ v
        ),
    }


DERIVATIVES = [*positive(NET, X), "input_jacobian"]


def derivative(name: str, net: fastntk.MLP, samples: Any) -> Any:
    samples = samples.astype(net.dtype)
    return (
        net.input_jacobian(samples) if name == "input_jacobian" else positive(net, samples)[name]()
    )


def with_weights_of_size(*exponents: int, dtype: str = "float64") -> fastntk.MLP:
    """Return EXACT with the weights of its layers times powers of two."""
    weights = [np.ldexp(w, k).astype(dtype) for w, k in zip(EXACT.weights, exponents, strict=True)]
    return fastntk.MLP.from_weights(weights)


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize(("dtype", "size"), [("float64", 1000), ("float32", 100)])
def test_derivatives_are_right_where_only_activations_leave_the_range(
    name: str, dtype: str, size: int
) -> None:
    """Of small samples nothing is left in the first layer, and the last one makes up for it.

    Of large ones the first layer overflows: derivatives by the inputs have nothing of it.
    """
    plain = with_weights_of_size(0, 0, 0, dtype=dtype)
    expected = derivative(name, plain, X)
    half = size // 2
    net = with_weights_of_size(-half, 0, half, dtype=dtype)
    for exponent in (-size, size):
        samples = np.ldexp(X, exponent)
        if name == "input_jacobian":
            np.testing.assert_array_equal(derivative(name, net, samples), expected)
    if name == "input_jacobian":
        return
    # The gradient by the first weights is 2^half times as large, the others are below all numbers.
    small = derivative(name, net, np.ldexp(X, -size))
    assert np.isfinite(small).all()
    if name in ("gradient_features", "jacobian"):
        first = EXACT.weights[0].size
        np.testing.assert_array_equal(
            np.ldexp(small[..., :first], size - half), expected[..., :first]
        )
    assert np.abs(small).max() > np.finfo(dtype).tiny


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_derivatives_that_vanish(name: str, dtype: str) -> None:
    """What is right is 2^-1900, or in float32 2^-190, times what it is without these factors."""
    step = -1900 if dtype == "float64" else -190
    message = r"X with elements of at most .*: the largest element of the result is too small for f"
    deep: dict[str, Any] = {"activation": "tanh", "seed": 3, "dtype": dtype}
    tiny = fastntk.MLP([5, *[16] * 7, 2], weight_std=2.0 ** (step / 7), **deep)
    with pytest.raises(OverflowError, match=message + dtype[1:]):
        derivative(name, tiny, X)
    relu = with_weights_of_size(*[step // 2] * 3, dtype=dtype)
    with pytest.raises(OverflowError, match=message + dtype[1:]):
        derivative(name, relu if name != "input_jacobian" else tiny, np.ldexp(X, step // 2))
    # Without units that are active, or without samples that are not 0, all is 0 and right.
    dead = fastntk.MLP.from_weights(
        [-np.ones((4, 5)), np.ones((2, 4))], activation="relu", dtype=dtype
    )
    assert not np.any(derivative(name, dead, np.ldexp(np.abs(X), step // 2)))
    if name != "input_jacobian":
        assert not np.any(derivative(name, relu, 0 * X))
    saturated = fastntk.MLP([5, 16, 2], activation="tanh", dtype=dtype)
    if name == "input_jacobian":
        # Slopes of squares are as small as their arguments.
        squares = fastntk.MLP([5, 16, 16, 16, 2], activation="relu2", dtype=dtype)
        with pytest.raises(OverflowError, match=message + dtype[1:]):
            derivative(name, squares, np.ldexp(X, step // 7))
        assert not np.any(derivative(name, saturated, 1e6 * np.ones((2, 5))))


def test_products_that_are_small_for_good_reasons() -> None:
    """Vectors that are orthogonal to all gradients, of large terms that add up to nothing."""
    tiny = np.finfo(np.float64).tiny
    for net in (EXACT, fastntk.MLP([5, 16, 16, 1], activation="tanh", bias_std=0.1)):
        along = np.zeros(net.n_parameters)
        assert not net.jvp(X, along).any()
        assert not net.vjp(X, np.zeros((len(X), net.n_outputs))).any()
        twice = np.concatenate([X[:1], X[:1]])
        u = np.ones((2, net.n_outputs)) * [[1.0], [-1.0]]
        assert np.abs(net.vjp(twice, u)).max() < 1e-14
        product = fastntk.linearity.hessian_vector_product(net, X, along)
        assert not product.any()
    # Only weights of units that are not active move.
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((1, 4))], activation="relu")
    v = np.r_[np.ones(20), np.zeros(4)]
    assert not dead.jvp(np.abs(X), v).any()
    # Two linear layers along which the output stays the same.
    linear = fastntk.MLP.from_weights([[[1.0]], [[1.0]]], activation="identity")
    assert linear.jvp([[1.0]], [1.0, -1.0]).tolist() == [[0.0]]
    with pytest.raises(
        OverflowError, match=r"X with elements of at most 1 and v with .* too small"
    ):
        linear.jvp([[1.0]], [tiny / 4, tiny / 4])
    # Beside a large term what is small may be lost.
    model = EXACT.linearize()
    np.testing.assert_array_equal(model(X, np.full(EXACT.n_parameters, 1e-320)), EXACT(X))


TOO_SMALL = r"X with elements of at most .*: the largest output of the network is too small for fl"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outputs_that_vanish(dtype: str) -> None:
    """What is right is 2^-1900, or in float32 2^-190, times what it is without these factors."""
    step = -1900 if dtype == "float64" else -190
    samples = X.astype(dtype)
    deep: dict[str, Any] = {"seed": 3, "dtype": dtype}
    for activation in ("tanh", "relu", "elu", "gelu", "relu2"):
        small = fastntk.MLP(
            [5, *[16] * 7, 2], weight_std=2.0 ** (step / 7), activation=activation, **deep
        )
        for x in (samples, samples[:1]):
            with pytest.raises(OverflowError, match=TOO_SMALL + dtype[2:]):
                small(x)
        # The linear model is a sum of these and of products that are as small.
        along = np.ones(small.n_parameters, dtype)
        for size in (0.0, 1.0):
            with pytest.raises(OverflowError, match=r"X with .* and change with .* is too small"):
                small.linearize()(samples, size * along)
    # On the way alone; of numbers with fewer digits than others something would be left.
    lost = with_weights_of_size(step // 2, 0, -(step // 2), dtype=dtype)
    with pytest.raises(OverflowError, match=TOO_SMALL):
        lost(np.ldexp(samples, step // 2))
    for k in (step // 2, -530 if dtype == "float64" else -70):
        with pytest.raises(OverflowError, match=TOO_SMALL):
            with_weights_of_size(k, k, 0, dtype=dtype)(samples)
    # Outputs g of such a size are as much to a function that is 0 at 0.
    limits = np.finfo(dtype)
    for psi, size in (("square", float(limits.tiny) ** 0.5 / 8), ("tanh", float(limits.tiny) / 8)):
        weights = [np.ones((1, 5)), np.full((1, 1), size, dtype)]
        net = fastntk.MLP.from_weights(weights, output_activation=psi, weight_std=1.0, dtype=dtype)
        with pytest.raises(OverflowError, match=TOO_SMALL):
            net(np.ones((2, 5)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outputs_that_are_0_for_good_reasons(dtype: str) -> None:
    options: dict[str, Any] = {"weight_std": 1.0, "dtype": dtype}
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((2, 4))], **options)
    x = np.abs(X).astype(dtype)
    assert not dead(x).any()
    assert not fastntk.MLP([5, 8, 2], dtype=dtype)(0 * x).any()
    zero = fastntk.MLP.from_weights([np.zeros((4, 5)), np.ones((2, 4))], activation="tanh")
    assert not zero(x).any()
    opposite = fastntk.MLP.from_weights([np.ones((2, 5)), [[1.0, -1.0]]], **options)
    assert not opposite(x).any()
    # All units of raw pixels far below 0, where GELU has become 0.
    pixels = np.full((1, 5), 255.0, dtype)
    for activation in ("gelu", "silu"):
        far = fastntk.MLP.from_weights(
            [np.full((4, 5), -1e3), np.ones((2, 4))], activation=activation, **options
        )
        assert not far(pixels).any()
    # What is far from 0 to ψ has become constant as well: a probability of nearly 0.
    for psi in ("sigmoid", "softplus"):
        for size in (-1e3, -104.0, -90.0):
            sure = fastntk.MLP.from_weights(
                [np.ones((1, 5)), np.full((1, 1), size / 5**0.5)], output_activation=psi, **options
            )
            assert 0 <= float(sure(np.ones((1, 5)))[0, 0]) < 1e-38
    for network in (dead, zero, opposite):
        assert not network.linearize()(
            x.astype(network.dtype), np.zeros(network.n_parameters)
        ).any()
    # Beside an output that is not small others may be.
    two = fastntk.MLP.from_weights([np.eye(2)], **options)
    assert (two([[1.0, limit := float(np.finfo(dtype).tiny) / 4]]) * 2**0.5)[0, 1] < limit * 1.5


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_hessians_of_losses_that_vanish(loss: str) -> None:
    """Both parts of them; where one is not small, the other may be."""
    net = fastntk.MLP([5, 16, 2], activation="tanh", seed=3)
    y = np.zeros((len(X), 2)) if loss == "mse" else np.zeros(len(X), int)
    v = np.random.default_rng(1).standard_normal(net.n_parameters)
    hessian = fastntk.linearity.loss_hessian
    with pytest.raises(OverflowError, match=r"X with .* and vectors with .*result is too small"):
        hessian(net, X, y, loss=loss) @ (1e-320 * v)
    assert (hessian(net, X, y, loss=loss) @ v).any()
    flat = fastntk.MLP([5, *[16] * 7, 2], weight_std=2.0**-270, activation="tanh", seed=3)
    w = np.random.default_rng(1).standard_normal(flat.n_parameters)
    with pytest.raises(OverflowError, match=r"X with .* and vectors with .*result is too small"):
        hessian(flat, X, y, loss=loss) @ w
    # 0 for good reasons: no direction, no active unit, and outputs that are right.
    assert not (hessian(net, X, y, loss=loss) @ (0 * v)).any()
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((2, 4))])
    labels = np.arange(len(X)) % 2
    targets = np.zeros((len(X), 2)) if loss == "mse" else labels
    along_dead = np.r_[np.ones(20), np.zeros(8)]
    assert not (hessian(dead, np.abs(X), targets, loss=loss) @ along_dead).any()


@pytest.mark.parametrize("activation", ["identity", "tanh", "relu", "relu2"])
@pytest.mark.parametrize("biased", [False, True])
def test_hessians_that_are_0_where_weights_are(activation: str, biased: bool) -> None:
    """The Hessian of a product of three or more matrices is 0 where all are."""
    shapes = [(4, 3), (4, 4), (1, 4)]
    biases = [np.zeros(rows) for rows, _ in shapes] if biased else None
    net = fastntk.MLP.from_weights([np.zeros(s) for s in shapes], biases, activation=activation)
    hessian = fastntk.linearity.hessian_vector_product
    along = np.eye(net.n_parameters)[0] if biased else np.ones(net.n_parameters)
    assert not hessian(net, X[:, :3], along).any()
    assert fastntk.linearity.hessian_norm(net, X[:, :3]).resolved.all()
    # The first layer alone is 0, by weights or by terms that add up to nothing, and a direction
    # is of an input that is 0.
    for first in (np.zeros((2, 3)), np.array([[1.0, -1.0, 0.0]] * 2)):
        net = fastntk.MLP.from_weights([first, np.ones((1, 2))], activation=activation)
        direction = np.eye(net.n_parameters)[2]
        assert not hessian(net, [[1.0, 1.0, 0.0]], direction).any()
        assert fastntk.linearity.hessian_norm(net, [[1.0, 1.0, 0.0]]).resolved.all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "name", [name for name in DERIVATIVES if "hessian" not in name] + ["kernel", "outputs"]
)
def test_units_at_their_kink(name: str, dtype: str) -> None:
    """Whether z = -0.4 * 0.7 + 0.28 is above 0 is for rounding to say, and 0 is not too small."""
    rows = [[-0.4, 0.28, 0.0, 0.0, 0.0], [1.0, -0.6, -0.38, 0.0, 0.0], [0.4, -0.28, 0.0, 0.0, 0.0]]
    samples = [[0.7, 1.0, 0.0, 0.0, 0.0], [0.8, 0.7, 1.0, 0.0, 0.0], [0.7, 1.0, 0.0, 0.0, 0.0]]
    for row, sample in zip(rows, samples, strict=True):
        net = fastntk.MLP.from_weights([[row], [[1.0], [1.0]]], activation="relu", dtype=dtype)
        x = np.array([sample])
        calls: dict[str, Any] = {"kernel": net.ntk, "outputs": net}
        found = calls[name](x) if name in calls else derivative(name, net, x)
        assert np.isfinite(found).all()


def test_a_network_with_biases_is_as_dead_as_its_biases_make_it() -> None:
    """Samples of size 1 would be above the bias, and have gradients."""
    net = fastntk.MLP.from_weights(
        [np.ones((4, 5)), np.ones((1, 4))], biases=[-1e-3 * np.ones(4), None], bias_std=1.0
    )
    small = 1e-5 * np.abs(X)
    for call in (net.jacobian, net.input_jacobian):
        assert not call(small).any()
        assert call(np.abs(X)).any()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "activation",
    ["gelu", "erf", fastntk.activations.erf(1e30), "silu", "tanh", "softplus", "elu"],
)
def test_second_derivatives_far_from_0_are_0(activation: Any, dtype: str) -> None:
    """z² is infinite there, and φ''(z) 0: what is left are the blocks of different layers."""
    size = 1e300 if dtype == "float64" else 1e30
    net = fastntk.MLP.from_weights(
        [np.ones((1, 1)), np.ones((1, 1))],
        weight_std=1.0,
        activation=activation,
        activation_scale=1.0,
        dtype=dtype,
    )
    slope = float(net.input_jacobian([[size]]).item())
    assert slope == (1.0 if activation in ("gelu", "silu", "softplus", "elu") else 0.0)
    H = fastntk.linearity.hessian_operator(net, [[size]]) @ np.eye(2, dtype=dtype)
    large = np.float64(np.asarray(size, dtype))
    np.testing.assert_allclose(H, slope * large * np.array([[0, 1], [1, 0]]), rtol=1e-6)
    assert fastntk.linearity.hessian_norm(net, [[size]]).values[0] == pytest.approx(
        slope * large, rel=1e-6, abs=0
    )


@pytest.mark.parametrize("batch", [3, 600])
@pytest.mark.parametrize("exponent", [90, -90, 0])
def test_norms_of_gradients_whose_squares_leave_the_range_of_float32(
    batch: int, exponent: int
) -> None:
    """A linear network: the gradient is a sum of samples times errors, (f - y)/n."""
    samples = np.random.default_rng(0).standard_normal((batch, 6)).astype(np.float32)
    y = np.ldexp(np.random.default_rng(1).standard_normal((batch, 2)), exponent).astype(np.float32)
    net = fastntk.MLP.from_weights([np.zeros((2, 6))], weight_std=1.0, dtype="float32")
    history = fastntk.train(
        net, samples, y, loss="mse", learning_rate=1e-30, epochs=1, batch_size=batch
    )
    scale = net.network.layers[0].weight_scale
    right = scale * np.linalg.norm(samples.astype(float).T @ y.astype(float)) / batch
    assert history.gradient_norm[0] == pytest.approx(right, rel=1e-5, abs=0)


@pytest.mark.parametrize(("exponent", "right"), [(490, True), (-480, True), (530, False)])
def test_norms_of_gradients_are_roots_of_squares_in_float64(exponent: int, right: bool) -> None:
    net = fastntk.MLP.from_weights([np.zeros((1, 5))], weight_std=1.0)
    y = np.ldexp(np.random.default_rng(1).standard_normal(len(X)), exponent)
    history = fastntk.train(net, X, y, loss="mse", learning_rate=1e-300, epochs=1)
    expected = np.ldexp(np.linalg.norm(X.T @ np.ldexp(y, -exponent)) / len(X) / 5**0.5, exponent)
    assert history.gradient_norm[0] == (pytest.approx(expected, rel=1e-12) if right else np.inf)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "erf", "gelu", "softplus", "elu"])
def test_directions_to_which_saturated_units_are_deaf(activation: str, dtype: str) -> None:
    """Raw pixels: units are so far from 0 that their slopes are, and the others are not."""
    X = np.random.default_rng(0).integers(0, 256, (3, 16)).astype(dtype)
    for seed in range(3):
        net = fastntk.MLP([16, 8, 8, 3], activation=activation, seed=seed, dtype=dtype)
        for at in (0, 20, 150):
            v = np.zeros(net.n_parameters, dtype)
            v[at] = 1.0
            assert np.isfinite(net.jvp(X, v)).all()
            assert np.isfinite(fastntk.linearity.hessian_vector_product(net, X, v)).all()
