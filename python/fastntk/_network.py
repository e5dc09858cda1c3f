# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Layers as the core takes them, and the calls into it.

A network here has hidden layers and one readout or more: a single one for a network by itself, one
for each depth where networks of different depth share their hidden layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk import _core, _progress
from fastntk._memory import require_memory
from fastntk._threads import core_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._progress import Progress
    from fastntk._typing import FloatArray, FloatDType
    from fastntk.activations import Activation


@dataclass(frozen=True)
class Layer:
    """The affine map z = (σ_w/√n_in) W h + σ_b b."""

    weights: FloatArray  # (n_out, n_in)
    bias: FloatArray | None  # (n_out,), or None when σ_b is 0
    weight_std: float
    bias_std: float

    @property
    def weight_scale(self) -> float:
        return float(self.weight_std / np.sqrt(self.weights.shape[1]))

    @property
    def n_parameters(self) -> int:
        return self.weights.size + (0 if self.bias is None else self.bias.size)


@dataclass(frozen=True)
class Readout:
    """The layer from the activations of hidden layer `depth` (0: the inputs) to the outputs."""

    depth: int
    layer: Layer


@dataclass(frozen=True)
class Network:
    """Hidden layers, readouts, and how the activations are computed."""

    hidden: tuple[Layer, ...]
    readouts: tuple[Readout, ...]
    activation: Activation
    activation_scale: float

    @property
    def dtype(self) -> FloatDType:
        return self.readouts[0].layer.weights.dtype

    @property
    def input_width(self) -> int:
        first = self.hidden[0] if self.hidden else self.readouts[0].layer
        return int(first.weights.shape[1])

    @property
    def n_outputs(self) -> int:
        return len(self.readouts[0].layer.weights)

    def handle(self) -> _core.Network32 | _core.Network64:
        """Return the core's view of the network; it keeps the weights alive."""
        core = _core.Network32 if self.dtype == np.float32 else _core.Network64
        result = core(
            input_width=self.input_width,
            activation=self.activation.name,
            activation_scale=self.activation_scale,
        )
        for layer in self.hidden:
            result.add_hidden(layer.weights, layer.bias, layer.weight_scale, layer.bias_std)
        for readout in self.readouts:
            layer = readout.layer
            result.add_readout(
                readout.depth, layer.weights, layer.bias, layer.weight_scale, layer.bias_std
            )
        return result

    def feature_bytes(self, samples: int, outputs: int, dtype: FloatDType) -> int:
        """Return the memory that the features H and Δ of so many samples take."""
        widths = [layer.weights.shape[0] for layer in self.hidden]
        columns = self.input_width + sum(widths)
        for readout in self.readouts:
            columns += outputs * sum(widths[: readout.depth])
        return int(samples * columns * dtype.itemsize)


def evaluate(network: Network, X: FloatArray) -> FloatArray:
    """Return f (n, C) of the network's first readout."""
    out: FloatArray = np.empty((len(X), network.n_outputs), dtype=network.dtype)
    with core_threads() as threads:
        _core.evaluate(network.handle(), X, out, threads, None)
    return out


def gradient_features(
    network: Network, X: FloatArray, output: int, progress: Progress
) -> FloatArray:
    """Return the gradients (n, P) of one output of the network's only readout."""
    (readout,) = network.readouts
    parameters = sum(layer.n_parameters for layer in (*network.hidden, readout.layer))
    require_memory(
        len(X) * parameters * network.dtype.itemsize,
        f"the {len(X)} × {parameters} matrix of gradient features",
        "take fewer samples, or ask for the kernel (ntk), which does not form it",
    )
    out: FloatArray = np.empty((len(X), parameters), dtype=network.dtype)
    with (
        core_threads() as threads,
        _progress.monitor(progress, "gradient features") as monitor,
    ):
        _core.gradient_features(network.handle(), output, X, out, threads, monitor)
    return out


def kernels(
    network: Network,
    X: FloatArray,
    Z: FloatArray | None,
    *,
    outputs: range,
    dtype: FloatDType,
    progress: Progress,
) -> Sequence[FloatArray]:
    """Return the kernel K(X, Z) of each readout, summed over `outputs`."""
    rows, cols = len(X), len(X) if Z is None else len(Z)
    count = len(network.readouts)
    needed = count * rows * cols * dtype.itemsize + network.feature_bytes(
        rows + (0 if Z is None else cols), len(outputs), dtype
    )
    what = f"{count} kernels" if count > 1 else "the kernel"
    require_memory(
        needed,
        f"{what} of {rows} × {cols} in {dtype} and the features",
        "take fewer samples" + (" or dtype='float32'" if dtype == np.float64 else ""),
    )
    out: list[FloatArray] = [np.empty((rows, cols), dtype=dtype) for _ in network.readouts]
    with core_threads() as threads, _progress.monitor(progress, "kernel") as monitor:
        _core.ntk(network.handle(), (outputs.start, len(outputs)), X, Z, out, threads, monitor)
    return out
