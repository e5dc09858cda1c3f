# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations as the core takes them: one of its own, or functions compiled for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.activations.outputs import SQUARE, Softmax

if TYPE_CHECKING:
    from fastntk.activations.activation import Activation
    from fastntk.activations.outputs import OutputActivation
    from fastntk.activations.quadrature import Function


@dataclass(frozen=True)
class CoreActivation:
    """The arguments by which the core knows an activation.

    Attributes
    ----------
    activation : str
        Its name in the core, or "custom" for functions.
    parameters : tuple of two floats
        Its parameters in the core; 0 where there are fewer.
    function, derivative, curvature : int
        Addresses of C functions of one double, for "custom"; they live as long as the process. The
        second derivative is that of an activation of outputs, and otherwise 0.
    """

    activation: str
    parameters: tuple[float, float] = (0.0, 0.0)
    function: int = 0
    derivative: int = 0
    curvature: int = 0


def require_finite_width(activation: Activation, given: str | None = None) -> None:
    """Raise ValueError for an activation that networks of finite width cannot have.

    Errors call it what is `given`, by default "activation=…".
    """
    if activation.in_core:
        return
    for part, missing in (
        (activation.function, "function"),
        (activation.derivative, "derivative"),
    ):
        if part is None:
            raise ValueError(
                f"{_named(activation, given)}: it has no {missing}; expected one with a function "
                "and a derivative, which a network of finite width needs, such as tanh or "
                "activations.custom(function, derivative), or infinite width (fastntk.infinite)"
            )


def _named(activation: Activation, given: str | None) -> str:
    return f"activation={activation!r}" if given is None else given


def core_activation(activation: Activation, given: str | None = None) -> CoreActivation:
    """Return the core's own activation, or compile the functions of another.

    Errors call it what is `given`, by default "activation=…".

    Raises
    ------
    ValueError
        If it exists at infinite width only, or its functions cannot be compiled.
    """
    require_finite_width(activation, given)
    try:
        return _core_activation(activation)
    except ValueError as error:
        raise ValueError(f"{_named(activation, given)}: {error}") from error


@cache
def _core_activation(activation: Activation) -> CoreActivation:
    if activation.in_core:
        first, second = (*activation.parameters, 0.0, 0.0)[:2]
        return CoreActivation(activation.name, (float(first), float(second)))
    assert activation.function is not None
    assert activation.derivative is not None
    return CoreActivation(
        "custom",
        function=_compiled(activation.function),
        derivative=_compiled(activation.derivative),
    )


@cache
def core_output_activation(psi: OutputActivation) -> CoreActivation:
    """Return the same for an activation of outputs, with the second derivative."""
    if isinstance(psi, Softmax):
        return CoreActivation(psi.name)
    if psi == SQUARE:
        return CoreActivation("square")
    if psi.in_core:
        return core_activation(psi)
    assert psi.function is not None
    assert psi.derivative is not None
    assert psi.curvature is not None
    try:
        function, derivative, curvature = (
            _compiled(function) for function in (psi.function, psi.derivative, psi.curvature)
        )
    except ValueError as error:
        raise ValueError(f"output_activation={psi!r}: {error}") from error
    return CoreActivation("custom", (0.0, 0.0), function, derivative, curvature)


# Compiled functions, which the core calls for as long as the process lives.
_kept_alive: list[Any] = []


def _compiled(function: Function) -> int:
    """Return the address of the function, compiled for one double."""
    import numba

    try:
        compiled: Any = numba.cfunc("float64(float64)")(function)
    except (numba.core.errors.NumbaError, TypeError) as error:  # TypeError: of several arguments
        lines = str(error).splitlines()  # first, at times, the step of Numba that failed
        reason = next((line for line in lines if line and not line.startswith("Failed in")), "")
        raise ValueError(
            "expected a function that Numba can compile for a single float64, such as that of "
            f"activations.polynomial, or lambda x: np.tanh(x): {reason}"
        ) from error
    _kept_alive.append(compiled)
    _check_agreement(function, compiled)
    return int(compiled.address)


def _check_agreement(function: Function, compiled: Any) -> None:
    points = np.array([-2.5, -0.3, 0.4, 1.7])
    expected = np.broadcast_to(np.asarray(function(points), dtype=np.float64), points.shape)
    for point, value in zip(points.tolist(), expected.tolist(), strict=True):
        found = compiled.ctypes(point)
        if not math.isclose(found, value, rel_tol=1e-9, abs_tol=1e-12):
            raise ValueError(
                f"its compiled function gives {found!r} at {point!r}, "
                f"but {value!r} for an array; expected an elementwise function"
            )
