# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Layers of networks as PyTorch modules, where torch.nn has none.

With PyTorch: imported only where somebody gives a module, or wants one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

nn: Any = torch.nn


class Residual(nn.Module):  # type: ignore[misc]
    """h + scale · branch(h), or with a projection of the former: `fastntk.layers.Residual`."""

    def __init__(self, branch: Sequence[Any], scale: float, projection: Any) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.scale = scale
        self.projection = projection

    def forward(self, h: Any) -> Any:
        """Return the sum."""
        skip = h if self.projection is None else self.projection(h)
        return skip + self.scale * self.branch(h)

    def extra_repr(self) -> str:
        """Return what is shown beside the modules."""
        return f"scale={self.scale:g}"


class Rescale(nn.Module):  # type: ignore[misc]
    """weight ∘ z + bias, one of them or both: `fastntk.layers.Rescale`."""

    def __init__(self, width: int, weight: Any, bias: Any) -> None:
        super().__init__()
        self.width = width
        self.register_parameter("weight", weight)
        self.register_parameter("bias", bias)

    def forward(self, z: Any) -> Any:
        """Return the product and the sum."""
        y = z if self.weight is None else self.weight * z
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return what is shown."""
        return f"{self.width}, weight={self.weight is not None}, bias={self.bias is not None}"


class Scale(nn.Module):  # type: ignore[misc]
    """A number times what an activation made: c_φ of `fastntk.layers.Activation`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, h: Any) -> Any:
        """Return the product."""
        return self.factor * h

    def extra_repr(self) -> str:
        """Return what is shown."""
        return f"{self.factor!r}"
