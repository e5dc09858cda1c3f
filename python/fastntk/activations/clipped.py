# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations made of a line between two kinks, constant beyond them: hardtanh and its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.arguments import LARGEST_SCALE
from fastntk.activations import sensitivity
from fastntk.activations.activation import Activation, TorchModule

if TYPE_CHECKING:
    from numpy.typing import NDArray


def hardtanh(low: float = -1.0, high: float = 1.0) -> Activation:
    """Return φ(x) = x between low and high, and the nearer of them elsewhere.

    Parameters
    ----------
    low, high : float
        The smallest and the largest value; low is below high.

    Returns
    -------
    Activation

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import activations
    >>> activations.hardtanh(-1.0, 0.5).function(np.array([-2.0, 0.25, 2.0]))
    array([-1.  ,  0.25,  0.5 ])
    """
    low = arguments.real(low, "low", minimum=-LARGEST_SCALE, maximum=LARGEST_SCALE)
    high = arguments.real(high, "high", minimum=-LARGEST_SCALE, maximum=LARGEST_SCALE)
    if not low < high:
        raise ValueError(f"high={high!r}: expected a number above low={low!r}")
    return Activation(
        name="hardtanh",
        label="hardtanh",
        parameters=(low, high),
        module=TorchModule(
            "Hardtanh",
            lambda module: (module.min_val, module.max_val),
            lambda low, high: {"min_val": low, "max_val": high},
        ),
        odd=low == -high,
        **_clipped(low, high),
    )


def relu6() -> Activation:
    """Return φ(x) = min(max(x, 0), 6).

    Returns
    -------
    Activation
    """
    return Activation(
        name="relu6", label="ReLU6", module=TorchModule("ReLU6"), **_clipped(0.0, 6.0)
    )


def hardsigmoid() -> Activation:
    """Return φ(x) = (x + 3)/6 between −3 and 3, 0 below and 1 above.

    Returns
    -------
    Activation
    """
    return Activation(
        name="hardsigmoid",
        label="hard sigmoid",
        module=TorchModule("Hardsigmoid"),
        **_clipped(-3.0, 3.0, 1 / 6, 0.5),
    )


def hardswish() -> Activation:
    """Return φ(x) = x (x + 3)/6 between −3 and 3, 0 below and x above.

    Returns
    -------
    Activation
    """

    def gate(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.minimum(np.maximum(x, -3.0), 3.0) / 6 + 0.5

    def inside(x: NDArray[np.float64]) -> NDArray[np.bool_]:
        return (x > -3) & (x <= 3)

    return Activation(
        name="hardswish",
        label="hard swish",
        function=lambda x: np.where(x > -3, x * gate(x), 0.0),
        derivative=lambda x: np.where(inside(x), x / 3 + 0.5, (x > 3) * 1.0),
        curvature=lambda x: inside(x) / 3,
        breakpoints=(-3.0, 3.0),
        in_core=True,
        sensitivity=sensitivity.of_hardswish(),
        dual=lambda duals, _: duals.Clipped(-3.0, 3.0, 1 / 6, 0.5, is_gate=True),
        module=TorchModule("Hardswish"),
    )


def _clipped(below: float, above: float, rate: float = 1.0, offset: float = 0.0) -> dict[str, Any]:
    """Return what an entry says of φ(x) = rate · x + offset, constant beyond two kinks."""

    def inside(x: NDArray[np.float64]) -> NDArray[np.bool_]:
        return (x > below) & (x <= above)

    return {
        "function": lambda x: rate * np.minimum(np.maximum(x, below), above) + offset,
        "derivative": lambda x: rate * inside(x),
        "curvature": np.zeros_like,
        "breakpoints": (below, above),
        "in_core": True,
        "sensitivity": sensitivity.of_clipped(below, above, rate, offset),
        "dual": lambda duals, _: duals.Clipped(below, above, rate, offset),
    }
