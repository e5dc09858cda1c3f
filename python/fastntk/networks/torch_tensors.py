# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Affine maps of PyTorch, named as their owner names them, as layers of a network.

Nothing here imports PyTorch: whoever gives a tensor has done so.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.devices import matrices
from fastntk.networks.network import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray


_DTYPES = ("torch.float32", "torch.float64")


@dataclass(frozen=True)
class AffineMap:
    """The weight and the bias of z = W h + b, and what they are called in messages."""

    names: tuple[str, str]
    weight: Any
    bias: Any  # None where there is none

    @property
    def path(self) -> str:
        """What the Linear is called."""
        return self.names[0].removesuffix(".weight")

    @property
    def tensors(self) -> list[tuple[str, Any]]:
        """The names and tensors of the weight and, if there is one, of the bias."""
        pairs = list(zip(self.names, (self.weight, self.bias), strict=True))
        return pairs[:1] if self.bias is None else pairs


def layers_of(maps: Sequence[AffineMap]) -> list[Layer]:
    """Return layers with copies of the weights and biases; those that are frozen have ω = 0.

    Raises
    ------
    ValueError
        If the maps cannot stand one after the other, have numbers in common, or have numbers that
        are not finite, or of another precision than float32 or float64.
    """
    arrays = arrays_of([pair for affine in maps for pair in affine.tensors])
    _require_shapes(maps, arrays)
    layers = []
    for affine in maps:
        values = [arrays[name] for name, _ in affine.tensors]
        weight, bias = values if len(values) == 2 else (values[0], None)
        layers.append(Layer(weight, bias, 1.0, 1.0, rates_of(affine.tensors)))
    return layers


def arrays_of(named: Sequence[tuple[str, Any]]) -> dict[str, FloatArray]:
    """Return copies of tensors, by their names; all of them in float32 or in float64.

    Raises
    ------
    ValueError
        If some have numbers in common, or numbers that are not finite, or of another precision than
        float32 or float64; or if none is trained.
    """
    arrays = {name: _array(tensor, name) for name, tensor in named}
    _require_one_dtype(named)
    _require_untied(named, arrays)
    if not any(_trained(tensor) for _, tensor in named):
        raise ValueError(
            f"module: all of its {len(named)} weights and biases are frozen (requires_grad=False): "
            "expected at least one that is trained, or the tangent kernel is 0; "
            "module.requires_grad_(True) lets all of them count"
        )
    single = all(array.dtype == np.float32 for array in arrays.values())
    dtype = np.dtype(np.float32 if single else np.float64)
    return {name: np.array(array, dtype=dtype, order="C") for name, array in arrays.items()}


def rates_of(named: Sequence[tuple[str, Any]]) -> tuple[float, float]:
    """Return the ω of two tensors, or that of a single one twice: 0 for what is frozen."""
    omega = [float(_trained(tensor)) for _, tensor in named]
    return omega[0], omega[-1]


def array_of(values: Any, name: str) -> npt.NDArray[Any]:
    """Return a tensor, which may lie on a GPU, or what NumPy takes for an array, as an array."""
    if not hasattr(values, "detach"):
        return matrices.host_array(values, name)
    if values.device.type == "meta" or str(values.layout) != "torch.strided":
        raise ValueError(
            f"{name} is a tensor with layout {values.layout} on device {str(values.device)!r}: "
            "expected a dense tensor with values"
        )
    if str(values.dtype) not in _DTYPES:
        raise ValueError(
            f"{name} has dtype {values.dtype}: expected {' or '.join(_DTYPES)}; "
            "module.float() and tensor.float() convert half and bfloat16 exactly"
        )
    return np.asarray(values.detach().cpu())


def _array(values: Any, name: str) -> npt.NDArray[Any]:
    array = array_of(values, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}: expected real numbers")
    if 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}: expected at least one number")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has {(~np.isfinite(array)).sum()} numbers that are not finite")
    return array


def _require_one_dtype(named: Sequence[tuple[str, Any]]) -> None:
    tensors = [(name, tensor) for name, tensor in named if hasattr(tensor, "detach")]
    for name, tensor in tensors:
        first, other = tensors[0]
        if tensor.dtype != other.dtype:
            raise ValueError(
                f"{name} has dtype {tensor.dtype}: expected {other.dtype}, that of {first}"
            )


def _require_shapes(maps: Sequence[AffineMap], arrays: dict[str, FloatArray]) -> None:
    previous: tuple[str, int] | None = None
    for affine in maps:
        rows, columns = shape_of(affine, arrays)
        name = affine.names[0]
        if previous is not None and columns != previous[1]:
            raise ValueError(
                f"{name} has shape {(rows, columns)}: expected {previous[1]} columns, the rows of "
                f"{previous[0]}; layers are taken in the order in which they stand"
            )
        previous = name, rows


def shape_of(affine: AffineMap, arrays: dict[str, FloatArray]) -> tuple[int, int]:
    """Return the numbers of outputs and inputs of a map; ValueError if its arrays do not fit."""
    name = affine.names[0]
    shape = arrays[name].shape
    if len(shape) != 2:
        raise ValueError(f"{name} has shape {shape}: expected a matrix, the weight of a Linear")
    for bias, _ in affine.tensors[1:]:
        if arrays[bias].shape != shape[:1]:
            raise ValueError(
                f"{bias} has shape {arrays[bias].shape}: expected {shape[:1]}, a number for "
                f"each row of {name}"
            )
    return shape


def _require_untied(named: Sequence[tuple[str, Any]], arrays: dict[str, npt.NDArray[Any]]) -> None:
    for (other, earlier), (name, tensor) in itertools.combinations(named, 2):
        same_place = (
            hasattr(tensor, "data_ptr")
            and hasattr(earlier, "data_ptr")
            and (tensor.device, tensor.data_ptr()) == (earlier.device, earlier.data_ptr())
        )
        # The arrays of tensors on the processor are views of them.
        if same_place or np.may_share_memory(arrays[name], arrays[other]):
            raise ValueError(
                f"{other} and {name} are tied, they lie in the same memory: expected each layer to "
                "have parameters of its own; the gradients with respect to shared ones add up, "
                "which gives another kernel (a copy of one of them makes another model)"
            )


def _trained(tensor: Any) -> bool:
    """Whether a tensor counts in the kernel: all but parameters that were frozen.

    The tensors of a state_dict are no parameters, and do not say what was trained.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(tensor, torch.nn.Parameter):
        return True
    return bool(tensor.requires_grad)
