# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]
_Monitor = Callable[[str, int, int], Any] | None

class Network32:
    def __init__(self, *, input_width: int, activation: str, activation_scale: float) -> None: ...
    def add_hidden(
        self, weights: _Float32, bias: _Float32 | None, weight_scale: float, bias_scale: float
    ) -> None: ...
    def add_readout(
        self,
        depth: int,
        weights: _Float32,
        bias: _Float32 | None,
        weight_scale: float,
        bias_scale: float,
    ) -> None: ...

class Network64:
    def __init__(self, *, input_width: int, activation: str, activation_scale: float) -> None: ...
    def add_hidden(
        self, weights: _Float64, bias: _Float64 | None, weight_scale: float, bias_scale: float
    ) -> None: ...
    def add_readout(
        self,
        depth: int,
        weights: _Float64,
        bias: _Float64 | None,
        weight_scale: float,
        bias_scale: float,
    ) -> None: ...

# The arrays X, Z and out have the precision of the network, except the kernels of ntk: each call
# takes either precision for them.
def evaluate(
    network: Network32 | Network64,
    X: npt.NDArray[Any],
    out: npt.NDArray[Any],
    threads: int,
    monitor: _Monitor,
) -> None: ...
def gradient_features(
    network: Network32 | Network64,
    output: int,
    X: npt.NDArray[Any],
    out: npt.NDArray[Any],
    threads: int,
    monitor: _Monitor,
) -> None: ...
def ntk(
    network: Network32 | Network64,
    outputs: tuple[int, int],
    X: npt.NDArray[Any],
    Z: npt.NDArray[Any] | None,
    out: list[npt.NDArray[Any]],
    threads: int,
    monitor: _Monitor,
) -> None: ...
def instruction_set() -> str: ...
