# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations that oscillate: sine, cosine, and what is made of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.arguments import LARGEST_SCALE
from fastntk.activations import sensitivity
from fastntk.activations.activation import Activation

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.activations.sensitivity import Sensitivity

# Below this, 1 − cos(2b) exp(−2a²) = 2 sin²(b) − cos(2b) expm1(−2a²) is taken in the second form,
# in which nothing cancels.
_CANCELS_BELOW = 0.25


def sine(frequency: float = 1.0, phase: float = 0.0) -> Activation:
    """Return φ(x) = sin(frequency · x + phase), whose name is "sin".

    Parameters
    ----------
    frequency : float
        Above 0.
    phase : float
        In radians.

    Returns
    -------
    Activation
    """
    return _sinusoid("sin", frequency, phase, 0.0, sensitivity.of_sine)


def cosine(frequency: float = 1.0, phase: float = 0.0) -> Activation:
    """Return φ(x) = cos(frequency · x + phase), whose name is "cos".

    Parameters
    ----------
    frequency : float
        Above 0.
    phase : float
        In radians.

    Returns
    -------
    Activation
    """
    return _sinusoid("cos", frequency, phase, math.pi / 2, sensitivity.of_cosine)


def _sinusoid(
    name: str,
    frequency: float,
    phase: float,
    shift: float,
    bounds: Callable[[float, float], Sensitivity],
) -> Activation:
    """Return φ(x) = sin(frequency · x + phase + shift)."""
    frequency = arguments.scale(frequency, "frequency")
    phase = arguments.real(phase, "phase", minimum=-LARGEST_SCALE, maximum=LARGEST_SCALE)
    moment = (1 - math.cos(2 * (phase + shift)) * math.exp(-2 * frequency**2)) / 2
    if moment < _CANCELS_BELOW:
        quarter = math.cos(2 * (phase + shift)) * math.expm1(-2 * frequency**2) / 2
        moment = math.sin(phase + shift) ** 2 - quarter
    return Activation(
        name=name,
        label=name,
        parameters=(frequency, phase),
        function=lambda x: np.sin(frequency * x + phase + shift),
        derivative=lambda x: frequency * np.cos(frequency * x + phase + shift),
        curvature=lambda x: -(frequency**2) * np.sin(frequency * x + phase + shift),
        known_second_moment=moment,
        odd=phase + shift == 0,
        in_core=True,
        sensitivity=bounds(frequency, phase),
        dual=lambda duals, _: duals.Sinusoid(frequency, phase + shift),
    )


def rbf(gamma: float = 1.0) -> Activation:
    """Return φ(x) = √2 sin(√(2γ) x + π/4), whose dual is the Gaussian kernel.

    That is, E[φ(u)φ(v)] = exp(−γ E[(u − v)²]) for u and v jointly normal.

    Parameters
    ----------
    gamma : float
        γ above 0.

    Returns
    -------
    Activation

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import activations, infinite
    >>> K = infinite.nngp(np.eye(2), depth=1, activation=activations.rbf(0.5))
    >>> round(float(K[0, 1]), 6)  # exp(−½ · ‖x − z‖²/2)
    0.606531
    """
    gamma = arguments.scale(gamma, "gamma")
    frequency = math.sqrt(2 * gamma)
    return Activation(
        name="rbf",
        label="RBF",
        parameters=(gamma,),
        function=lambda x: math.sqrt(2) * np.sin(frequency * x + math.pi / 4),
        derivative=lambda x: math.sqrt(2) * frequency * np.cos(frequency * x + math.pi / 4),
        curvature=lambda x: -math.sqrt(2) * frequency**2 * np.sin(frequency * x + math.pi / 4),
        known_second_moment=1.0,
        dual=lambda duals, _: duals.Sinusoid(frequency, math.pi / 4, math.sqrt(2)),
    )


def gabor() -> Activation:
    """Return the Gabor function, φ(x) = exp(−x²) sin x.

    Returns
    -------
    Activation
    """

    def curvature(x: Any) -> Any:
        return np.exp(-(x**2)) * ((4 * x**2 - 3) * np.sin(x) - 4 * x * np.cos(x))

    return Activation(
        name="gabor",
        label="Gabor",
        function=lambda x: np.exp(-(x**2)) * np.sin(x),
        derivative=lambda x: np.exp(-(x**2)) * (np.cos(x) - 2 * x * np.sin(x)),
        curvature=curvature,
        odd=True,
        dual=lambda duals, _: duals.Gabor(),
    )
