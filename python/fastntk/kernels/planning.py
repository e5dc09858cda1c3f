# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a kernel would cost, before it is computed."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fastntk import activations
from fastntk._support.memory import human_bytes
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.block_sizes import block_rows
from fastntk.kernels.request import KernelRequest
from fastntk.layers.steps import GainShift, Linear
from fastntk.networks.network import Layer, Network
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray
    from fastntk.networks.any_network import AnyNetwork

# The share of the rate of matrix multiplication that kernels of some thousand samples reach
# (benchmarks/bench_ntk.py).
_EFFICIENCY = 0.85
# The width of the layer that the rate is measured with, and the number of samples.
_CALIBRATION_SIZE = 1024


@dataclass(frozen=True)
class Plan:
    """The cost of a kernel.

    Attributes
    ----------
    flops : float
        The useful floating-point operations: both passes, and the Gram matrices, which take half
        as many for a symmetric kernel.
    kernel_bytes, feature_bytes : int
        The memory of the result and of the features.
    seconds : float
        The time to expect, from the rate of a matrix multiplication measured just now.
    strategy : str
        "in memory"; "out to a file" (``ntk(X, out="….npy")``) for a kernel that does not fit;
        "recompute features" where not even the features do, which `out` then computes in blocks.
    """

    flops: float
    kernel_bytes: int
    feature_bytes: int
    seconds: float
    strategy: str

    def __str__(self) -> str:
        return (
            f"{self.flops / 1e9:.3g} GFLOP, about {self.seconds:.2g} s; kernel "
            f"{human_bytes(self.kernel_bytes)}, features {human_bytes(self.feature_bytes)}; "
            f"{self.strategy}"
        )


def plan(network: AnyNetwork, X: FloatArray, Z: FloatArray | None) -> Plan:
    """Return the plan for K(X, Z), or for K(X, X) without Z."""
    outputs = network.n_outputs
    request = KernelRequest(
        PlacedNetwork(network, PROCESSOR), X, Z, range(outputs), "none", network.dtype
    )
    if isinstance(network, WiredNetwork):
        passes, inner = _work_of_steps(network)
    else:
        assert isinstance(network, Network)
        passes, inner = _work_of_layers(network)
    rows, cols = request.shape
    # A symmetric kernel has half of the pairs, and an inner product two operations for each term.
    entries = float(rows) * cols * (1 if request.symmetric else 2)
    flops = request.samples * passes + entries * inner
    feature_bytes = request.feature_bytes(request.samples)
    rate = _EFFICIENCY * _multiplication_rate(network.dtype.name)
    return Plan(flops, request.kernel_bytes, feature_bytes, flops / rate, _strategy(request))


def _work_of_layers(network: Network) -> tuple[float, int]:
    """Return the operations of the passes of a sample, and the terms of the products of a pair."""
    # Linear outputs are not needed; those of an activation are a layer like others.
    passed = network.hidden if network.has_linear_outputs else network.layers
    widths = [network.input_width, *(len(layer.weights) for layer in passed)]
    # Forward through every layer, back through all but the first, for each output of each readout.
    pairs = list(itertools.pairwise(widths))
    passes, inner = sum(2.0 * a * b for a, b in pairs), sum(widths)
    for readout in network.readouts:
        depth = readout.depth if network.has_linear_outputs else len(passed)
        passes += network.n_outputs * sum(2.0 * a * b for a, b in pairs[1:depth])
        inner += network.n_outputs * sum(widths[1 : depth + 1])
    return passes, inner


def _work_of_steps(network: WiredNetwork) -> tuple[float, int]:
    """Return the same for a network of steps, of which maps and gains have parameters.

    What is done to elements is little beside the maps.
    """
    maps = [step for step in network.steps.steps if isinstance(step, Linear)]
    gains = [step for step in network.steps.steps if isinstance(step, GainShift)]
    # The last map is that of the outputs, whose Δ is known; node 0 is the inputs.
    forward = sum(2.0 * step.inputs * step.outputs for step in maps[:-1])
    back = sum(2.0 * step.inputs * step.outputs for step in maps[:-1] if step.source > 0)
    # Δ of maps, Δ ∘ ĥ and Δ of gains and shifts.
    signals = sum(step.outputs for step in maps[:-1]) + sum(step.n_parameters for step in gains)
    inner = sum(step.inputs for step in maps) + network.n_outputs * signals
    return forward + network.n_outputs * back, inner


def _strategy(request: KernelRequest) -> str:
    memory = request.place.available_memory()
    features = request.feature_bytes(request.samples)
    if memory is None or request.kernel_bytes + features <= memory:
        return "in memory"
    if features > memory and block_rows(request, memory) < max(request.shape):
        return "recompute features"
    return "out to a file"


@cache
def _multiplication_rate(dtype: str) -> float:
    """Return the rate at which samples pass through a wide layer."""
    size = _CALIBRATION_SIZE
    ones = np.ones((size, size), dtype=dtype)
    layers = [Layer(ones, None, 1.0, 1.0), Layer(ones[:1], None, 1.0, 1.0)]
    wide = PlacedNetwork(Network.of_layers(layers, activations.identity(), 1.0), PROCESSOR)
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        wide.evaluate(ones)
        best = min(best, time.perf_counter() - started)
    return float(2.0 * size**3 / best)
