# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether a network computes what a PyTorch module does, or has the outputs that a user has."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.arguments import shown
from fastntk.devices import matrices
from fastntk.devices.processor import PROCESSOR
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.torch_parts import statistics_of, tensors_of, with_tensors
from fastntk.networks.torch_tensors import array_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.torch_parts import Part

# The outputs of the network and the module are compared for so many random samples, in float64. A
# Softplus is linear above its threshold, which changes values by up to 1e-10 of them; rounding is
# far below. Another network differs by far more than this part of its largest output.
_SAMPLES = 8
_TOLERANCE = 1e-6
# What clips its inputs differs from what does not for larger samples alone.
_LARGE = 100.0
# By which part samples are changed to see how rounding grows. And how far parameters are moved:
# those of Linear(n, m), which are of the size 1/√n, by so many times that.
_CHANGE = 1e-13
_STEP = 0.1
# The same for outputs that the user has, by the least precise of the arrays.
_CHECK_TOLERANCES = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-8}


def require_same(
    module: Any, parts: Sequence[Part], network_of: Callable[[Sequence[Part]], AnyNetwork]
) -> None:
    """Refuse parts that have other outputs than their module, or another number of parameters.

    Outputs are compared at the module's parameters, and at others nearby, as those of a branch that
    begins at 0 do not depend on what is in it; and for large samples too, where some functions
    differ alone.

    Parameters
    ----------
    module : torch.nn.Module
    parts : sequence of Part
        What it was found to consist of.
    network_of : callable
        Returns the network of parts; what they do not say is as PyTorch has it in float64.
    """
    torch = sys.modules["torch"]
    network = network_of(parts)
    _require_count(module, network.n_parameters - statistics_of(parts), torch)
    # In float64 on the processor, whatever precision products have elsewhere. Numbers are only
    # lent to the module: it keeps its parameters, their gradients, its mode and its device.
    lent = {
        name: _double(tensor, torch)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        if tensor.is_floating_point()
    }
    rng = np.random.default_rng(0)
    X = rng.standard_normal((_SAMPLES, network.input_width))
    _compare(module, lent, network, X, "", rng)
    _compare(module, lent, network, _LARGE * X, f" times {_LARGE:g}", rng)
    # The same parameters of the parts and of the module are moved.
    moved = {}
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    for _, tensor in tensors_of(parts):
        name = names.get(id(tensor))
        if name is None:  # of statistics, say
            moved[id(tensor)] = _double(tensor, torch)
            continue
        size = 1 / math.sqrt(tensor.shape[-1] if tensor.ndim > 1 else 1)
        step = torch.from_numpy(_STEP * size * rng.standard_normal(tensor.shape))
        lent[name] = moved[id(tensor)] = lent[name] + step
    network = network_of(with_tensors(parts, lambda tensor: moved[id(tensor)]))
    where = ", with its parameters moved a little,"
    _compare(module, lent, network, X, where, rng)
    _compare(module, lent, network, _LARGE * X, f" times {_LARGE:g}{where}", rng)


def _require_count(module: Any, expected: int, torch: Any) -> None:
    slopes = {id(part.weight) for part in module.modules() if type(part) is torch.nn.PReLU}
    count = sum(
        parameter.numel() for parameter in module.parameters() if id(parameter) not in slopes
    )
    if count != expected:
        raise ValueError(
            f"module has {count} parameters, {count - expected:+d} than its layers have: expected "
            f"{expected}, their weights and biases"
        )


def _double(tensor: Any, torch: Any) -> Any:
    return tensor.detach().to("cpu", torch.float64)


def _compare(
    module: Any,
    lent: dict[str, Any],
    network: AnyNetwork,
    X: npt.NDArray[np.float64],
    where: str,
    rng: np.random.Generator,
) -> None:
    """Refuse other outputs than those of the module with the tensors that it is lent."""
    torch = sys.modules["torch"]
    outputs = _outputs(network, X)
    if where and not np.isfinite(outputs).all():
        return  # there is nothing to be compared beyond the range of float64
    # Rounding grows as this change does, which is far larger.
    changed = X * (1 + _CHANGE * rng.standard_normal(X.shape))
    rounding = float(np.abs(_outputs(network, changed) - outputs).max())
    with torch.no_grad():
        found = torch.func.functional_call(module, lent, (torch.from_numpy(X),))
    described = f"module computes for {_SAMPLES} random samples{where}"
    _require_close(outputs, array_of(found, "module(X)"), _TOLERANCE, described, rounding)


def require_outputs(network: AnyNetwork, check: tuple[Any, Any]) -> None:
    """Refuse a network whose outputs are not those that somebody has."""
    if not isinstance(check, (tuple, list)) or len(check) != 2:
        raise TypeError(f"check={shown(check)}: expected None or a pair of arrays (X, outputs)")
    X, given = (array_of(values, f"check[{i}]") for i, values in enumerate(check))
    dtypes = (network.dtype, X.dtype, given.dtype)
    dtype = np.dtype(np.float32 if np.dtype(np.float32) in dtypes else np.float64)
    samples = matrices.samples(X, "check[0]", columns=network.input_width)
    rows = given[:, np.newaxis] if given.ndim == 1 and network.n_outputs == 1 else given
    outputs = matrices.matrix(rows, "check[1]", given=given)
    _require_close(_outputs(network, samples), outputs, _CHECK_TOLERANCES[dtype], "check[1] has")


def _outputs(network: AnyNetwork, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    double = network.with_dtype(np.dtype(np.float64))
    values: npt.NDArray[np.float64] = PlacedNetwork(double, PROCESSOR).evaluate(
        X.astype(np.float64)
    )
    return values


def _require_close(
    outputs: npt.NDArray[np.float64],
    wanted: npt.NDArray[Any],
    tolerance: float,
    whose: str,
    rounding: float = 0.0,
) -> None:
    if wanted.shape != outputs.shape:
        raise ValueError(
            f"{whose} outputs of shape {wanted.shape}: expected {outputs.shape}, as the network of "
            "its layers has"
        )
    largest = float(np.abs(outputs).max())
    difference = float(np.abs(outputs - wanted).max())
    if not difference <= tolerance * largest + rounding:
        raise ValueError(
            f"{whose} outputs that differ by up to {difference:.3g} from those of the network of "
            f"its layers, the largest of which is {largest:.3g}: expected at most "
            f"{tolerance:g} of it; something else is computed than these layers, one after the "
            "other"
        )
