# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules as networks; PyTorch itself is not needed, only the module's own arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.activations import Activation

    _Layers = tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any] | None], Activation]


# The names of activations and what is known of their modules, by the name of the class in torch.nn.
_ACTIVATIONS = {
    phi.module.name: (phi.name, phi.module)
    for phi in map(activations.get, activations.names())
    if phi.module is not None
}
_PASSED_OVER = frozenset({"Identity", "Flatten"})


def layers_of_module(module: Any, activation: str | Activation | None) -> _Layers:
    """Return weights, biases and activation of a Sequential or of its state_dict."""
    if isinstance(module, Mapping):
        return _of_state_dict(module, activation)
    if activation is not None:
        raise ValueError(
            f"activation={activation!r}: expected None, the module has activations of its own"
        )
    linear: list[Any] = []
    between: list[Activation | None] = []  # what stands after each Linear
    for part in _flat(module):
        name = type(part).__name__
        if name == "Linear":
            linear.append(part)
            between.append(None)
        elif name in _ACTIVATIONS:
            if not between or between[-1] is not None:
                raise ValueError(
                    f"module contains {part!r}: expected one activation after a Linear"
                )
            phi_name, of_class = _ACTIVATIONS[name]
            between[-1] = activations.restore(phi_name, of_class.parameters(part))
        elif name in _PASSED_OVER or (name == "Dropout" and not part.training):
            continue
        else:
            expected = ", ".join(["Linear", *sorted(_ACTIVATIONS), *sorted(_PASSED_OVER)])
            raise ValueError(
                f"module contains {part!r}: expected a Sequential of {expected}, and Dropout in "
                "evaluation mode"
            )
    if not linear:
        raise ValueError(f"module={module!r}: expected at least one Linear")
    if between[-1] is not None:
        raise ValueError(f"module={module!r}: expected a Linear at the end, not an activation")
    hidden = between[:-1]
    if any(phi != hidden[0] for phi in hidden):
        raise ValueError(f"module={module!r}: expected the same activation after every Linear")
    phi = hidden[0] if hidden and hidden[0] is not None else activations.get("identity")
    weights = [_array(part.weight) for part in linear]
    return weights, [None if p.bias is None else _array(p.bias) for p in linear], phi


def _flat(module: Any) -> list[Any]:
    if type(module).__name__ == "Sequential":
        return [part for child in module for part in _flat(child)]
    return [module]


def _of_state_dict(state: Mapping[str, Any], activation: str | Activation | None) -> _Layers:
    if activation is None:
        raise ValueError(
            "activation=None: expected the activation, which a state_dict does not say"
        )

    def order(name: str) -> list[Any]:
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    prefixes = sorted((k.removesuffix("weight") for k in state if k.endswith("weight")), key=order)
    known = {p + end for p in prefixes for end in ("weight", "bias")}
    others = [name for name in state if name not in known]
    if not prefixes or others:
        raise ValueError(
            f"module has the entries {list(state)}: expected a weight and a bias for each Linear, "
            "and nothing else"
        )
    weights = [_array(state[p + "weight"]) for p in prefixes]
    biases = [_array(state[p + "bias"]) if p + "bias" in state else None for p in prefixes]
    return weights, biases, activations.get(activation)


def _array(tensor: Any) -> npt.NDArray[Any]:
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
    return np.asarray(tensor)
