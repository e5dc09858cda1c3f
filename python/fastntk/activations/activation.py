# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the package knows of an activation function φ: one entry, which all rooms ask.

Each function in `piecewise`, `clipped`, `polynomials`, `algebraic`, `smooth`, `periodic` and
`exponentials` is the entry of one φ: its arguments are the parameters of φ, with their defaults; it
checks them and returns an `Activation` with everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastntk.activations import quadrature

if TYPE_CHECKING:
    from fastntk.activations.quadrature import Function
    from fastntk.activations.sensitivity import Sensitivity


@dataclass(frozen=True)
class TorchModule:
    """The PyTorch module that computes an activation.

    Attributes
    ----------
    name : str
        The name of the class in torch.nn.
    parameters : callable
        Takes a module of the class and returns the parameters of the activation. It raises
        ValueError where the module computes another function.
    arguments : callable
        Takes these parameters and returns the arguments with which a module is made.
    """

    name: str
    parameters: Callable[[Any], tuple[float, ...]] = lambda module: ()  # noqa: ARG005
    arguments: Callable[..., dict[str, Any]] = dict


@dataclass(frozen=True, repr=False, kw_only=True)
class Activation:
    """An activation function φ of a network.

    Attributes
    ----------
    name : str
        Its name.
    label : str
        Its name in figures.
    parameters : tuple of float
        What singles it out among those of its name: the slope of a leaky ReLU.
    function, derivative, curvature : callable or None
        φ, φ' and φ'' of an array of float64, elementwise. At a kink or a jump, φ' and φ'' are
        those from the left. A custom activation has φ' and φ'' only where they were given, and
        the sign has none; all three are None where a dual, but no function, exists. Without φ and
        φ' there are networks of infinite width only.
    breakpoints : tuple of float
        Where φ is not analytic, or turns sharply.
    slopes : tuple of two floats, or None
        The slopes of φ for x < 0 and for x > 0, if φ is linear on either side and 0 at 0: identity,
        ReLU, leaky ReLU, ABReLU and the absolute value.
    power : int, or None
        k, if φ is a multiple of ``|x|^k`` on either side of 0: it is free of scale.
    odd : bool
        Whether φ(−x) = −φ(x) is known, so that its mean is 0 for every normal u of mean 0.
    in_core : bool
        Whether the core computes it, under the same name and with the same parameters, at most two.
        Otherwise a network of finite width needs φ and φ' compiled.
    sensitivity : Sensitivity or None
        By how much φ and φ' move, and are rounded, for those that the core computes.
    dual : callable or None
        What makes its dual of infinite width in closed form: takes the module
        `fastntk.infinite.duals.closed_forms` and the tolerance that the dual has to keep, and
        returns an object of one of the module's classes. None for a dual by quadrature.
    module : TorchModule or None
        The PyTorch module that computes it, if there is one.
    identity : object
        What tells a custom activation from others of the same name; None for those of the package.
    """

    name: str
    label: str = field(compare=False)
    parameters: tuple[float, ...] = ()
    function: Function | None = field(compare=False)
    derivative: Function | None = field(compare=False)
    curvature: Function | None = field(default=None, compare=False)
    # E[φ(u)²], where there is a formula for it or it is computed already; by quadrature otherwise.
    known_second_moment: float | None = field(default=None, compare=False)
    breakpoints: tuple[float, ...] = field(default=(), compare=False)
    slopes: tuple[float, float] | None = field(default=None, compare=False)
    power: int | None = field(default=None, compare=False)
    odd: bool = field(default=False, compare=False)
    in_core: bool = field(default=False, compare=False)
    sensitivity: Sensitivity | None = field(default=None, compare=False)
    dual: Callable[[Any, float], Any] | None = field(default=None, compare=False)
    module: TorchModule | None = field(default=None, compare=False)
    identity: object = None

    @cached_property
    def second_moment(self) -> float:
        """E[φ(u)²] for a standard normal u."""
        if self.known_second_moment is not None:
            return self.known_second_moment
        assert self.function is not None
        return quadrature.second_moment(self.function, self.breakpoints)

    @property
    def linear(self) -> bool:
        """Whether φ is a multiple of the identity."""
        return self.slopes is not None and self.slopes[0] == self.slopes[1]

    @property
    def scale(self) -> float:
        """c_φ = E[φ(u)²]^{-1/2}, the default activation scale: √2 for ReLU."""
        return float(self.second_moment**-0.5)

    def __repr__(self) -> str:
        return f"Activation({activation_label(self)})"


def activation_label(activation: Activation) -> str:
    """Return what an activation is called in tables: by its name, and as it is made.

    Examples
    --------
    >>> from fastntk import activations
    >>> from fastntk.activations.activation import activation_label
    >>> activation_label(activations.leaky_relu(0.2)), activation_label(activations.get("gelu"))
    ('leaky_relu(0.2)', 'gelu')
    """
    arguments = ", ".join(f"{parameter:g}" for parameter in activation.parameters)
    return f"{activation.name}({arguments})" if arguments else activation.name


def with_exponent(base: str, degree: int) -> str:
    """Return the label of a power: "x" and 3 give "x³"."""
    exponent = "" if degree == 1 else str(degree)
    return base + exponent.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
