# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activation functions and the scale that keeps the second moment of the activations at 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Activation:
    """An activation function φ of a network.

    Attributes
    ----------
    name : str
        Its name, here and in the core.
    second_moment : float
        E[φ(u)²] for a standard normal u.
    """

    name: str
    second_moment: float

    @property
    def scale(self) -> float:
        """c_φ = E[φ(u)²]^{-1/2}, the default activation scale: √2 for ReLU."""
        return float(self.second_moment**-0.5)


_REGISTRY = {
    activation.name: activation
    for activation in (
        Activation("identity", second_moment=1.0),
        Activation("relu", second_moment=0.5),
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all activations."""
    return tuple(_REGISTRY)


def get(activation: str) -> Activation:
    """Return an activation by its name."""
    if not isinstance(activation, str) or activation not in _REGISTRY:
        expected = ", ".join(map(repr, names()))
        raise ValueError(f"activation={activation!r}: expected one of {expected}")
    return _REGISTRY[activation]
