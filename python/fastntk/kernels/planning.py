# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a kernel would cost, before it is computed."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import cache

import numpy as np

from fastntk import activations
from fastntk._support.memory import available_memory, human_bytes
from fastntk.kernels.calls import evaluate
from fastntk.kernels.destinations import block_rows
from fastntk.networks.network import Layer, Network

# Of the rate of matrix multiplication, for kernels of some thousand samples (bench_ntk.py).
_EFFICIENCY = 0.7
_CALIBRATION_SIZE = 1024


@dataclass(frozen=True)
class Plan:
    """The cost of a kernel.

    Attributes
    ----------
    flops : float
        Useful floating-point operations: both passes, and the Gram matrices, by half for a
        symmetric kernel.
    kernel_bytes, feature_bytes : int
        The memory of the result and of the features.
    seconds : float
        Expected, from the rate of a matrix multiplication measured just now.
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


def plan(network: Network, n: int, m: int | None) -> Plan:
    """Return the plan for K(X, X) of n samples, or K(X, Z) of n and m."""
    widths = [network.input_width, *(len(layer.weights) for layer in network.hidden)]
    outputs = network.n_outputs
    samples = n + (m or 0)
    # Forward through every layer, back through all but the first, for each output.
    pairs = list(itertools.pairwise(widths))
    forward = sum(2.0 * a * b for a, b in pairs)
    backward = outputs * sum(2.0 * a * b for a, b in pairs[1:])
    inner = sum(widths) + outputs * sum(widths[1:])
    entries = float(n) * (n if m is None else 2 * m)  # half of the pairs, twice the operations
    flops = samples * (forward + backward) + entries * inner
    itemsize = network.dtype.itemsize
    kernel_bytes = n * (n if m is None else m) * itemsize
    feature_bytes = network.feature_bytes(samples, outputs, network.dtype)
    memory = available_memory()
    if block_rows(network, max(n, m or 0), outputs, network.dtype) < max(n, m or 0) and (
        memory is not None and feature_bytes > memory
    ):
        strategy = "recompute features"
    elif memory is not None and kernel_bytes + feature_bytes > memory:
        strategy = "out to a file"
    else:
        strategy = "in memory"
    rate = _EFFICIENCY * _gemm_rate(network.dtype.name)
    return Plan(flops, kernel_bytes, feature_bytes, flops / rate, strategy)


@cache
def _gemm_rate(dtype: str) -> float:
    """Return the rate at which samples pass through a wide layer."""
    size = _CALIBRATION_SIZE
    ones = np.ones((size, size), dtype=dtype)
    wide = Network.of_layers(
        [Layer(ones, None, 1.0, 1.0), Layer(ones[:1], None, 1.0, 1.0)], activations.identity(), 1.0
    )
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        evaluate(wide, ones)
        best = min(best, time.perf_counter() - started)
    return float(2.0 * size**3 / best)
