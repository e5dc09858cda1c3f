# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether a network computes what a PyTorch module does, or has the outputs that a user has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.arguments import shown
from fastntk.devices import matrices
from fastntk.devices.processor import PROCESSOR
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.torch_tensors import array_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.networks.any_network import AnyNetwork

# The outputs of the network and the module are compared for so many random samples, in float64. A
# Softplus is linear above its threshold, which changes values by up to 1e-10 of them; rounding is
# far below. Another network differs by far more than this part of its largest output.
_SAMPLES = 8
_TOLERANCE = 1e-6
# The same for outputs that the user has, by the least precise of the arrays.
_CHECK_TOLERANCES = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-8}


def require_same(module: Any, network: AnyNetwork, statistics: int = 0) -> None:
    """Refuse a network with other outputs, or another number of parameters, than the module.

    Parameters
    ----------
    module : torch.nn.Module
    network : AnyNetwork
    statistics : int
        How many parameters of the network are made of statistics, which are none of the module's.
    """
    torch = sys.modules["torch"]
    slopes = {id(part.weight) for part in module.modules() if type(part) is torch.nn.PReLU}
    count = sum(
        parameter.numel() for parameter in module.parameters() if id(parameter) not in slopes
    )
    expected = network.n_parameters - statistics
    if count != expected:
        raise ValueError(
            f"module has {count} parameters, {count - expected:+d} than its layers have: expected "
            f"{expected}, their weights and biases"
        )
    X = np.random.default_rng(0).standard_normal((_SAMPLES, network.input_width))
    # In float64 on the processor, whatever precision products have elsewhere. Numbers are only
    # lent to the module: it keeps its parameters, their gradients, its mode and its device.
    lent = {
        name: tensor.detach().to("cpu", torch.float64)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
        if tensor.is_floating_point()
    }
    with torch.no_grad():
        found = torch.func.functional_call(module, lent, (torch.from_numpy(X),))
    actual = array_of(found, "module(X)")
    _require_close(
        _outputs(network, X), actual, _TOLERANCE, f"module computes for {_SAMPLES} random samples"
    )


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
    outputs: npt.NDArray[np.float64], wanted: npt.NDArray[Any], tolerance: float, whose: str
) -> None:
    if wanted.shape != outputs.shape:
        raise ValueError(
            f"{whose} outputs of shape {wanted.shape}: expected {outputs.shape}, as the network of "
            "its layers has"
        )
    largest = float(np.abs(outputs).max())
    difference = float(np.abs(outputs - wanted).max())
    if not difference <= tolerance * largest:
        raise ValueError(
            f"{whose} outputs that differ by up to {difference:.3g} from those of the network of "
            f"its layers, the largest of which is {largest:.3g}: expected at most "
            f"{tolerance:g} of it; something else is computed than these layers, one after the "
            "other"
        )
