# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Layers, of which `fastntk.Network` is made: what each of them computes, without any weights.

Layers do not change, those with the same parameters compare equal, and what is printed of them
makes an equal one again. Each activation has a layer, named as in PyTorch where it is there:
``ReLU()``, ``LeakyReLU(0.1)``; `Activation` takes any other one.
"""

from typing import TYPE_CHECKING

from fastntk.layers.activation import CONSTRUCTORS, Activation
from fastntk.layers.dense import Dense
from fastntk.layers.layer import Layer
from fastntk.layers.normalization import LayerNorm, RMSNorm
from fastntk.layers.rescale import Rescale
from fastntk.layers.residual import Residual

if TYPE_CHECKING:
    from collections.abc import Callable

    # What the table of activations has, see `activation`.
    def __getattr__(name: str) -> Callable[..., Activation]: ...


globals().update(CONSTRUCTORS)

__all__ = [  # noqa: PLE0604  (names are strings)
    "Activation",
    "Dense",
    "Layer",
    "LayerNorm",
    "RMSNorm",
    "Rescale",
    "Residual",
    *CONSTRUCTORS,
]


def __dir__() -> list[str]:
    """Return the public names, and not those of the files that they come from."""
    return sorted(__all__)
