# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Layers that apply an activation: one class, and a name for each activation of the package."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import KW_ONLY, dataclass

from fastntk import activations
from fastntk._support import arguments
from fastntk.activations.table import CONSTRUCTORS as ENTRIES
from fastntk.layers.layer import Layer, store, written


@dataclass(frozen=True, repr=False)
class Activation(Layer):
    """An activation, multiplied by a factor: h = c_φ φ(z).

    Parameters
    ----------
    activation : str or fastntk.activations.Activation
        φ: a name, or an activation of `fastntk.activations`, such as one of its `custom`.
    scale : float, optional
        c_φ. By default E[φ(u)²]^{-1/2} for a standard normal u, which keeps the size of what is a
        standard normal number before: √2 for ReLU, 1 for the identity.

    Examples
    --------
    >>> from fastntk import layers
    >>> layers.Activation("relu") == layers.ReLU()
    True
    >>> layers.LeakyReLU(0.1, scale=1.0)
    LeakyReLU(0.1, scale=1)
    """

    activation: str | activations.Activation
    _: KW_ONLY
    scale: float | None = None

    def __post_init__(self) -> None:
        """Check all parameters and bring them into one form."""
        store(self, "activation", activations.get(self.activation))
        if self.scale is not None:
            store(self, "scale", arguments.scale(self.scale, "scale"))

    @property
    def phi(self) -> activations.Activation:
        """φ."""
        return activations.get(self.activation)

    @property
    def factor(self) -> float:
        """c_φ, by default that of φ."""
        return self.phi.scale if self.scale is None else self.scale

    def __repr__(self) -> str:
        """Return the call that makes this layer, by the name of its activation if it has one."""
        phi = self.phi
        name = _NAMES.get(phi.name)
        if phi.identity is not None or name is None:
            return super().__repr__()
        usual = phi.name in activations.names() and phi == activations.get(phi.name)
        given = [] if usual else [written(each) for each in phi.parameters]
        if self.scale is not None:
            given.append(f"scale={written(self.scale)}")
        return f"{name}({', '.join(given)})"


def _name_of(entry: str, taken: Collection[str]) -> str:
    """Return the name of the layer of an entry of the table: that of PyTorch's module, if any.

    Of several that one module computes, by its arguments, it is the name of the first one.
    """
    words = entry.split("_")
    if entry in activations.names():
        phi = activations.get(entry)
        if phi.module is not None and phi.module.name not in taken:
            return phi.module.name
        if phi.label.isidentifier():
            words = [phi.label]
    return "".join(word[:1].upper() + word[1:] for word in words)


def _constructor(entry: str, name: str) -> Callable[..., Activation]:
    """Return the function that makes layers of an entry."""
    phi = ENTRIES[entry]
    accepted = inspect.signature(phi)
    bare = [each.replace(annotation=each.empty) for each in accepted.parameters.values()]
    scaled = [*bare, inspect.Parameter("scale", inspect.Parameter.KEYWORD_ONLY, default=None)]
    call = f"{name}{inspect.Signature(scaled)}"

    def make(*parameters: float, scale: float | None = None, **named: float) -> Activation:
        try:
            accepted.bind(*parameters, **named)
        except TypeError:  # which names neither the layer nor what it takes
            given = [*map(written, parameters), *(f"{k}={written(v)}" for k, v in named.items())]
            raise TypeError(f"{name}({', '.join(given)}): expected {call}") from None
        return Activation(phi(*parameters, **named), scale=scale)

    make.__name__ = make.__qualname__ = name
    make.__module__ = "fastntk.layers"
    make.__doc__ = f"""Return the layer of `fastntk.activations.{phi.__name__}`.

    Parameters
    ----------
    *parameters, **named : float
        Those of the activation.
    scale : float, optional
        c_φ, as for `Activation`.

    Returns
    -------
    Activation
    """
    return make


# The names of the layers by those of activations. An entry that stands for another one with its
# default parameters, as "relu2" does, has no name of its own.
_NAMES: dict[str, str] = {}
for _entry in ENTRIES:
    if _entry not in activations.names() or activations.get(_entry).name == _entry:
        _NAMES[_entry] = _name_of(_entry, _NAMES.values())

CONSTRUCTORS = {name: _constructor(entry, name) for entry, name in _NAMES.items()}
