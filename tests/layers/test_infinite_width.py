# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks described by their layers at infinite width: formulas, invariants, errors, refusals."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given, settings
from hypothesis import strategies as st
from limit_reference import exact_kernels
from networks_of_reference import NEURAL_TANGENTS

import fastntk
from fastntk import activations, infinite, layers
from fastntk.layers import Dense, Erf, LayerNorm, ReLU, Rescale, Residual, RMSNorm

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

BLOCK = Residual([LayerNorm(), Dense(8, weight_std=1.3), ReLU(), Dense(8, bias_std=0.2)], scale=0.7)
GAINS = LayerNorm(gain=True, shift=True, trained=(0.5, 2.0))
SMOOTH = Residual([RMSNorm(epsilon=0.1), Dense(8, bias_std=0.5), Erf(), Dense(8)])
PRENORM = fastntk.Network([Dense(8, bias_std=0.3), BLOCK, BLOCK, GAINS, ReLU(), Dense(1)], inputs=4)
POSTNORM = fastntk.Network(
    [Dense(8), SMOOTH, GAINS, SMOOTH, LayerNorm(), Dense(8), Erf(), Dense(2, trained=0.5)], inputs=4
)
SAMPLES = np.random.default_rng(0).standard_normal((6, 4))


def as_array(matrix: Any) -> Array:
    return np.array(matrix.tolist(), dtype=np.float64)


def limit(net: fastntk.Network, **given: Any) -> infinite.LayeredNetwork:
    """Return the limit, that of a plain chain as well, by the steps."""
    return infinite.LayeredNetwork(net.layers, inputs=net.inputs, bottlenecks="grow", **given)


def has_tangent_kernel(net: infinite.LayeredNetwork) -> bool:
    try:
        net.require_tangent_kernel()
    except ValueError:
        return False
    return True


@settings(max_examples=25)
@given(networks(), st.integers(0, 10**6))
def test_against_formulas(net: fastntk.Network, seed: int) -> None:
    X = np.random.default_rng(seed).standard_normal((4, net.inputs))
    found = limit(net)
    sigma, theta = (as_array(kernel) for kernel in exact_kernels(net, X))
    nngp = found.nngp(X)
    np.testing.assert_allclose(nngp, sigma, rtol=0, atol=1e-13 * sigma.diagonal().max())
    assert (nngp == nngp.T).all()
    if not has_tangent_kernel(found):
        return
    ntk = found.ntk(X)
    scale = theta.diagonal().max()
    np.testing.assert_allclose(ntk, theta, rtol=0, atol=1e-13 * scale)
    assert (ntk == ntk.T).all()
    assert np.linalg.eigvalsh(ntk)[0] >= -1e-14 * np.trace(ntk)
    assert np.linalg.norm(ntk - theta, 2) <= found.kernel_error(X, ntk) + 1e-300
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(found.ntk(X[order]), ntk[np.ix_(order, order)], 0, 1e-14 * scale)
    np.testing.assert_allclose(found.ntk(X[:2], X), ntk[:2], rtol=0, atol=1e-14 * scale)


@pytest.mark.parametrize("name", NEURAL_TANGENTS)
def test_against_neural_tangents(name: str) -> None:
    reference = np.load(Path(__file__).with_name("neural_tangents.npz"))
    net, X = NEURAL_TANGENTS[name].infinite(), reference["X"]
    np.testing.assert_allclose(net.nngp(X), reference[f"{name}_nngp"], rtol=1e-12)
    np.testing.assert_allclose(net.ntk(X), reference[f"{name}_ntk"], rtol=1e-11)


@pytest.mark.parametrize("net", [PRENORM, POSTNORM], ids=["prenorm", "postnorm"])
def test_near_duplicates_keep_their_digits(net: fastntk.Network) -> None:
    X = SAMPLES.copy()
    X[3] = X[0] * (1 + 2.0**-20) + 1e-8 * X[5]
    X[4] = 2.0 * X[1]
    found = limit(net).smallest_angle(X, k=15)
    _, theta = exact_kernels(net, X, digits=60)
    with mpmath.workdps(60):
        for pair in found:
            i, j = pair.i, pair.j
            cosine = theta[i, j] / mpmath.sqrt(theta[i, i] * theta[j, j])
            exact = float(mpmath.acos(cosine))
            if pair.resolved:
                assert pair.angle == pytest.approx(exact, rel=1e-3 if net is POSTNORM else 1e-9)
            else:
                assert net is POSTNORM
                assert pair.angle == pytest.approx(exact, rel=0.1)
    assert (found[0].i, found[0].j) == (0, 3)
    assert found[0].angle < 1e-3
    assert found[0].resolved


LAYERS: dict[str, Any] = {
    "prenorm": lambda phi: [Dense(8), _block(phi), RMSNorm(), Dense(1)],
    "two prenorm": lambda phi: [Dense(8, bias_std=0.3), _block(phi), _block(phi), Dense(1)],
    "epsilon": lambda phi: [Dense(8), RMSNorm(epsilon=1e-5), phi, Dense(1)],
    "residual": lambda phi: [
        Dense(8, bias_std=0.5),
        Residual([Dense(8), phi, Dense(8)]),
        Dense(8),
        phi,
        Dense(1),
    ],
}


def _block(phi: Any) -> Residual:
    return Residual([RMSNorm(), Dense(8), phi, Dense(8)])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("phi", [ReLU(), layers.Tanh(), layers.GELU(), Erf()], ids=repr)
@pytest.mark.parametrize("kind", LAYERS)
def test_samples_of_very_different_sizes_in_either_order(kind: str, phi: Any) -> None:
    """No difference of sizes is what is left of two large parts."""
    net = limit(fastntk.Network(LAYERS[kind](phi), inputs=4))
    x, y = np.random.default_rng(1).standard_normal((2, 4))
    for size in (1e3, 1e8, 1e16, 1e50):
        X = np.array([x, size * y])
        K, reversed_order = net.ntk(X), net.ntk(X[::-1])[::-1, ::-1]
        scale = np.sqrt(K[0, 0] * K[1, 1])
        assert abs(K[0, 1] - reversed_order[0, 1]) <= 4e-15 * scale
        if kind == "prenorm" and phi == ReLU():
            with mpmath.workdps(80):
                _, theta = exact_kernels(fastntk.Network(net.layers, inputs=4), X, digits=80)
                error = abs(K[0, 1] - theta[0, 1]) / mpmath.sqrt(theta[0, 0] * theta[1, 1])
                assert error <= 1e-14


def test_angles_of_large_samples_through_an_epsilon() -> None:
    net = limit(fastntk.Network([Dense(8), RMSNorm(epsilon=1e-5), ReLU(), Dense(1)], inputs=4))
    X = np.random.default_rng(1).standard_normal((3, 4))
    assert net.smallest_angle(1e160 * X).angle == pytest.approx(
        net.smallest_angle(1e100 * X).angle, rel=1e-12
    )


@pytest.mark.parametrize("phi", ["relu", "erf", "gelu", "tanh", "silu"])
def test_bounds_of_angles(phi: str) -> None:
    """The bounds are those of the network with the same layers that is followed layer by layer."""
    X = np.array([1e-6, 1e-3, 0.5, 3.0])
    chain = [Dense(8, bias_std=0.3), layers.Activation(phi), Dense(8), layers.Activation(phi)]
    net = fastntk.Network([*chain, Dense(1)], inputs=4)
    plain = net.infinite()
    assert isinstance(plain, infinite.Network)
    for ask in ("gradient_angle", "embedding_angle"):
        one, other = (getattr(each, ask)(X, bounds=True) for each in (plain, limit(net)))
        np.testing.assert_allclose(other.angle, one.angle, rtol=1e-12, atol=1e-15)
        assert (other.lower <= other.angle).all()
        assert (other.angle <= other.upper).all()
        widths = [each.upper - each.lower + 1e-12 for each in (one, other)]
        assert (widths[1] < 3 * widths[0]).all()


def test_bounds_of_angles_contain_the_exact_ones() -> None:
    angles = [1e-7, 1e-3, 0.3, 2.0, 3.1]
    found = limit(POSTNORM).gradient_angle(angles, bounds=True)
    for k, angle in enumerate(angles):
        with mpmath.workdps(60):
            # Rows of norm √d at this angle, in all digits, as a product of theirs.
            one = [2, 0, 0, 0], [2 * mpmath.cos(mpmath.mpf(angle)), 2 * mpmath.sin(angle), 0, 0]
            rows = mpmath.matrix(one)
            theta = exact_kernels(POSTNORM, rows, digits=60)[1]
            exact = mpmath.acos(theta[0, 1] / mpmath.sqrt(theta[0, 0] * theta[1, 1]))
        assert found.lower[k] <= exact <= found.upper[k]
    assert found.resolved[1:].all()


def test_a_sample_that_comes_twice_is_never_resolved() -> None:
    X = np.vstack([SAMPLES, SAMPLES[:1]])
    for net in (PRENORM, POSTNORM):
        found = limit(net).conditioning(X)
        assert not found.resolved
        assert found.bounds is not None
        assert found.bounds.condition_number.upper == np.inf
        pair = limit(net).smallest_angle(X)
        assert (pair.angle, pair.i, pair.j, pair.resolved) == (0.0, 0, 6, True)


def test_errors_of_kernels_hold() -> None:
    for net in (PRENORM, POSTNORM):
        found = limit(net)
        kernel = found.ntk(SAMPLES)
        exact = as_array(exact_kernels(net, SAMPLES)[1])
        error = found.kernel_error(SAMPLES, kernel)
        assert np.linalg.norm(kernel - exact, 2) <= error <= 1e-9 * np.linalg.norm(exact)
    made = [Dense(8), BLOCK, RMSNorm(), layers.Tanh(), Dense(1)]
    coarse, fine = (
        fastntk.Network(made, inputs=4).infinite(tolerance=tolerance) for tolerance in (1e-4, 1e-13)
    )
    kernel = fine.ntk(SAMPLES)
    difference = np.linalg.norm(coarse.ntk(SAMPLES) - kernel, 2)
    assert 0 < difference <= coarse.kernel_error(SAMPLES, kernel)


@pytest.mark.parametrize("phi", [ReLU(), layers.Abs()])
def test_two_rows_of_zeros_are_the_same_sample(phi: Any) -> None:
    block = Residual([RMSNorm(epsilon=1, shift=True), phi, Dense(8)])
    net = fastntk.Network([Dense(8), block, Dense(1)], inputs=3).infinite()
    X = np.zeros((4, 3))
    X[2] = SAMPLES[0, :3]
    K = net.ntk(X)
    np.testing.assert_array_equal(K[[0, 0, 1], [1, 3, 3]], K[0, 0])
    np.testing.assert_array_equal(net.ntk(X, X.copy()), K)
    np.testing.assert_array_equal(net.ntk_operator(X).columns([1]), K[:, [1]])
    assert net.smallest_angle(X) == (0.0, 0, 1, True)


def test_a_block_of_scale_0_is_the_identity() -> None:
    nothing = Residual([Dense(8), ReLU(), Dense(8)], scale=0.0)
    without = fastntk.Network([Dense(8, bias_std=0.3), Dense(1)], inputs=4)
    with_one = fastntk.Network([Dense(8, bias_std=0.3), nothing, Dense(1)], inputs=4)
    for kind in ("nngp", "ntk"):
        np.testing.assert_array_equal(
            getattr(limit(with_one), kind)(SAMPLES), getattr(limit(without), kind)(SAMPLES)
        )


def test_a_normalization_forgets_the_scale_of_its_input() -> None:
    scales = np.array([1e-30, 0.5, 1.0, 3.0, 1e10, 7.0])[:, np.newaxis]
    frozen = Dense(8, trained=False)
    net = limit(fastntk.Network([frozen, RMSNorm(), BLOCK, ReLU(), Dense(1)], inputs=4))
    np.testing.assert_allclose(net.ntk(scales * SAMPLES), net.ntk(SAMPLES), rtol=1e-13)


def test_depths_in_one_pass_are_those_asked_for_singly() -> None:
    several = limit(PRENORM, blocks=[2, 0, 1])
    found = several.kernels(SAMPLES)
    for k, blocks in enumerate((2, 0, 1)):
        one = several.at_blocks(blocks)
        np.testing.assert_array_equal(found.ntk[k], one.ntk(SAMPLES))
        np.testing.assert_array_equal(found.nngp[k], one.nngp(SAMPLES))
        kept = [PRENORM.layers[0], *[BLOCK] * blocks, *PRENORM.layers[3:]]
        single = limit(fastntk.Network(kept, inputs=4))
        np.testing.assert_allclose(found.ntk[k], single.ntk(SAMPLES), rtol=1e-14)


def test_a_plain_chain_is_the_network_of_its_layers() -> None:
    chain = [Dense(8, bias_std=0.1), Erf(), Dense(9, trained=(0, 1)), ReLU(scale=1.0), Dense(2)]
    net = fastntk.Network(chain, inputs=4).infinite(tolerance=1e-8)
    expected = infinite.Network(
        activation=["erf", "relu"],
        weight_std=1.0,
        bias_std=[0.1, 0.0, 0.0],
        activation_scale=[None, 1.0],
        layer_weights=[(1, 1), (0, 1), (1, 1)],
        tolerance=1e-8,
    )
    assert net == expected
    by_steps = limit(fastntk.Network(chain, inputs=4))
    np.testing.assert_allclose(by_steps.ntk(SAMPLES), expected.ntk(SAMPLES), rtol=1e-13)
    frozen = fastntk.Network([Dense(8, trained=False), ReLU(), Dense(1, trained=0)], inputs=4)
    assert (frozen.infinite().ntk(SAMPLES) == 0).all()


def test_wherever_a_kernel_goes() -> None:
    net = PRENORM.infinite(bottlenecks="grow")
    kernel = net.ntk(SAMPLES)
    tiles = list(net.ntk_tiles(SAMPLES, tile=4))
    assert all((t.kernel == kernel[t.rows, t.cols]).all() for t in tiles)
    assert (net.ntk(SAMPLES, out="packed").to_dense() == kernel).all()
    np.testing.assert_allclose(net.ntk_operator(SAMPLES) @ np.eye(6), kernel, rtol=1e-14)
    assert (net.ntk(SAMPLES, dtype="float32") == kernel.astype(np.float32)).all()
    cosines = net.ntk(SAMPLES, normalize=True)
    diagonal = np.sqrt(kernel.diagonal())
    np.testing.assert_allclose(cosines, kernel / np.outer(diagonal, diagonal), rtol=1e-14)
    again = pickle.loads(pickle.dumps(net))
    assert again == net
    assert (again.ntk(SAMPLES) == kernel).all()
    names = {name: getattr(layers, name) for name in layers.__all__}
    assert eval(repr(net), names | {"LayeredNetwork": infinite.LayeredNetwork}) == net


def test_regression() -> None:
    net, y = PRENORM.infinite(), SAMPLES[:4, 0]
    kernel = net.ntk(SAMPLES)
    expected = kernel[:, :4] @ np.linalg.solve(kernel[:4, :4] + 0.1 * np.eye(4), y)
    for solver in ("cholesky", "cg"):
        found = net.predict(SAMPLES[:4], y, SAMPLES, ridge=0.1, solver=solver).mean
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    nngp = net.nngp(SAMPLES)
    trained = net.regression(SAMPLES[:4], kernel="nngp", ridge=0.1).predict(
        SAMPLES[4:], y, covariance=True
    )
    posterior = nngp[4:, 4:] - nngp[4:, :4] @ np.linalg.solve(
        nngp[:4, :4] + 0.1 * np.eye(4), nngp[:4, 4:]
    )
    assert trained.covariance is not None
    np.testing.assert_allclose(trained.covariance, posterior, rtol=1e-10)


@pytest.mark.parametrize(
    "head",
    [
        [GAINS, ReLU()],
        [GAINS, Dense(1), ReLU()],
        [RMSNorm(shift=True), Erf()],
        [ReLU(), RMSNorm(gain=True)],
        [Erf(), GAINS],
        [Erf(), Residual([Dense(1)]), LayerNorm()],
        [Rescale(trained=0.5), ReLU()],
    ],
    ids=[
        *("gain before relu", "gain before weights", "shift before erf", "gain after relu"),
        *("mean of erf", "mean of a sum with erf", "gain without a normalization"),
    ],
)
def test_wide_networks_come_to_the_limit(head: list[Any]) -> None:
    """The mean of many draws, as single ones are off by a multiple of 1/√width."""
    X, width = SAMPLES[:3], 256
    block = [LayerNorm(gain=True), Dense(width), ReLU(), Dense(width)]
    wide = {Dense: Dense(width), Residual: Residual([Dense(width)])}
    last = [wide.get(type(layer), layer) for layer in head]
    net = fastntk.Network(
        [Dense(width, bias_std=0.3), Residual(block, scale=0.7), *last, Dense(1)], inputs=4
    )
    exact = net.infinite().kernels(X)
    drawn = [net.sample(seed) for seed in range(96)]
    outputs = np.hstack([each(X) for each in drawn])
    tangent = np.mean([each.ntk(X) for each in drawn], axis=0)
    draws = outputs @ outputs.T / len(drawn), tangent
    for found, kernel, tolerance in zip(draws, exact, (0.3, 0.03), strict=True):
        assert np.linalg.norm(found - kernel) < tolerance * np.linalg.norm(kernel)


@pytest.mark.parametrize(
    "phi",
    [layers.Identity(), layers.LeakyReLU(1.0), layers.ABReLU(-2.0, -2.0)],
    ids=["identity", "leaky", "negative"],
)
def test_an_identity_makes_no_difference(phi: Any) -> None:
    """Of the inputs, of Gaussian neurons, of sums with their gains, and of an activation."""
    gains = RMSNorm(gain=True, shift=True)
    described: list[Any] = [
        lambda i: [*i, Dense(8), *i, ReLU(), *i, Dense(8), *i, Dense(1)],
        lambda i: [
            Dense(8, bias_std=0.3),
            Residual([*i, Dense(8), *i, *i, ReLU(), Dense(8), *i]),
            *i,
            Erf(),
            Dense(1),
        ],
        lambda i: [Dense(8, bias_std=0.3), gains, BLOCK, *i, Dense(8), *i, gains, *i, Dense(1)],
        lambda i: [Dense(8), *i, LayerNorm(gain=True), *i, ReLU(), *i, Dense(1)],
    ]
    close = np.vstack([SAMPLES, SAMPLES[0] + 1e-7 * SAMPLES[1]])
    for made in described:
        plain, other = (fastntk.Network(made(i), inputs=4) for i in ([], [phi]))
        if phi.phi.slopes == (1.0, 1.0):
            kernel, exact = (each.sample(1).ntk(close) for each in (other, plain))
            np.testing.assert_allclose(kernel, exact, rtol=1e-13, atol=1e-15)
        expected, found = plain.infinite(), other.infinite()
        for kernel, exact in zip(found.kernels(close), expected.kernels(close), strict=True):
            np.testing.assert_allclose(kernel, exact, rtol=1e-14, atol=1e-15)
        angle = expected.smallest_angle(close).angle
        assert found.smallest_angle(close).angle == pytest.approx(angle, rel=1e-12)
    with pytest.raises(ValueError, match="a branch that ends with what it is added to"):
        fastntk.Network([Dense(4), Residual([phi]), Dense(1)], inputs=4).infinite()


def test_a_mean_that_is_0_makes_no_difference() -> None:
    """Of odd functions; the mean of all others is refused."""
    between: list[Any] = [layers.Tanh(), layers.Softsign(), layers.Hardtanh(-0.5, 0.5)]
    for phi in between:
        both = [
            fastntk.Network([Dense(8, bias_std=0.3), phi, norm, Dense(1)], inputs=4).infinite()
            for norm in (LayerNorm(gain=True, epsilon=0.1), RMSNorm(gain=True, epsilon=0.1))
        ]
        assert (both[0].ntk(SAMPLES) == both[1].ntk(SAMPLES)).all()
    for phi in (layers.Hardtanh(-0.5, 1.0), layers.Erf(1.0, 0.1), layers.GELU()):
        net = fastntk.Network([Dense(8), phi, LayerNorm(), Dense(1)], inputs=4)
        with pytest.raises(ValueError, match=r"layers\[2\]=LayerNorm\(\): .* that are odd"):
            net.infinite()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            [Dense(4), ReLU(), ReLU(), Dense(1)],
            "layers[2]=ReLU(): no limit of infinite width is kn",
        ),
        ([ReLU(), Dense(1)], "layers[0]=ReLU(): no limit of infinite width is known for an activ"),
        ([Dense(4), ReLU(), LayerNorm(), Dense(1)], "layers[2]=LayerNorm(): no limit of infinite"),
        ([LayerNorm(), Dense(1)], "layers[0]=LayerNorm(): no limit of infinite width is known"),
        ([RMSNorm(gain=True), Dense(1)], "layers[0]=RMSNorm(gain=True): there is no limit"),
        (
            [Dense(4), Residual([Dense(4), ReLU()]), Dense(1)],
            "for a branch that ends with an activation's outputs, as it is not independent",
        ),
        (
            [Dense(4), Residual([RMSNorm()]), Dense(1)],
            "a branch that ends with what it is added to",
        ),
        (
            [Dense(4), Residual([Residual([Dense(4)])]), Dense(1)],
            "layers[1]=Residual([Residual([Dense(4)])]): no limit",
        ),
        ([Residual([Dense(4)]), Dense(1)], "for a skip connection from the inputs"),
        (
            [Dense(4), ReLU(), Residual([Dense(4)]), ReLU(), Dense(1)],
            "layers[3]=ReLU(): no limit of infinite width is known for an activation of a sum with",
        ),
        (
            [Dense(8), ReLU(), Dense(3), ReLU(), Dense(8), Dense(1)],
            "layers[2]=Dense(3): a layer of 3 neurons between 8 and 8 is a bottleneck",
        ),
    ],
)
def test_what_has_no_limit_says_why(made: list[Any], words: str) -> None:
    net = fastntk.Network(made, inputs=4)
    with pytest.raises(ValueError, match="expected") as raised:
        net.infinite()
    assert words in str(raised.value)


def test_bottlenecks_that_grow() -> None:
    narrow, wide = (
        fastntk.Network([Dense(8), Residual([Dense(k), ReLU(), Dense(8)]), Dense(1)], inputs=4)
        for k in (3, 8)
    )
    with pytest.raises(ValueError, match=r"layers\[1\].layers\[0\]=Dense\(3\): a layer of 3"):
        narrow.infinite()
    grown = narrow.infinite(bottlenecks="grow")
    np.testing.assert_array_equal(grown.ntk(SAMPLES), wide.infinite().ntk(SAMPLES))


def test_tangent_kernels_without_a_closed_form_say_why() -> None:
    gain = RMSNorm(gain=True)
    refused = [
        [Dense(4), gain, Erf(), Dense(1)],
        [Dense(4), gain, Residual([Dense(4), ReLU(), Dense(4)]), ReLU(), Dense(1)],
        [Dense(4), layers.Sign(), Dense(4), RMSNorm(), Dense(1)],
        [Dense(4), ReLU(), Dense(4), layers.Sign(), Dense(1)],
    ]
    words = [
        "layers[2]=Erf(): no closed form",
        "layers[3]=ReLU(): no closed form",
        "layers[1]=Sign()",
        "layers[3]=Sign()",
    ]
    for made, expected in zip(refused, words, strict=True):
        net = fastntk.Network(made, inputs=4).infinite()
        assert np.isfinite(net.nngp(SAMPLES)).all()
        with pytest.raises(ValueError, match="expected") as raised:
            net.ntk(SAMPLES)
        assert expected in str(raised.value)
    constant = RMSNorm(gain=True, trained=(0, 1))
    assert (
        fastntk.Network([Dense(4), constant, Erf(), Dense(1)], inputs=4)
        .infinite()
        .ntk(SAMPLES)
        .all()
    )


def test_samples_that_cannot_be_taken() -> None:
    net = fastntk.Network([Dense(4), RMSNorm(), Dense(1)], inputs=4).infinite()
    with pytest.raises(ValueError, match=r"X has 3 columns: expected 4, the number of inputs"):
        net.ntk(SAMPLES[:, :3])
    zero = np.vstack([SAMPLES, np.zeros((1, 4))])
    with pytest.raises(ValueError, match=r"layers\[1\]=RMSNorm\(\): X\[6\] is 0 there"):
        net.ntk(zero)
    with pytest.raises(ValueError, match=r"layers\[1\]=RMSNorm\(\): Z\[6\] is 0 there"):
        net.ntk(SAMPLES[:2], zero)
    for phi in (ReLU(), layers.Identity()):
        chain = fastntk.Network([Dense(4), phi, Dense(1)], inputs=4).infinite()
        with pytest.raises(OverflowError, match=r"expected samples, .* and scales of activations"):
            chain.ntk(1e200 * SAMPLES)
    stable = fastntk.Network([Dense(4), RMSNorm(epsilon=1e-5), Dense(1)], inputs=4).infinite()
    assert (stable.ntk(zero)[6] == 0).all()
    with pytest.raises(TypeError, match=r"blocks=\[0, 1\]: expected an integer"):
        PRENORM.infinite(blocks=[0, 1]).conditioning(SAMPLES)
    with pytest.raises(ValueError, match=r"blocks\[1\]=3: expected at most 2"):
        PRENORM.infinite(blocks=[0, 3])
    with pytest.raises(ValueError, match="bottlenecks='widen': expected one of"):
        PRENORM.infinite(bottlenecks="widen")


def test_an_exponential_that_overflows_is_an_error_and_no_warning() -> None:
    block = Residual([Dense(4), layers.Exp(), Dense(4)])
    net = fastntk.Network([Dense(4), block, Dense(1)], inputs=4).infinite()
    with pytest.raises(
        OverflowError, match=r"^layers\[1\]\.layers\[1\]=Exp.*: samples grow beyond"
    ):
        net.ntk(1e3 * SAMPLES)


@pytest.mark.parametrize("after", [[], [RMSNorm()], [RMSNorm(epsilon=1e-5)]], ids=str)
@pytest.mark.parametrize("scale", [0.0, 1.0])
@pytest.mark.parametrize("phi", [layers.Monomial(4), layers.Polynomial(1.0, 0.0, 0.0, 0.0, 1.0)])
def test_powers_that_overflow_are_an_error_and_no_warning(
    phi: Any, scale: float, after: list[Any]
) -> None:
    block = Residual([Dense(4, weight_std=1e90), phi, *after, Dense(4)], scale=scale)
    net = fastntk.Network([Dense(4), block, Dense(1)], inputs=4).infinite()
    for call in (net.ntk, net.nngp):
        with pytest.raises(OverflowError, match=r"^layers\[1\]\.layers\[1\]=.*: samples grow bey"):
            call(SAMPLES)


def test_errors_count_what_the_network_counts() -> None:
    """It has no depth: blocks are what users ask for."""
    zero = np.vstack([SAMPLES, np.zeros((1, 4))])
    block = Residual([Dense(4), ReLU(), Dense(4)])
    net = fastntk.Network([Dense(4), block, block, Dense(1)], inputs=4)
    for blocks, words in ((0, "0 blocks"), (1, "1 block"), ([2, 1], "1 block"), (2, "2 blocks")):
        with pytest.raises(ValueError, match=rf"^X\[6\] has a kernel of 0 after {words}, as a row"):
            net.infinite(blocks=blocks).ntk(zero, normalize=True)
    with pytest.raises(ValueError, match="kernel of 0 after 2 blocks, as a row"):
        net.infinite().smallest_angle(zero)
    frozen = [Dense(4, trained=False), Residual([Dense(4, trained=False)]), Dense(1, trained=False)]
    fixed = fastntk.Network(frozen, inputs=4).infinite()
    with pytest.raises(ValueError, match=r"^layers: expected some that are trained after 1 block"):
        fixed.smallest_angle(SAMPLES)
    with pytest.raises(ValueError, match=r"^layers: expected some that are trained after 1 block"):
        fixed.ntk(SAMPLES, normalize=True)
    with pytest.raises(ValueError, match=r"^X\[6\] has a kernel of 0 after 1 block"):
        fixed.nngp(zero, normalize=True)
    with pytest.raises(
        OverflowError, match=r"^blocks=0: the largest entry of the kernel is too la"
    ):
        net.infinite(blocks=[2, 0]).ntk(1e19 * SAMPLES, dtype="float32")
    smooth = fastntk.Network(
        [Dense(4), Residual([Dense(4), layers.Tanh(), Dense(4)]), Dense(1)], inputs=2
    )
    with pytest.warns(RuntimeWarning, match="^theta=1e-10: the angle after 1 block is between"):
        smooth.infinite().gradient_angle([1e-10])


def test_custom_activations() -> None:
    cube = activations.custom(lambda x: x**3, lambda x: 3 * x**2, name="cube")
    own, table = (
        fastntk.Network(
            [Dense(4), Residual([Dense(4), layers.Activation(phi), Dense(4)]), RMSNorm(), Dense(1)],
            inputs=4,
        ).infinite()
        for phi in (cube, activations.monomial(3))
    )
    np.testing.assert_allclose(own.ntk(SAMPLES), table.ntk(SAMPLES), rtol=1e-8)


SKIPPED = [Dense(8), Residual([LayerNorm(), Dense(8), ReLU(), Dense(8)]), LayerNorm()]


@pytest.mark.parametrize("power", [155, 160, 300, -155, -160, -300])
def test_sums_whose_squares_leave_the_range_are_refused(power: int) -> None:
    """There were kernels of NaN, and small angles that were wrong and called resolved."""
    X = 10.0**power * np.random.default_rng(0).standard_normal((4, 5))
    plain = Residual([Dense(8), ReLU(), Dense(8)])
    for some in ([Dense(8), plain, Dense(1)], [*SKIPPED, Dense(1)]):
        limit = fastntk.Network(some, inputs=5).infinite()
        if power < 0 and some[1] is not plain:  # only the branch is left
            assert np.isfinite(limit.ntk(X)).all()
            continue
        for call in (limit.ntk, limit.nngp, limit.smallest_angle, limit.conditioning):
            with pytest.raises(OverflowError, match=r"^layers\[[01]\].* samples have sizes"):
                call(X)


def test_weights_whose_squares_overflow_are_refused_without_a_warning() -> None:
    large = Dense(8, weight_std=1e150)
    net = fastntk.Network([large, Residual([large, ReLU(), large]), Dense(1)], inputs=2)
    with pytest.raises(OverflowError, match="samples have sizes up to 1e"):
        net.infinite().ntk(np.eye(2))


def test_inputs_of_few_digits_can_be_normalized() -> None:
    net = fastntk.Network([RMSNorm(), Dense(8), ReLU(), Dense(1)], inputs=5)
    X = np.random.default_rng(0).standard_normal((3, 5))
    small = net.infinite().smallest_angle(1e-310 * X)
    assert abs(small.angle - net.infinite().smallest_angle(X).angle) < 1e-10
