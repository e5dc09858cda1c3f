# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a network is to learn, as the core takes it: one row of C numbers for each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk.activations.outputs import shown_output
from fastntk.devices import matrices
from fastntk.networks.network import Network

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.networks.any_network import AnyNetwork

LOSSES = ("cross_entropy", "mse")

# Probabilities that were divided by their sum in float32 add up to 1 within this.
_SUM_TOLERANCE = 1e-5


def require_fitting(loss: str, network: AnyNetwork) -> None:
    """Raise ValueError for a loss that is none of these outputs.

    The cross-entropy here takes logits: it is that of softmax(f), whatever f is.
    """
    if loss != "cross_entropy" or not isinstance(network, Network):
        return
    if not network.has_linear_outputs:
        psi = shown_output(network.output_activation)
        raise ValueError(
            f"loss='cross_entropy' with output_activation={psi}: expected loss='mse', or a net "
            "with output_activation='identity': this loss takes logits, and makes probabilities of "
            "them by a softmax of its own"
        )


def targets(
    y: npt.ArrayLike, name: str, loss: str, rows: int, outputs: int, dtype: FloatDType
) -> FloatArray:
    """Return y as a matrix (rows, outputs): labels become rows with a single 1."""
    array = matrices.host_array(y, name)
    if loss == "cross_entropy":
        if outputs == 1:
            raise ValueError(
                "loss='cross_entropy': expected a net with at least 2 outputs, one for each "
                "class; take loss='mse' for a single output"
            )
        if array.ndim == 1:
            return _one_hot(array, name, rows, outputs, dtype)
        _require_shape(array, name, (rows,), (rows, outputs))
        result = matrices.matrix(array, name, dtype)
        sums = result.sum(axis=1, dtype=np.float64)
        wrong = (np.abs(sums - 1.0) > _SUM_TOLERANCE) | (result < 0).any(axis=1)
        if wrong.any():
            i = int(wrong.argmax())
            found = "one is negative" if (result[i] < 0).any() else f"sum: {sums[i]}"
            raise ValueError(
                f"{name}[{i}]={arguments.shown(array[i])}: expected probabilities that sum to 1 "
                f"({found})"
            )
        return result
    if outputs == 1:
        _require_shape(array, name, (rows,), (rows, 1))
    else:
        _require_shape(array, name, (rows, outputs))
    return matrices.matrix(array.reshape(rows, outputs), name, dtype, given=array)


def _require_shape(array: npt.NDArray[Any], name: str, *shapes: tuple[int, ...]) -> None:
    if array.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ValueError(f"{name} has shape {array.shape}: expected {expected}")


def _one_hot(
    labels: npt.NDArray[Any], name: str, rows: int, outputs: int, dtype: FloatDType
) -> FloatArray:
    if len(labels) != rows:
        raise ValueError(f"{name} has {len(labels)} labels: expected {rows}, one for each sample")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {labels.dtype}: expected integer labels")
    wrong = (labels < 0) | (labels >= outputs)
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"{name}[{i}]={int(labels[i])}: expected labels from 0 to {outputs - 1}, the outputs "
            "of the network"
        )
    result: FloatArray = np.zeros((rows, outputs), dtype=dtype)
    result[np.arange(rows), labels] = 1.0
    return result
