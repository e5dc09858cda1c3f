# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activation functions and the scale that keeps the second moment of the activations at 1.

An activation is given by its name, ``"relu"``, or made by the function of that name where it has
parameters: ``leaky_relu(0.2)``. Any other function becomes one by `custom`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.polynomial import hermite_e
from scipy.special import erf as _erf
from scipy.special import erfc, expit, ndtr

from fastntk._support import arguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

Function: TypeAlias = Callable[["NDArray[np.float64]"], "NDArray[np.floating[Any]]"]

# Those that the core has for networks of finite width. Others are compiled from their functions,
# where Numba can do that.
FINITE_WIDTH = (
    "identity",
    "relu",
    "leaky_relu",
    "abs",
    "relu2",
    "gelu",
    "silu",
    "elu",
    "softplus",
    "tanh",
    "sigmoid",
    "erf",
    "sin",
    "cos",
)


@dataclass(frozen=True, repr=False)
class Activation:
    """An activation function φ of a network.

    Attributes
    ----------
    name : str
        Its name.
    parameters : tuple of float
        What singles it out among those of its name: the slope of a leaky ReLU.
    function, derivative : callable
        φ and φ' of an array of float64, elementwise; at a kink or jump, φ' is any value.
        The derivative of a custom activation may be None; so is the function where one exists at
        infinite width only.
    second_moment : float
        E[φ(u)²] for a standard normal u.
    breakpoints : tuple of float
        Where φ is not analytic, or turns sharply.
    """

    name: str
    parameters: tuple[float, ...]
    function: Function | None = field(compare=False)
    derivative: Function | None = field(compare=False)
    second_moment: float = field(compare=False)
    breakpoints: tuple[float, ...] = field(default=(), compare=False)
    identity: object = None

    @property
    def scale(self) -> float:
        """c_φ = E[φ(u)²]^{-1/2}, the default activation scale: √2 for ReLU."""
        return float(self.second_moment**-0.5)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{p:g}" for p in self.parameters)
        return f"Activation({self.name}{f'({arguments})' if arguments else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The functions of the activations below are closures, which cannot be pickled.
        if self.name in _REGISTRY:
            return restore, (self.name, self.parameters)
        return custom, (self.function, self.derivative, self.name, self.breakpoints)


def gaussian_nodes(
    breakpoints: tuple[float, ...] = (), refinement: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes u and weights w with Σ w g(u) ≈ E[g(u)] for a standard normal u.

    Gauss–Legendre quadrature on panels of [-14, 14], whose edges include the breakpoints and crowd
    around them: functions with kinks or sharp turns there converge as fast as smooth ones.
    """
    reach = 14.0
    edges = set(np.linspace(-reach, reach, 28 * refinement + 1).tolist())
    for point in breakpoints:
        steps = np.ldexp(1.0, -np.arange(1, 20)) / refinement
        edges |= {point, *(point + steps).tolist(), *(point - steps).tolist()}
    panels = np.array(sorted(edge for edge in edges if -reach <= edge <= reach))
    points, weights = np.polynomial.legendre.leggauss(16)
    centers, halves = (panels[1:] + panels[:-1]) / 2, (panels[1:] - panels[:-1]) / 2
    nodes = (centers[:, np.newaxis] + halves[:, np.newaxis] * points).ravel()
    density = np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    return nodes, (halves[:, np.newaxis] * weights).ravel() * density


def _activation(
    name: str,
    parameters: tuple[float, ...],
    function: Function,
    derivative: Function,
    second_moment: float | None = None,
    breakpoints: tuple[float, ...] = (),
) -> Activation:
    if second_moment is None:
        second_moment = _second_moment(function, breakpoints)
    return Activation(name, parameters, function, derivative, second_moment, breakpoints)


def _second_moment(function: Function, breakpoints: tuple[float, ...]) -> float:
    nodes, weights = gaussian_nodes(breakpoints)
    return float(weights @ function(nodes) ** 2)


def _number(value: float, name: str) -> float:
    return arguments.real(value, name, minimum=-math.inf)


def identity() -> Activation:
    """φ(x) = x: the linear network."""
    return _activation("identity", (), lambda x: x, np.ones_like, 1.0)


def relu() -> Activation:
    """φ(x) = max(x, 0)."""
    return _activation(
        "relu", (), lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float), 0.5, (0.0,)
    )


def abrelu(negative: float = -0.5, positive: float = 1.0) -> Activation:
    """φ(x) = negative · x for x < 0, positive · x for x > 0."""
    negative, positive = _number(negative, "negative"), _number(positive, "positive")
    if negative == positive == 0:
        raise ValueError(f"positive={positive!r}: expected two slopes that are not both 0")
    return _piecewise_linear("abrelu", (negative, positive), negative, positive)


def leaky_relu(alpha: float = 0.01) -> Activation:
    """φ(x) = x for x > 0, αx for x < 0."""
    alpha = _number(alpha, "alpha")
    return _piecewise_linear("leaky_relu", (alpha,), alpha, 1.0)


def absolute() -> Activation:
    """φ(x) = |x|; its name is "abs"."""
    return _piecewise_linear("abs", (), -1.0, 1.0)


def _piecewise_linear(
    name: str, parameters: tuple[float, ...], negative: float, positive: float
) -> Activation:
    return _activation(
        name,
        parameters,
        lambda x: np.where(x > 0, positive, negative) * x,
        lambda x: np.where(x > 0, positive, negative),
        (negative**2 + positive**2) / 2,
        (0.0,),
    )


def sign() -> Activation:
    """φ(x) = 1 for x > 0, −1 for x < 0."""
    return _activation("sign", (), np.sign, np.zeros_like, 1.0, (0.0,))


def rectified_monomial(degree: int = 2) -> Activation:
    """φ(x) = max(x, 0)^degree, with a degree of at least 1; "relu2" is the one of degree 2."""
    degree = arguments.integer(degree, "degree", minimum=1)
    return _activation(
        "rectified_monomial",
        (degree,),
        lambda x: np.maximum(x, 0) ** degree,
        lambda x: degree * np.where(x > 0, x, 0.0) ** (degree - 1) * (x > 0),
        math.prod(range(1, 2 * degree, 2)) / 2,
        (0.0,),
    )


def polynomial(*coefficients: float) -> Activation:
    """φ(x) = coefficients[0] + coefficients[1] x + coefficients[2] x² and so on."""
    numbers = tuple(_number(c, f"coefficients[{i}]") for i, c in enumerate(coefficients))
    if not any(numbers):
        raise ValueError(f"coefficients={coefficients!r}: expected one that is not 0")
    p = np.polynomial.Polynomial(numbers)
    series = hermite_e.poly2herme(numbers)
    moment = sum(float(c) ** 2 * math.factorial(k) for k, c in enumerate(series))
    return _activation("polynomial", numbers, p, p.deriv(), moment)


def monomial(degree: int = 2) -> Activation:
    """φ(x) = x^degree, with a degree of at least 1."""
    degree = arguments.integer(degree, "degree", minimum=1)
    return _activation(
        "monomial",
        (degree,),
        lambda x: x**degree,
        lambda x: degree * x ** (degree - 1),
        float(math.prod(range(1, 2 * degree, 2))),
    )


def hermite(degree: int = 2) -> Activation:
    """φ is the Hermite polynomial of this degree, at least 1, scaled to E[φ(u)²] = 1."""
    degree = arguments.integer(degree, "degree", minimum=1)
    series = np.zeros(degree + 1)
    series[degree] = math.factorial(degree) ** -0.5
    slope = hermite_e.hermeder(series)
    return _activation(
        "hermite",
        (degree,),
        lambda x: hermite_e.hermeval(x, series),
        lambda x: hermite_e.hermeval(x, slope),
        1.0,
    )


def erf(slope: float = 1.0, offset: float = 0.0) -> Activation:
    """φ(x) = erf(slope · x) + offset."""
    slope = arguments.real(slope, "slope", minimum=0.0, exclusive=True)
    offset = _number(offset, "offset")
    return _activation(
        "erf",
        (slope, offset),
        lambda x: _erf(slope * x) + offset,
        lambda x: 2 * slope / math.sqrt(math.pi) * np.exp(-((slope * x) ** 2)),
        2 / math.pi * math.asin(2 * slope**2 / (1 + 2 * slope**2)) + offset**2,
    )


def gelu() -> Activation:
    """φ(x) = x P(u ≤ x) for a standard normal u, exactly."""
    return _activation(
        "gelu",
        (),
        lambda x: x * ndtr(x),
        lambda x: ndtr(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
        1 / 3 + math.sqrt(3) / (6 * math.pi),
    )


def sine(frequency: float = 1.0, phase: float = 0.0) -> Activation:
    """φ(x) = sin(frequency · x + phase); its name is "sin"."""
    return _sinusoid("sin", frequency, phase, 0.0)


def cosine(frequency: float = 1.0, phase: float = 0.0) -> Activation:
    """φ(x) = cos(frequency · x + phase); its name is "cos"."""
    return _sinusoid("cos", frequency, phase, math.pi / 2)


def _sinusoid(name: str, frequency: float, phase: float, shift: float) -> Activation:
    frequency = arguments.real(frequency, "frequency", minimum=0.0, exclusive=True)
    phase = _number(phase, "phase")
    return _activation(
        name,
        (frequency, phase),
        lambda x: np.sin(frequency * x + phase + shift),
        lambda x: frequency * np.cos(frequency * x + phase + shift),
        (1 - math.cos(2 * (phase + shift)) * math.exp(-2 * frequency**2)) / 2,
    )


def rbf(gamma: float = 1.0) -> Activation:
    """φ(x) = √2 sin(√(2γ) x + π/4), with E[φ(u)φ(v)] = exp(−γ E[(u − v)²])."""
    gamma = arguments.real(gamma, "gamma", minimum=0.0, exclusive=True)
    frequency = math.sqrt(2 * gamma)
    return _activation(
        "rbf",
        (gamma,),
        lambda x: math.sqrt(2) * np.sin(frequency * x + math.pi / 4),
        lambda x: math.sqrt(2) * frequency * np.cos(frequency * x + math.pi / 4),
        1.0,
    )


def exponential(rate: float = 1.0) -> Activation:
    """φ(x) = exp(rate · x); its name is "exp"."""
    rate = _number(rate, "rate")
    return _activation(
        "exp",
        (rate,),
        lambda x: np.exp(rate * x),
        lambda x: rate * np.exp(rate * x),
        math.exp(2 * rate**2),
    )


def gaussian(rate: float = 1.0) -> Activation:
    """φ(x) = exp(−rate · x²)."""
    rate = arguments.real(rate, "rate", minimum=0.0, exclusive=True)
    return _activation(
        "gaussian",
        (rate,),
        lambda x: np.exp(-rate * x**2),
        lambda x: -2 * rate * x * np.exp(-rate * x**2),
        (1 + 4 * rate) ** -0.5,
    )


def gabor() -> Activation:
    """φ(x) = exp(−x²) sin x."""
    return _activation(
        "gabor",
        (),
        lambda x: np.exp(-(x**2)) * np.sin(x),
        lambda x: np.exp(-(x**2)) * (np.cos(x) - 2 * x * np.sin(x)),
    )


def exp_normalized(gamma: float = 1.0) -> Activation:
    """At infinite width only: E[φ(u)φ(v)] = s t exp(γ(ρ − 1)) for the correlation ρ of u and v.

    With standard deviations s and t: the Gaussian kernel of normalized samples, times their norms.
    """
    gamma = arguments.real(gamma, "gamma", minimum=0.0, exclusive=True)
    return Activation("exp_normalized", (gamma,), None, None, 1.0)


def tanh() -> Activation:
    """φ(x) = tanh x."""
    return _activation(
        "tanh",
        (),
        np.tanh,
        lambda x: np.cosh(np.clip(x, -350, 350)) ** -2.0,
        breakpoints=(0.0,),
    )


def sigmoid() -> Activation:
    """φ(x) = 1 / (1 + exp(−x))."""
    return _activation("sigmoid", (), expit, lambda x: expit(x) * expit(-x), breakpoints=(0.0,))


def silu() -> Activation:
    """φ(x) = x / (1 + exp(−x))."""
    return _activation(
        "silu",
        (),
        lambda x: x * expit(x),
        lambda x: expit(x) * (1 + x * expit(-x)),
        breakpoints=(0.0,),
    )


def softplus(beta: float = 1.0) -> Activation:
    """φ(x) = log(1 + exp(βx)) / β."""
    beta = arguments.real(beta, "beta", minimum=0.0, exclusive=True)
    return _activation(
        "softplus",
        (beta,),
        lambda x: np.logaddexp(0, beta * x) / beta,
        lambda x: expit(beta * x),
        breakpoints=(0.0,),
    )


def elu(alpha: float = 1.0) -> Activation:
    """φ(x) = x for x > 0, α(exp(x) − 1) for x < 0."""
    alpha = arguments.real(alpha, "alpha", minimum=0.0)
    half = math.exp(2) * erfc(math.sqrt(2)) / 2 - math.exp(0.5) * erfc(math.sqrt(0.5)) + 0.5
    return _activation(
        "elu",
        (alpha,),
        lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0))),
        0.5 + alpha**2 * half,
        (0.0,),
    )


def custom(
    function: Function,
    derivative: Function | None = None,
    name: str = "custom",
    breakpoints: tuple[float, ...] = (),
) -> Activation:
    """Return an activation that is any function of one variable.

    Parameters
    ----------
    function : callable
        φ, of an array of float64, elementwise.
    derivative : callable, optional
        φ'. With it, the error of the kernels at infinite width is estimated more sharply.
    name : str
        For messages; not the name of another activation.
    breakpoints : tuple of float
        Where φ has kinks, or turns sharply.

    Returns
    -------
    Activation

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import activations
    >>> cube = activations.custom(lambda x: x**3, name="cube")
    >>> round(cube.second_moment, 10)
    15.0
    """
    if not callable(function):
        raise TypeError(f"function={function!r}: expected a function of an array")
    if derivative is not None and not callable(derivative):
        raise TypeError(f"derivative={derivative!r}: expected None or a function of an array")
    if name in _REGISTRY:
        raise ValueError(f"name={name!r}: expected one that is not taken")
    points = tuple(_number(point, f"breakpoints[{i}]") for i, point in enumerate(breakpoints))
    with np.errstate(all="ignore"):  # reported below
        moment = _second_moment(function, points)
    if not 0 < moment < math.inf:
        raise ValueError(
            f"function={function!r}: its second moment E[φ(u)²] is {moment!r}; expected a positive "
            "finite one"
        )
    return Activation(name, (), function, derivative, moment, points, (function, derivative))


_REGISTRY: dict[str, Callable[..., Activation]] = {
    "identity": identity,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "abrelu": abrelu,
    "abs": absolute,
    "sign": sign,
    "relu2": rectified_monomial,
    "rectified_monomial": rectified_monomial,
    "monomial": monomial,
    "polynomial": polynomial,
    "hermite": hermite,
    "erf": erf,
    "gelu": gelu,
    "sin": sine,
    "cos": cosine,
    "exp": exponential,
    "gaussian": gaussian,
    "rbf": rbf,
    "gabor": gabor,
    "exp_normalized": exp_normalized,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "silu": silu,
    "softplus": softplus,
    "elu": elu,
}


@cache
def restore(name: str, parameters: tuple[float, ...]) -> Activation:
    """Return the activation of a name, with the parameters that it was made with."""
    return _REGISTRY[name](*parameters)


def names() -> tuple[str, ...]:
    """Return the names of all activations that need no parameters."""
    return tuple(name for name in _REGISTRY if name != "polynomial")


def get(activation: str | Activation) -> Activation:
    """Return an activation by its name; one that is an activation already, as it is."""
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str) or activation not in names():
        expected = ", ".join(map(repr, names()))
        raise ValueError(f"activation={activation!r}: expected one of {expected}")
    return restore(activation, ())
