# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What all layers are: parameters that are checked once, and shown as they are given."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, repr=False)
class Layer:
    """A layer of a `fastntk.Network`: the base of all of them."""

    def __repr__(self) -> str:
        """Return the call that makes this layer, without what is as it is by default."""
        shown = []
        for each in fields(self):
            value = getattr(self, each.name)
            if not each.kw_only:
                shown.append(written(value))
            elif value != each.default:
                shown.append(f"{each.name}={written(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def written(value: object) -> str:
    """Return how a parameter is written: layers as a list, numbers as short as they are given."""
    if isinstance(value, tuple) and any(isinstance(item, Layer) for item in value):
        return f"[{', '.join(map(repr, value))}]"
    short = f"{value:g}" if type(value) is float else ""
    return short if short and float(short) == value else repr(value)


def store(layer: Layer, name: str, value: object) -> None:
    """Give a layer that is being made a parameter, in the one form that equal layers share."""
    object.__setattr__(layer, name, value)
