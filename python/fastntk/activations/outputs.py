# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations ψ of outputs: f = ψ(g), with g the outputs of a linear output layer.

A wide network with linear outputs has a nearly constant tangent kernel; with another output layer
it has not, however wide it is (C. Liu, L. Zhu, M. Belkin, NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from fastntk._support import arguments
from fastntk.activations import piecewise, polynomials, smooth
from fastntk.activations.activation import Activation, TorchModule, activation_label
from fastntk.activations.table import restore


def _along_the_outputs(module: Any) -> tuple[()]:
    # Samples are the rows of a matrix, whose columns are dimension 1, or -1.
    if module.dim not in {1, -1}:
        raise ValueError(f"module contains {module!r}: expected dim=-1, along the outputs")
    return ()


@dataclass(frozen=True, repr=False)
class Softmax:
    """The softmax of the outputs of a sample, f_c = exp(g_c) / Σ_k exp(g_k).

    It is an activation of outputs alone, as it is no function of single numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> net = fastntk.MLP([2, 8, 3], output_activation=fastntk.activations.Softmax())
    >>> bool(np.allclose(net(np.eye(2)).sum(axis=1), 1))
    True
    """

    name: ClassVar[str] = "softmax"
    label: ClassVar[str] = "softmax"
    parameters: ClassVar[tuple[float, ...]] = ()
    module: ClassVar[TorchModule] = TorchModule("Softmax", _along_the_outputs, lambda: {"dim": -1})

    def __repr__(self) -> str:
        return "Activation(softmax)"


OutputActivation = Activation | Softmax

LINEAR = piecewise.identity()
SQUARE = polynomials.monomial(2)

_CONSTRUCTORS: dict[str, Callable[[], OutputActivation]] = {
    "identity": lambda: LINEAR,
    "square": lambda: SQUARE,
    "tanh": smooth.tanh,
    "sigmoid": smooth.sigmoid,
    "softmax": Softmax,
    "softplus": smooth.softplus,
}


def output_activation(given: object, outputs: int) -> OutputActivation:
    """Return the activation of so many outputs, by its name or as it is; checked."""
    if isinstance(given, str) and given in _CONSTRUCTORS:
        psi = _CONSTRUCTORS[given]()
    elif isinstance(given, (Activation, Softmax)):
        psi = given
    else:
        raise ValueError(
            f"output_activation={arguments.shown(given)}: expected one of "
            f"{', '.join(map(repr, _CONSTRUCTORS))}, or an Activation"
        )
    if isinstance(psi, Softmax):
        if outputs < 2:
            raise ValueError(
                "output_activation='softmax' of 1 output: expected at least 2 outputs; that of a "
                "single one is 1 for every sample"
            )
    elif psi.function is None or psi.derivative is None or psi.curvature is None:
        raise ValueError(
            f"output_activation={psi!r}: expected one with a function, a derivative and a "
            "curvature, its second derivative, which Hessians need"
        )
    return psi


def in_core(psi: OutputActivation) -> bool:
    """Return whether the core computes an activation of outputs itself, differences too."""
    return isinstance(psi, Softmax) or psi == SQUARE or psi.in_core


def is_nowhere_flat(psi: OutputActivation) -> bool:
    """Return whether ψ' is nowhere 0; of a softmax, whether each output depends on all."""
    return isinstance(psi, Softmax) or psi.name in {"identity", "tanh", "sigmoid", "softplus"}


def restore_output(name: str, parameters: tuple[float, ...]) -> OutputActivation:
    """Return the output activation of a name, with the parameters that it was made with."""
    return Softmax() if name == Softmax.name else restore(name, parameters)


def output_label(psi: OutputActivation) -> str:
    """Return what the activation of outputs is called in tables."""
    for name, constructor in _CONSTRUCTORS.items():
        if constructor() == psi:
            return name
    return psi.name if isinstance(psi, Softmax) else activation_label(psi)


def shown_output(psi: OutputActivation) -> str:
    """Return how a network shows the activation of its outputs: names in quotation marks."""
    label = output_label(psi)
    return repr(psi) if repr(psi) == f"Activation({label})" and psi.parameters else repr(label)
