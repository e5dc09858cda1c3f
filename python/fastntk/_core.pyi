# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

# The CUDA runtime that is built in, such as 13000 for 13.0; 0 without the CUDA device.
cuda_runtime: int

# The same on NVIDIA GPUs, but for pair_angles and what is about symmetric matrices. Arrays X, Z, y,
# f, out and vectors are DeviceArrays there, and `threads` is a Gpu; weights, velocities, order and
# outcomes are arrays of the host. Besides: Gpu, Memory, read, write. Only if cuda_runtime is not 0.
cuda: Any

_Array = npt.NDArray[Any]
_Monitor = Callable[[str, int, int], Any] | None

class _NetworkBase:
    def __init__(
        self,
        *,
        input_width: int,
        activation: str,
        parameters: tuple[float, float],
        function: int,
        derivative: int,
        activation_scale: float,
    ) -> None: ...
    # weights (n_out, n_in) and bias (n_out,) have the precision of the class
    def add_hidden(
        self,
        weights: _Array,
        bias: _Array | None,
        weight_scale: float,
        bias_scale: float,
        kernel_weights: tuple[float, float],
    ) -> None: ...
    def add_readout(
        self,
        depth: int,
        weights: _Array,
        bias: _Array | None,
        weight_scale: float,
        bias_scale: float,
        kernel_weights: tuple[float, float],
    ) -> None: ...
    # whether training keeps no slopes of the activations
    @property
    def slopes_follow(self) -> bool: ...

class Network32(_NetworkBase): ...
class Network64(_NetworkBase): ...

_Network = Network32 | Network64

class _FeaturesBase:
    def __init__(
        self,
        network: _Network,
        outputs: tuple[int, int],
        X: _Array,
        threads: int,
        monitor: _Monitor,
    ) -> None: ...
    @property
    def rows(self) -> int: ...
    def kernel(
        self,
        other: _FeaturesBase,
        rows: tuple[int, int],
        cols: tuple[int, int],
        out: _Array,
        threads: int,
        monitor: _Monitor,
    ) -> None: ...
    def packed_kernel(self, out: _Array, threads: int, monitor: _Monitor) -> None: ...
    def closest_pairs(
        self, k: int, threads: int, monitor: _Monitor
    ) -> list[tuple[float, int, int]]: ...
    def transposed_products(
        self, output: int, vectors: _Array, out: _Array, threads: int, monitor: _Monitor
    ) -> None: ...
    def products(
        self,
        output: int,
        weighted: bool,
        vectors: _Array,
        out: _Array,
        threads: int,
        monitor: _Monitor,
    ) -> None: ...

# Precision of the features Of that of the network.
class Features32Of32(_FeaturesBase): ...
class Features64Of32(_FeaturesBase): ...
class Features32Of64(_FeaturesBase): ...
class Features64Of64(_FeaturesBase): ...

# The arrays X, Z and out have the precision of the network, except the kernels of ntk: each call
# takes either precision for them.
def evaluate(
    network: _Network, X: _Array, out: _Array, threads: int, monitor: _Monitor
) -> None: ...
def input_jacobians(
    network: _Network, X: _Array, out: list[_Array], threads: int, monitor: _Monitor
) -> None: ...
def gradient_features(
    network: _Network, output: int, X: _Array, out: _Array, threads: int, monitor: _Monitor
) -> None: ...

# vectors and out (k, P), coefficients (n, C)
def hessian_products(
    network: _Network,
    X: _Array,
    coefficients: _Array,
    vectors: _Array,
    out: _Array,
    threads: int,
    monitor: _Monitor,
) -> None: ...

# passes: of the hidden layers 1 … L, arrays (n, n_l) for H, c φ', Δ and c φ'' ∘ U
def passes_with_curvature(
    network: _Network,
    X: _Array,
    coefficients: _Array,
    passes: tuple[list[_Array], list[_Array], list[_Array], list[_Array]],
    threads: int,
    monitor: _Monitor,
) -> None: ...
def ntk(
    network: _Network,
    outputs: tuple[int, int],
    split: str,
    X: _Array,
    Z: _Array | None,
    out: list[_Array],
    threads: int,
    monitor: _Monitor,
) -> None: ...
def pair_angles(
    network: _Network,
    outputs: tuple[int, int],
    X: _Array,
    pairs: list[tuple[int, int]],
    threads: int,
    monitor: _Monitor,
) -> list[float]: ...

# The arrays of a layer that are to change, or None; velocities where there is momentum.
class _TrainedLayerBase:
    def __init__(
        self,
        weights: _Array | None,
        bias: _Array | None,
        rate: float,
        bias_rate: float,
        velocity: _Array | None,
        bias_velocity: _Array | None,
    ) -> None: ...

class TrainedLayer32(_TrainedLayerBase): ...
class TrainedLayer64(_TrainedLayerBase): ...

def sgd(
    network: _Network,
    layers: list[_TrainedLayerBase],
    threads: int,
    monitor: _Monitor,
    *,
    loss: str,
    batch: int,
    momentum: float,
    measure_gradient: bool,
    X: _Array,
    y: _Array,
    order: _Array | None,
    outcomes: _Array,
) -> float: ...

# f is left with the gradient of the loss
def evaluate_loss(
    loss: str, y: _Array, f: _Array, outcomes: _Array, threads: int, monitor: _Monitor
) -> None: ...
def instruction_set() -> str: ...
def amx_why_not() -> str | None: ...
def use_amx(use: bool) -> None: ...

# (max |a_ij − a_ji|, Σ a_ij²) of a square matrix; the sum is finite only if all elements are
def symmetry(matrix: _Array, threads: int, monitor: _Monitor) -> tuple[float, float]: ...

# Symmetric matrices and Cholesky factors: square, or packed and of one dimension. float64, but for
# the source of scale_and_shift and for symmetric_product.
def scale_and_shift(
    source: _Array, sign: float, shift: float, target: _Array, threads: int, monitor: _Monitor
) -> None: ...
def symmetric_product(
    matrix: _Array, vectors: _Array, out: _Array, threads: int, monitor: _Monitor
) -> None: ...

# In place; returns n, or the first pivot that is not positive and finite.
def cholesky(matrix: _Array, threads: int, monitor: _Monitor) -> int: ...

# vectors (n, k) = (L Lᵀ)⁻¹ vectors
def cholesky_solve(factor: _Array, vectors: _Array, threads: int, monitor: _Monitor) -> None: ...
