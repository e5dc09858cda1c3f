# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels at infinite width against explicit formulas, and their invariants."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from infinite_reference import exact_angles, exact_input_angle, relu_kernels
from threadpoolctl import threadpool_limits
from tolerances import assert_close

import fastntk
from fastntk import activations, infinite

seeds = st.integers(0, 10**6)


def samples(n: int, d: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((n, d))


@given(seeds, st.integers(1, 7), st.integers(1, 6), st.integers(0, 6), st.booleans())
def test_relu_against_the_textbook(seed: int, n: int, d: int, depth: int, bias: bool) -> None:
    X = samples(n, d, seed)
    arguments: dict[str, Any] = {"weight_std": 1.3, "bias_std": 0.4 * bias}
    nngp, ntk = infinite.kernels(X, depth=depth, **arguments)
    sigma, theta = relu_kernels(X, depth, **arguments)
    # The textbook formula has half the digits close to parallel samples; d = 1 has only such.
    tolerance = 1e-7 if d == 1 else 1e-9
    np.testing.assert_allclose(nngp, sigma, rtol=0, atol=tolerance * sigma.max())
    np.testing.assert_allclose(ntk, theta, rtol=0, atol=tolerance * theta.max())
    np.testing.assert_array_equal(ntk, infinite.ntk(X, depth=depth, **arguments))
    np.testing.assert_array_equal(nngp, infinite.nngp(X, depth=depth, **arguments))


@given(seeds, st.sampled_from(["float32", "float64"]), st.booleans())
def test_cross_kernel_is_a_block_of_the_whole(seed: int, dtype: str, bias: bool) -> None:
    both = samples(9, 4, seed).astype(dtype)
    for activation in ("relu", "erf", "tanh"):
        arguments: dict[str, Any] = {
            "depth": [1, 3],
            "activation": activation,
            "bias_std": 0.3 * bias,
        }
        whole = infinite.kernels(both, **arguments)
        block = infinite.kernels(both[:4], both[4:], **arguments)
        for a, b in zip(whole, block, strict=True):
            assert b.dtype == dtype
            assert_close(b, a[:, :4, 4:], dtype)


@pytest.mark.parametrize("n", [1, 2, 130, 1100])
def test_tiles_and_symmetry(n: int) -> None:
    X = samples(n, 5)
    for activation in ("relu", "gelu"):
        K = infinite.ntk(X, depth=2, activation=activation, bias_std=0.1)
        np.testing.assert_array_equal(K, K.T)
        few = sorted({0, n // 2, n - 1})
        expected = infinite.ntk(X[few], depth=2, activation=activation, bias_std=0.1)
        assert_close(K[np.ix_(few, few)], expected, "float64")
        assert_close(infinite.ntk(X, X, depth=2, activation=activation, bias_std=0.1), K, "float64")


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 3), (3, 1), (129, 1025)])
def test_tiles_of_a_single_pair(n: int, m: int) -> None:
    both = samples(n + m, 3)
    for activation in ("relu", "gelu"):
        arguments: dict[str, Any] = {"depth": [0, 2], "activation": activation, "bias_std": 0.5}
        few = [0, n - 1, n, n + m - 1]
        whole = infinite.kernels(both[few], **arguments)
        cross = infinite.kernels(both[:n], both[n:], **arguments)
        for a, b in zip(whole, cross, strict=True):
            assert_close(b[:, [0, -1]][:, :, [0, -1]], a[:, :2, 2:], "float64")


def test_more_inputs_than_are_multiplied_at_once() -> None:
    X = samples(5, 5000)
    X[1] = X[0] * (1 + 1e-6 * samples(1, 5000, 1)[0])
    _, theta = relu_kernels(X, 2)
    K = infinite.ntk(X, depth=2)
    np.testing.assert_allclose(K, theta, rtol=1e-6)
    exact = exact_angles(exact_input_angle(X[0], X[1]), 2)[1]
    assert infinite.smallest_angle(X, 2).angle == pytest.approx(float(exact), rel=1e-13, abs=0)


def test_several_depths_are_the_single_ones() -> None:
    X = samples(20, 4)
    for activation in ("relu", "gelu"):
        several = infinite.kernels(X, depth=[4, 0, 2, 2], activation=activation, bias_std=0.2)
        for k, depth in enumerate([4, 0, 2, 2]):
            single = infinite.kernels(X, depth=depth, activation=activation, bias_std=0.2)
            for a, b in zip(several, single, strict=True):
                # Without an activation there is no compiled recursion, and another loop may fuse
                # other products with sums.
                off = 0.0 if depth > 0 or activation == "relu" else 4e-15
                np.testing.assert_allclose(a[k], b, rtol=0, atol=off)
    assert infinite.ntk(X, depth=[3]).shape == (1, 20, 20)


@given(seeds, st.integers(0, 5), st.booleans())
def test_layer_weights(seed: int, depth: int, bias: bool) -> None:
    X = samples(5, 4, seed)
    generator = np.random.default_rng(seed)
    rates = generator.uniform(0, 2, (depth + 1, 2))
    rates[generator.integers(depth + 1)] = 0.5, 0.0
    bias_std = 0.7 * bias
    K = infinite.ntk(X, depth=depth, bias_std=bias_std, layer_weights=rates)
    pairs = [(float(w), float(b)) for w, b in rates]
    _, theta = relu_kernels(X, depth, bias_std=bias_std, layer_weights=pairs)
    np.testing.assert_allclose(K, theta, rtol=0, atol=1e-10 * theta.max())


def test_layer_weights_add_up() -> None:
    X = samples(6, 4)
    for activation in ("relu", "gelu"):
        arguments: dict[str, Any] = {"depth": 3, "activation": activation, "bias_std": 0.4}
        parts = [infinite.ntk(X, layer_weights=row, **arguments) for row in np.eye(4)]
        assert_close(sum(parts), infinite.ntk(X, **arguments), "float64")


def test_last_layer_alone_gives_the_nngp_kernel() -> None:
    X = samples(6, 4)
    for activation in ("relu", "sign"):
        K = infinite.ntk(X, depth=2, activation=activation, layer_weights=[0, 0, 1])
        assert_close(K, infinite.nngp(X, depth=2, activation=activation), "float64")


def test_shallower_networks_take_the_first_layer_weights() -> None:
    X = samples(6, 4)
    rates = [1.0, 0.5, 2.0]
    several = infinite.ntk(X, depth=[0, 1, 2], layer_weights=rates)
    for depth in range(3):
        single = infinite.ntk(X, depth=depth, layer_weights=rates[: depth + 1])
        assert_close(several[depth], single, "float64")


def test_standard_parametrization_as_layer_weights() -> None:
    X = samples(6, 4)
    for bias_std in (0.0, 0.5):
        arguments: dict[str, Any] = {"depth": 2, "weight_std": 1.2, "bias_std": bias_std}
        standard = infinite.ntk(X, parametrization="standard", width=64, **arguments)
        bias_rate = 1 / bias_std**2 if bias_std else 0.0
        rates = [(n / 1.2**2, bias_rate) for n in (4, 64, 64)]
        assert_close(standard, infinite.ntk(X, layer_weights=rates, **arguments), "float64")


@given(seeds, st.integers(0, 5), st.floats(-150, 150))
def test_relu_is_free_of_scale(seed: int, depth: int, power: float) -> None:
    X = samples(5, 3, seed)
    scale = 10.0 ** (power / 2)
    K = infinite.ntk(X, depth=depth)
    np.testing.assert_allclose(infinite.ntk(scale * X, depth=depth) / scale / scale, K, rtol=1e-10)
    np.testing.assert_allclose(
        infinite.ntk(10.0**power * X, depth=depth, normalize=True),
        infinite.ntk(X, depth=depth, normalize=True),
        rtol=1e-10,
    )


def test_extreme_norms_variances_and_depths() -> None:
    X = samples(4, 3)
    cosines = infinite.ntk(X, depth=3, normalize=True)
    mixed = X * np.array([1e150, 1e-150, 1.0, 1e-300])[:, np.newaxis]
    np.testing.assert_allclose(infinite.ntk(mixed, depth=3, normalize=True), cosines, rtol=1e-13)
    for weight_std in (1e-150, 1e150):
        K = infinite.ntk(X, depth=3, weight_std=weight_std, normalize=True)
        np.testing.assert_array_equal(K, cosines)
    # The variance of the weights undoes the size of the samples.
    K = infinite.ntk(X * 1e-150, depth=0, weight_std=1e150)
    assert_close(K, infinite.ntk(X, depth=0), "float64")
    K = infinite.ntk(X * 2.0**-400, depth=3, weight_std=2.0**100)
    np.testing.assert_allclose(K, infinite.ntk(X, depth=3), rtol=1e-13)
    # The largest and the smallest numbers there are.
    largest = np.full((2, 3), np.finfo(np.float64).max)
    np.testing.assert_array_equal(infinite.ntk(largest, depth=1, normalize=True), np.ones((2, 2)))
    subnormal = np.array([[5e-324, 0], [0, 5e-324]])
    angle = infinite.smallest_angle(subnormal, 1).angle
    assert angle == pytest.approx(float(exact_angles(np.pi / 2, 1)[1]), rel=1e-14, abs=0)


def test_depth_of_a_hundred_thousand() -> None:
    X = samples(4, 3)
    K = infinite.ntk(X, depth=10**5)
    norms = np.linalg.norm(X, axis=1)
    limit = (10**5 + 1) * np.outer(norms, norms) / 3 * infinite.limit_kernel(4)
    np.testing.assert_allclose(K, limit, rtol=1e-3)
    assert np.isfinite(infinite.ntk(X, depth=10**4, bias_std=0.1, weight_std=0.99)).all()
    for weight_std in (0.5, 2.0):
        K = infinite.ntk(X, depth=10**5, weight_std=weight_std, normalize=True)
        assert_close(K, infinite.ntk(X, depth=10**5, normalize=True), "float64")


def test_zero_rows_have_a_kernel_of_zero_but_no_angle() -> None:
    X = np.array([[0.0, 0.0], [1.0, 2.0], [-1.0, 1.0]])
    for activation in ("relu", "identity", "tanh", "gelu", "relu2", "sin", "sign"):
        K = infinite.nngp(X, depth=2, activation=activation)
        assert not K[0].any()
        assert not K[:, 0].any()
        assert_close(K[1:, 1:], infinite.nngp(X[1:], depth=2, activation=activation), "float64")
    assert not infinite.ntk(X, depth=2)[0].any()
    for call in (
        lambda: infinite.smallest_angle(X, 2),
        lambda: infinite.ntk(X, depth=2, normalize=True),
    ):
        with pytest.raises(ValueError, match=r"X\[0\] has a kernel of 0 at depth 2, as a row of z"):
            call()
    with pytest.raises(ValueError, match=r"Z\[0\] has a kernel of 0"):
        infinite.ntk(X[1:], X, depth=2, normalize=True)
    # With biases there is nothing special about a zero row.
    assert infinite.ntk(X, depth=2, bias_std=0.1, normalize=True)[0, 0] == 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [-3, -5, -7])
def test_near_duplicates_keep_their_digits(dtype: str, power: int) -> None:
    generator = np.random.default_rng(0)
    X = generator.standard_normal((8, 50))
    # Near-duplicates, also of other norm or opposite, as the numbers that dtype can hold.
    X[1] = X[0] + 10.0**power * generator.standard_normal(50)
    X[3] = 3 * (X[2] + 10.0**power * generator.standard_normal(50))
    X[5] = -0.7 * (X[4] + 10.0**power * generator.standard_normal(50))
    X = X.astype(dtype)
    for depth in (1, 4):
        K = infinite.ntk(X, depth=depth, normalize=True)
        for i, j in ((0, 1), (2, 3), (4, 5)):
            exact = float(np.cos(float(exact_angles(exact_input_angle(X[i], X[j]), depth)[1])))
            assert abs(K[i, j] - exact) < (4 if dtype == "float32" else 20) * np.finfo(dtype).eps
        pair = infinite.smallest_angle(X[:4], depth)
        expected = min(
            (float(exact_angles(exact_input_angle(X[i], X[j]), depth)[1]), i, j)
            for i, j in ((0, 1), (2, 3))
        )
        assert (pair.i, pair.j) == expected[1:]
        assert pair.angle == pytest.approx(expected[0], rel=1e-13, abs=0)


def test_linear_network_is_the_gram_matrix() -> None:
    X = samples(8, 5)
    gram = X @ X.T / 5
    for depth in (0, 1, 7):
        assert_close(
            infinite.ntk(X, depth=depth, activation="identity"), (depth + 1) * gram, "float64"
        )
        assert_close(infinite.nngp(X, depth=depth, activation="identity"), gram, "float64")


@given(seeds, st.integers(1, 8))
def test_norm_of_the_gradient(seed: int, depth: int) -> None:
    X = samples(4, 3, seed)
    expected = (depth + 1) * (X**2).sum(axis=1) / 3
    assert_close(np.diag(infinite.ntk(X, depth=depth)), expected, "float64")


@given(seeds, st.integers(2, 6), st.integers(2, 8), st.integers(1, 6))
def test_positive_semidefinite(seed: int, n: int, d: int, depth: int) -> None:
    X = samples(n, d, seed)
    for activation in ("relu", "erf", "silu"):
        K = infinite.ntk(X, depth=depth, activation=activation)
        assert np.linalg.eigvalsh(K)[0] > -1e-12 * K.max()


@given(seeds, st.integers(1, 8))
def test_first_layer_alone(seed: int, depth: int) -> None:
    # Theorem 4.2 of arXiv 2305.08813.
    X = samples(6, 8, seed)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    spectra = []
    for each in range(depth + 1):
        K = infinite.ntk(X, depth=each, layer_weights=[1] + [0] * each, normalize=True)
        spectra.append(np.linalg.eigvalsh(K))
    gram = np.linalg.eigvalsh(X @ X.T)
    np.testing.assert_allclose(spectra[0], gram, rtol=1e-9)
    assert spectra[-1][0] > gram[0]
    assert spectra[-1][-1] < gram[-1]
    kappas = [s[-1] / s[0] for s in spectra]
    assert (np.diff(kappas) < 0).all()


@given(st.floats(1e-4, 0.05), st.integers(1, 10))
def test_two_samples_are_better_conditioned(theta: float, depth: int) -> None:
    # Theorem F.1.
    X = np.array([[1.0, 0.0], [np.cos(theta), np.sin(theta)]])
    kappas = [c.condition_number for c in infinite.conditioning(X, range(depth + 1))]
    assert (np.diff(kappas) < 0).all()


def test_condition_number_at_great_depth() -> None:
    X = samples(30, 5)
    found = infinite.conditioning(X, [20_000], normalize=True)[0].condition_number
    assert found == pytest.approx(infinite.limit_condition_number(30), rel=0.01, abs=0)


def test_condition_number_of_the_linear_network() -> None:
    X = samples(5, 8)
    expected = np.linalg.cond(X @ X.T)
    for found in infinite.conditioning(X, [0, 1, 5], "identity"):
        assert found.condition_number == pytest.approx(expected, rel=1e-9, abs=0)


def test_conditioning_with_layer_weights() -> None:
    X = samples(5, 8)
    found = infinite.conditioning(X, [1, 2], layer_weights=[1, 0, 0])
    K = infinite.ntk(X, depth=2, layer_weights=[1, 0, 0])
    assert found[1].condition_number == pytest.approx(np.linalg.cond(K), rel=1e-9, abs=0)


@given(st.floats(1e-5, 0.05), st.integers(0, 6))
def test_small_angles_bound_the_condition_number(theta: float, depth: int) -> None:
    # Proposition 4.1: λ_min ≤ about ½ φ² max ‖v‖².
    X = samples(5, 6)
    direction = samples(1, 6, 1)[0]
    X[1] = X[0] + theta * direction
    angle = infinite.smallest_angle(X, depth).angle
    K = infinite.ntk(X, depth=depth)
    smallest = float(np.linalg.eigvalsh(K)[0])
    assert smallest <= (0.5 * angle**2 + angle**4) * K.max() + 1e-14 * K.max()


def test_smallest_angle_against_the_kernel() -> None:
    for activation, n in (("relu", 1100), ("tanh", 150)):
        X = samples(n, 3)
        K = infinite.ntk(X, depth=2, activation=activation, bias_std=0.1, normalize=True)
        K[np.tril_indices(len(K))] = -1
        i, j = np.unravel_index(int(K.argmax()), K.shape)
        pair = infinite.smallest_angle(X, 2, activation, bias_std=0.1)
        assert (pair.i, pair.j) == (int(i), int(j))
        assert pair.resolved


def test_smallest_angle_of_duplicates_is_zero() -> None:
    X = samples(300, 4)
    X[[7, 250]] = X[3], 2 * X[3]
    assert infinite.smallest_angle(X) == fastntk.AnglePair(0.0, 3, 7, True)
    with pytest.raises(ValueError, match=r"X has shape \(1, 4\): expected at least two samples"):
        infinite.smallest_angle(X[:1])


@pytest.mark.parametrize(
    ("activation", "below", "above"),
    [("gelu", 1e-9, 1e-5), ("elu", 1e-9, 1e-5), ("tanh", 1e-6, 1e-3), ("erf", 1e-9, 1e-5)],
)
def test_angles_below_the_error_of_a_dual_are_not_resolved(
    activation: str, below: float, above: float
) -> None:
    # The same sample twice is at an angle of 0, whatever the errors.
    for angle, resolved in ((0.0, True), (below, False), (above, True)):
        X = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)], [-0.5, 1.0]])
        pair = infinite.smallest_angle(X, 2, activation)
        assert (pair.i, pair.j, pair.resolved) == (0, 1, resolved)


def test_same_bits_for_any_number_of_threads() -> None:
    X = samples(700, 33)
    for activation in ("relu", "gelu"):
        results = []
        for threads in (1, 2, 3):
            with threadpool_limits(threads):
                results.append(infinite.kernels(X, depth=[1, 4], activation=activation))
                pair = infinite.smallest_angle(X, activation=activation)
            for a, b in zip(results[0], results[-1], strict=True):
                np.testing.assert_array_equal(a, b)
            assert pair == infinite.smallest_angle(X, activation=activation)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_memory_is_that_of_the_result(activation: str) -> None:
    X = samples(2200, 10)
    infinite.ntk(X[:10], depth=[1, 2], activation=activation)  # compiled, imported
    with threadpool_limits(2):
        for depth in (3, [1, 3]):
            tracemalloc.start()
            K = infinite.ntk(X, depth=depth, activation=activation)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak <= 1.1 * K.nbytes


def test_progress_is_reported() -> None:
    calls: list[tuple[str, int, int]] = []

    def record(stage: str, done: int, total: int) -> None:
        calls.append((stage, done, total))

    X = samples(300, 3)
    for threads in (1, 2):
        calls.clear()
        with threadpool_limits(threads):
            infinite.ntk(X, progress=record)
        assert calls[-1][1] == calls[-1][2] > 1


# Where tests run in the background, SIGINT may be ignored, by what they start as well.
INTERRUPTED = """
import _thread, signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import fastntk
from threadpoolctl import threadpool_limits
X = np.random.default_rng(0).standard_normal((2000, 3))
fastntk.infinite.ntk(X[:2])
start = time.perf_counter()
try:
    threading.Timer({after}, _thread.interrupt_main).start()
    with threadpool_limits({threads}):
        fastntk.infinite.ntk(X, depth=100_000)
except KeyboardInterrupt:
    print(time.perf_counter() - start)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("after", [0.02, 1.0])  # while tiles are handed out, and later
def test_interrupt_is_answered_within_a_second(threads: int, after: float) -> None:
    code = INTERRUPTED.format(threads=threads, after=after)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    # A second is the promise on an idle machine; others may be at work on this one.
    assert float(done.stdout) < after + 5.0, (done.stdout, time.perf_counter() - start)


def test_import_is_light() -> None:
    code = (
        "import sys, fastntk; print([m for m in ('numba', 'sklearn', 'pandas', 'matplotlib') "
        "if m in sys.modules]); fastntk.infinite.ntk; print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_unknown_attributes() -> None:
    for module in (fastntk, infinite):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = module.nothing


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"depth": -1}, ValueError, "depth=-1: expected an integer of at least 0"),
        ({"depth": [1, -1]}, ValueError, r"depth\[1\]=-1: expected an integer of at least 0"),
        ({"depth": 1.5}, TypeError, "depth=1.5: expected an integer"),
        ({"depth": []}, ValueError, "depth=.*: expected at least one"),
        ({"activation": "rleu"}, ValueError, "activation='rleu': expected one of 'identity'"),
        ({"weight_std": 0.0}, ValueError, "weight_std=0.0: expected a finite number above 0"),
        ({"weight_std": -1.0}, ValueError, "weight_std=-1.0: expected a finite number above 0"),
        ({"bias_std": -0.1}, ValueError, "bias_std=-0.1: expected a finite number of at least"),
        ({"bias_std": np.inf}, ValueError, "bias_std=inf: expected a finite number"),
        ({"activation_scale": 0}, ValueError, "activation_scale=0: expected .* at least"),
        ({"parametrization": "mup"}, ValueError, "parametrization='mup': expected one of 'ntk', "),
        ({"parametrization": "standard"}, ValueError, "width=None: expected the width of the hid"),
        ({"width": 10}, ValueError, "width=10: expected None in the NTK parametrization"),
        ({"parametrization": "standard", "width": 0}, ValueError, "width=0: expected an integer"),
        ({"layer_weights": [1, 1]}, ValueError, r"layer_weights=\[1, 1\]: expected 4 numbers"),
        ({"layer_weights": [1, 1, 1, -1]}, ValueError, "layer_weights=.*: expected 4 numbers"),
        ({"layer_weights": [0, 0, 0, 0]}, ValueError, "layer_weights=.*: expected 4 .* not all 0"),
        ({"layer_weights": [1, 1, 1, np.nan]}, ValueError, "layer_weights=.*: expected 4 numbers"),
        (
            {"layer_weights": [1, 1, 1, 1], "width": 3, "parametrization": "standard"},
            ValueError,
            "layer_weights=.*: expected None with parametrization='standard'",
        ),
        ({"tolerance": 0.0}, ValueError, "tolerance=0.0: expected a finite number above 0"),
        ({"activation": "sign"}, ValueError, "'sign': no tangent kernel .* jump is a point mass"),
        ({"Z": np.ones((2, 4))}, ValueError, r"Z has shape \(2, 4\): expected 3 columns"),
        ({"Z": [[1.0, 2.0, np.nan]]}, ValueError, r"Z\[0, 2\]=.*: expected numbers that are fini"),
        ({"X": [1.0, 2.0]}, ValueError, r"X has shape \(2,\): expected a matrix"),
        (
            {"X": [[np.inf, 1.0, 1.0]]},
            ValueError,
            r"X\[0, 0\]=.*inf.*: expected numbers that are f",
        ),
        ({"X": np.ones((2, 3)) * 1e200}, OverflowError, "depth=3: the largest entry .* too large"),
        ({"X": np.ones((2, 3)) * 1e-200}, OverflowError, "depth=3: the largest entry .* too small"),
        ({"weight_std": 1e100}, OverflowError, "too large for float64; .* or normalize=True"),
        (
            {"X": np.ones((2, 3), np.float32) * 1e25},
            OverflowError,
            "depth=3: .* too large for float32",
        ),
    ],
)
def test_bad_input(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        infinite.ntk(**{"X": np.ones((2, 3)), **arguments})


@pytest.mark.parametrize("activation", ["erf", "sin", "gaussian"])
def test_samples_whose_squares_overflow_are_refused(activation: str) -> None:
    """They made kernels of NaN: of opposite samples, or normalized."""
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]])
    for normalize in (False, True):
        with pytest.raises(OverflowError, match=r"deviations up to 7.07e\+159 .* at most 1e\+153"):
            infinite.ntk(X * 1e160, activation=activation, normalize=normalize)
    assert np.isfinite(infinite.ntk(X * 1e152, activation=activation, normalize=True)).all()
    # ReLU makes nothing of size.
    assert np.isfinite(infinite.ntk(X * 1e160, bias_std=1.0, normalize=True)).all()


@pytest.mark.parametrize("activation", ["gelu", "sin", "erf", "tanh", "elu", "silu"])
def test_samples_whose_squares_vanish_are_refused(activation: str) -> None:
    """Their angles had lost digits in silence, or all of them."""
    X = np.random.default_rng(0).standard_normal((4, 3))
    plain = infinite.nngp(1e-100 * X, depth=1, activation=activation, normalize=True)
    small = infinite.nngp(1e-152 * X, depth=1, activation=activation, normalize=True)
    np.testing.assert_allclose(small, plain, rtol=1e-9)
    options: dict[str, Any] = {"depth": 1, "activation": activation}
    message = r"standard deviations down to .* before an activation; expected at least 1.5e-154, or"
    calls: list[Any] = [
        lambda X: infinite.nngp(X, **options, normalize=True),
        lambda X: infinite.ntk(X, **options),
        lambda X: infinite.smallest_angle(X, **options),
    ]
    for size, call in ((1e-155, calls[0]), (1e-160, calls[1]), (1e-310, calls[2])):
        with pytest.raises(OverflowError, match=message):
            call(size * X)
    # Beside biases they are as good as 0, and so are units that are not 0 at 0.
    biased = infinite.nngp(1e-160 * X, **options, bias_std=1.0, normalize=True)
    np.testing.assert_allclose(biased, 1.0, rtol=1e-12)
    at_0 = infinite.nngp(1e-160 * X, depth=1, activation="sigmoid", normalize=True)
    np.testing.assert_allclose(at_0, 1.0, rtol=1e-12)


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastntk._support.memory.ALWAYS_THERE", 0)
    monkeypatch.setattr("fastntk._support.memory.available_memory", lambda: 10**6)
    with pytest.raises(MemoryError, match=r"2 kernel\(s\) of 1000 × 1000 in float64"):
        infinite.ntk(np.ones((1000, 2)), depth=[1, 2])


def test_activations_given_as_objects() -> None:
    X = samples(5, 3)
    for slope in (0.0, 1.0):
        name = "identity" if slope else "relu"
        leaky = activations.leaky_relu(slope)
        assert_close(infinite.ntk(X, activation=leaky), infinite.ntk(X, activation=name), "float64")
