# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The entries of the activations, and that everything which asks them agrees."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from typing import TYPE_CHECKING, Any, cast

import click
import mpmath
import numpy as np
import pytest
from activation_cases import ALL, FUNCTIONS, identify

import fastntk
import fastntk._core as _core
from fastntk import activations
from fastntk._cli import cli
from fastntk.activations import Activation, gaussian_nodes
from fastntk.activations.compiled import core_activation
from fastntk.activations.table import CONSTRUCTORS
from fastntk.infinite.duals import dual_of
from fastntk.linearity import hessian_vector_product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

NAMES = (
    "identity relu leaky_relu abrelu abs sign relu2 rectified_monomial monomial hermite erf gelu "
    "sin cos exp gaussian rbf gabor exp_normalized tanh sigmoid silu softplus elu selu celu mish "
    "gelu_tanh softsign squareplus relu6 hardtanh hardsigmoid hardswish"
)
IN_CORE = [phi for phi in ALL if phi.in_core]
COMPILED = [
    activations.monomial(1),
    activations.monomial(3),
    activations.polynomial(2.0, 1.0),
    activations.polynomial(0.2, 0.7, -0.3, 0.1),
    activations.exponential(0.3),
    activations.gaussian(0.7),
    activations.rbf(0.6),
    activations.gabor(),
]

# The definitions, once more, in as many digits as one likes.
DEFINITIONS: dict[str, Callable[..., Any]] = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0),
    "leaky_relu": lambda x, alpha: max(x, 0) + alpha * min(x, 0),
    "abrelu": lambda x, negative, positive: positive * max(x, 0) + negative * min(x, 0),
    "abs": abs,
    "sign": mpmath.sign,
    "rectified_monomial": lambda x, degree: max(x, 0) ** degree,
    "monomial": lambda x, degree: x**degree,
    "polynomial": lambda x, *coefficients: sum(c * x**k for k, c in enumerate(coefficients)),
    "hermite": lambda x, degree: (
        mpmath.hermite(degree, x / mpmath.sqrt(2))
        / mpmath.sqrt(2**degree * mpmath.factorial(degree))
    ),
    "erf": lambda x, slope, offset: mpmath.erf(slope * x) + offset,
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "sin": lambda x, frequency, phase: mpmath.sin(frequency * x + phase),
    "cos": lambda x, frequency, phase: mpmath.cos(frequency * x + phase),
    "exp": lambda x, rate: mpmath.exp(rate * x),
    "gaussian": lambda x, rate: mpmath.exp(-rate * x**2),
    "rbf": lambda x, gamma: (
        mpmath.sqrt(2) * mpmath.sin(mpmath.sqrt(2 * mpmath.mpf(gamma)) * x + mpmath.pi / 4)
    ),
    "gabor": lambda x: mpmath.exp(-(x**2)) * mpmath.sin(x),
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "softplus": lambda x, beta: mpmath.log1p(mpmath.exp(beta * x)) / beta,
    "elu": lambda x, alpha: x if x > 0 else alpha * mpmath.expm1(x),
    "selu": lambda x: (
        mpmath.mpf("1.0507009873554804934193349852946")
        * (x if x > 0 else mpmath.mpf("1.6732632423543772848170429916717") * mpmath.expm1(x))
    ),
    "celu": lambda x, alpha: x if x > 0 else alpha * mpmath.expm1(x / mpmath.mpf(alpha)),
    "mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "gelu_tanh": lambda x: (
        x / (1 + mpmath.exp(-mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))
    ),
    "softsign": lambda x: x / (1 + abs(x)),
    "squareplus": lambda x, b: (x + mpmath.sqrt(x**2 + mpmath.mpf(b))) / 2,
    "relu6": lambda x: min(max(x, 0), 6),
    "hardtanh": lambda x, low, high: min(max(x, low), high),
    "hardsigmoid": lambda x: min(max(x + 3, 0), 6) / mpmath.mpf(6),
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / mpmath.mpf(6),
}


def parts(phi: Activation) -> Iterator[Callable[[Any], Any]]:
    """Yield φ, φ' and φ''; of the sign, φ alone."""
    for part in (phi.function, phi.derivative, phi.curvature)[: 1 if phi.name == "sign" else 3]:
        assert part is not None
        yield part


@pytest.mark.parametrize("phi", FUNCTIONS, ids=identify)
def test_entries_against_their_definitions(phi: Activation) -> None:
    definition = DEFINITIONS[phi.name]
    points = np.array([-30.0, -6.5, -2.1, -0.7, -1 / 64, 1 / 64, 0.3, 1.4, 6.5, 30.0])
    with mpmath.workdps(60):
        for order, part in enumerate(parts(phi)):
            expected = [
                float(mpmath.diff(lambda x: definition(x, *phi.parameters), mpmath.mpf(x), order))
                for x in points
            ]
            found = np.broadcast_to(part(points), points.shape)
            np.testing.assert_allclose(found, expected, rtol=2e-13, atol=1e-14)


@pytest.mark.parametrize("phi", FUNCTIONS, ids=identify)
def test_derivatives_at_breakpoints_are_those_from_the_left(phi: Activation) -> None:
    at = np.array([0.0, *phi.breakpoints])
    left = np.where(at == 0, -1e-300, np.nextafter(at, -np.inf))
    for part in list(parts(phi))[1:]:
        assert np.isfinite(part(at)).all()
        np.testing.assert_allclose(part(at), part(left), rtol=2e-15, atol=1e-290)


@pytest.mark.parametrize("phi", FUNCTIONS, ids=identify)
def test_powers_are_free_of_scale(phi: Activation) -> None:
    x = np.array([-4.0, -1.0, -0.25, 0.5, 1.0, 4.0])
    assert phi.function is not None
    exact = [k for k in range(200) if np.array_equal(phi.function(2 * x), 2.0**k * phi.function(x))]
    assert exact == ([] if phi.power is None else [phi.power])


@pytest.mark.parametrize(
    "phi",
    [*FUNCTIONS, activations.leaky_relu(1.0), activations.polynomial(0.0, 1.0, 0.0, -2.0)],
    ids=identify,
)
def test_odd_functions_are_known(phi: Activation) -> None:
    assert phi.function is not None
    x = np.random.default_rng(0).uniform(-3, 3, 50)
    assert phi.odd == np.allclose(phi.function(-x), -phi.function(x), rtol=1e-12)


@pytest.mark.parametrize("phi", ALL, ids=identify)
def test_second_moments(phi: Activation) -> None:
    if phi.function is not None:
        nodes, weights = gaussian_nodes((0.0, *phi.breakpoints), 2)
        expected = float(weights @ phi.function(nodes) ** 2)
        assert phi.second_moment == pytest.approx(expected, rel=1e-12, abs=0)
    state = dual_of(phi).state(np.ones(1))
    assert state.activation[0] * phi.scale == pytest.approx(1.0, rel=1e-12, abs=0)


@pytest.mark.parametrize("phi", [p for p in FUNCTIONS if p.name != "sign"], ids=identify)
def test_derivatives(phi: Activation) -> None:
    x = np.array([-2.1, -0.7, 0.3, 1.4])
    assert phi.function is not None
    assert phi.derivative is not None
    difference = (phi.function(x + 1e-6) - phi.function(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(phi.derivative(x), difference, rtol=1e-7, atol=1e-7)


def one_unit(phi: Activation, z: npt.NDArray[Any]) -> tuple[fastntk.MLP, npt.NDArray[Any]]:
    """Return the network φ(x + b) + b' of one hidden unit with weights of 1, and its samples z."""
    net = fastntk.MLP.from_weights(
        [np.ones((1, 1), z.dtype)] * 2,
        [np.zeros(1, z.dtype)] * 2,
        activation=phi,
        parametrization="standard",
        activation_scale=1.0,
    )
    return net, z[:, np.newaxis]


GRID = np.concatenate([[0.0, -1e-30, 1e-30], np.arange(-64, 65) / 8, [-300.0, -30.0, 30.0, 300.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("phi", IN_CORE + COMPILED, ids=identify)
def test_the_core_computes_value_and_slope(phi: Activation, dtype: str) -> None:
    z = GRID.astype(dtype)
    net, X = one_unit(phi, z)
    value, slope, _ = (np.broadcast_to(part(z.astype(np.float64)), z.shape) for part in parts(phi))
    limits = np.finfo(dtype)
    representable = np.maximum(np.abs(value), np.abs(slope)) < limits.max / 2
    assert representable.sum() >= len(z) - 2
    # The sine of 300 is as uncertain as 300 is; what underflows may do so here or there.
    tolerance: dict[str, Any] = {"rtol": 40 * limits.eps, "atol": 400 * limits.eps}
    jacobian = net.jacobian(X[representable])[:, 0]  # by w, b, w', b'
    value, slope = value[representable], slope[representable]
    np.testing.assert_allclose(net(X[representable])[:, 0], value, **tolerance)
    np.testing.assert_allclose(jacobian[:, 2], value, **tolerance)
    np.testing.assert_allclose(jacobian[:, 1], slope, **tolerance)


@pytest.mark.parametrize("phi", IN_CORE, ids=identify)
def test_the_core_computes_the_curvature(phi: Activation) -> None:
    net, X = one_unit(phi, GRID)
    along_bias = np.array([0.0, 1.0, 0.0, 0.0])
    assert phi.curvature is not None
    for x, curvature in zip(X, phi.curvature(GRID), strict=True):
        product = hessian_vector_product(net, x[np.newaxis], along_bias)
        assert product[1] == pytest.approx(curvature, rel=1e-13, abs=1e-13)


def test_the_core_has_the_same_activations() -> None:
    entries = map(activations.get, activations.FINITE_WIDTH)
    # The square is for outputs; between layers it is a monomial.
    in_core = {phi.name: len(phi.parameters) for phi in entries} | {"square": 0}
    assert dict(_core.activations()) == in_core
    assert "abrelu" in activations.FINITE_WIDTH
    assert "rectified_monomial" in activations.FINITE_WIDTH
    for name in activations.FINITE_WIDTH:
        core = core_activation(activations.get(name))
        assert (core.function, core.derivative) == (0, 0)
        assert core.activation != "custom"
    assert core_activation(activations.gabor()).activation == "custom"


@pytest.mark.parametrize("phi", FUNCTIONS, ids=identify)
@pytest.mark.parametrize("deviation", [0.4, 1.0, 1.7])
def test_duals_at_equal_samples(phi: Activation, deviation: float) -> None:
    dual = dual_of(phi, 1e-12)
    state = dual.state(np.array([deviation]))
    nodes, weights = gaussian_nodes((0.0, *(b / deviation for b in phi.breakpoints)), 2)
    value, *slopes = (part(deviation * nodes) for part in parts(phi))
    assert state.activation[0] ** 2 == pytest.approx(weights @ value**2, rel=1e-11, abs=0)
    if dual.no_derivative is None:
        slope = slopes[0]
        assert state.derivative[0] ** 2 == pytest.approx(weights @ slope**2, rel=1e-11, abs=0)


def choices_of(command: click.Command) -> Iterator[tuple[str, ...]]:
    """Yield the choices of --activation, of a command and those below it."""
    for parameter in command.params:
        if "--activation" in parameter.opts:
            assert isinstance(parameter.type, click.Choice)
            yield tuple(parameter.type.choices)
    for below in getattr(command, "commands", {}).values():
        yield from choices_of(below)


def test_the_command_takes_what_the_core_has() -> None:
    choices = list(choices_of(cli))
    assert len(choices) >= 3
    for names in choices:
        assert set(names) == set(activations.FINITE_WIDTH)


def test_names() -> None:
    assert activations.names() == tuple(NAMES.split())
    for name in activations.names():
        assert activations.get(name).name == {"relu2": "rectified_monomial"}.get(name, name)


@pytest.mark.parametrize("name", [*NAMES.split(), "polynomial"])
def test_arguments_of_constructors_are_parameters(name: str) -> None:
    constructor = CONSTRUCTORS[name]
    assert constructor in vars(activations).values()
    assert constructor.__name__ in activations.__all__
    if name != "polynomial":
        defaults = [p.default for p in inspect.signature(constructor).parameters.values()]
        assert activations.get(name).parameters == tuple(defaults)


def test_labels() -> None:
    known = {
        "relu": "ReLU",
        "identity": "linear network",
        "relu2": "ReLU²",
        "gelu": "GELU",
        "tanh": "tanh",
        "silu": "SiLU",
    }
    for name, label in known.items():
        assert activations.label_of(name) == activations.get(name).label == label
    labels = {name: activations.label_of(name) for name in activations.names()}
    assert all(labels.values())
    assert len(set(labels.values())) == len(labels) - 1  # relu2 has two names
    assert activations.rectified_monomial(1).label == "ReLU"
    assert activations.monomial(10).label == "x¹⁰"
    assert activations.label_of("cube") == "cube"
    assert activations.custom(np.tanh, name="cube").label == "cube"
    repeated = repr(activations.leaky_relu(0.2))
    assert activations.label_of(repeated) == repeated


@pytest.mark.parametrize("phi", ALL, ids=identify)
def test_slopes_of_piecewise_linear_activations(phi: Activation) -> None:
    piecewise_linear = {"identity", "relu", "leaky_relu", "abrelu", "abs"}
    assert (phi.slopes is not None) == (phi.name in piecewise_linear)
    if phi.slopes is not None:
        assert phi.function is not None
        negative, positive = phi.slopes
        x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
        expected = [-2 * negative, -negative, 0, positive, 2 * positive]
        assert phi.function(x).tolist() == expected


def test_parameters_single_out_an_activation() -> None:
    assert activations.leaky_relu(0.2) == activations.leaky_relu(0.2)
    assert activations.leaky_relu(0.2) != activations.leaky_relu(0.3)
    assert hash(activations.get("relu")) == hash(activations.relu())
    assert activations.get("relu2") == activations.rectified_monomial(2)
    assert activations.custom(np.tanh) != activations.custom(np.sin)
    assert repr(activations.leaky_relu(0.2)) == "Activation(leaky_relu(0.2))"
    assert activations.get(activations.relu()) == activations.relu()


def bump(x: Any) -> Any:
    return x + 3 * np.exp(-(((x - 0.77) / 0.03) ** 2))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: np.where(x > 0.7, 1.0, 0.0), mpmath.ncdf(-0.7)),
        (lambda x: np.sqrt(np.abs(x)), mpmath.sqrt(2 / mpmath.pi)),
        (lambda x: np.sin(200 * x), (1 - mpmath.exp(-80_000)) / 2),
        (bump, None),
    ],
    ids=["jump", "root", "waves", "bump"],
)
def test_second_moments_of_functions_that_turn_sharply(function: Any, expected: Any) -> None:
    """Without breakpoints, too."""
    if expected is None:
        nodes, weights = gaussian_nodes((0.77,), 16)
        expected = weights @ function(nodes) ** 2
    found = activations.custom(function).second_moment
    assert found == pytest.approx(float(expected), rel=1e-12, abs=0)


def test_the_second_moment_of_a_function_that_rounds_to_float32() -> None:
    rounded = activations.custom(lambda x: np.tanh(x.astype(np.float32)))
    expected = activations.get("tanh").second_moment
    assert rounded.second_moment == pytest.approx(expected, rel=1e-7, abs=0)


@pytest.mark.parametrize("phi", [*ALL, activations.custom(np.tanh)], ids=identify)
def test_activations_can_be_pickled_and_copied(phi: Activation) -> None:
    for twin in (pickle.loads(pickle.dumps(phi)), copy.deepcopy(phi)):
        assert twin == phi
        assert twin.scale == phi.scale


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: activations.custom(cast("Any", 3)), TypeError, "function=3: expected a function"),
        (
            lambda: activations.custom(np.tanh, cast("Any", 3)),
            TypeError,
            "derivative=3: expected None or a",
        ),
        (lambda: activations.custom(np.tanh, name="relu"), ValueError, "name='relu': expected one"),
        (lambda: activations.custom(np.zeros_like), ValueError, "second moment .* is 0.0"),
        (lambda: activations.custom(np.log), ValueError, "second moment .* is nan"),
        (
            lambda: activations.custom(lambda x: np.sin(1e5 * x)),
            ValueError,
            "second moment .* is not known, because it turns too often",
        ),
        (
            lambda: activations.custom(np.tanh, breakpoints=cast("Any", ("a",))),
            TypeError,
            r"breakpoints\[0\]=",
        ),
        (lambda: activations.abrelu(0, 0), ValueError, "positive=0.0: expected two slopes"),
        (lambda: activations.hardtanh(1, 1), ValueError, "high=1.0: expected a number above low=1"),
        (
            lambda: activations.celu(0.0),
            ValueError,
            "alpha=0.0: expected a finite number of at lea",
        ),
        (lambda: activations.squareplus(0), ValueError, "b=0: expected a finite number of at lea"),
        (lambda: activations.polynomial(0.0), ValueError, "coefficients=.*: expected one that"),
        (lambda: activations.leaky_relu(math.inf), ValueError, "alpha=inf: expected a finite"),
        (
            lambda: activations.softplus(0.0),
            ValueError,
            "beta=0.0: expected a finite number of at least 1e-100",
        ),
        (lambda: activations.rectified_monomial(0), ValueError, "degree=0: expected an integer"),
        (lambda: activations.get("polynomial"), ValueError, "activation='polynomial': expected"),
    ],
)
def test_bad_activations(make: object, error: type[Exception], message: str) -> None:
    assert callable(make)
    with pytest.raises(error, match=message):
        make()


def test_restored_parameters_keep_their_signs() -> None:
    for zero in (0.0, -0.0, 0.0):
        (found,) = activations.restore("leaky_relu", (zero,)).parameters
        assert np.signbit(found) == np.signbit(zero)
