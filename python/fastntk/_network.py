# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Layers as the core takes them, and the calls into it.

A network here has hidden layers and one readout or more: a single one for a network by itself, one
for each depth where networks of different depth share their hidden layers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import _core, _progress
from fastntk._core_activation import core_activation
from fastntk._memory import require_memory
from fastntk._threads import core_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._progress import Progress
    from fastntk._typing import FloatArray, FloatDType
    from fastntk.activations import Activation


@dataclass(frozen=True)
class Layer:
    """The affine map z = weight_scale · W h + bias_scale · b."""

    weights: FloatArray  # (n_out, n_in)
    bias: FloatArray | None  # (n_out,), or None when there is none
    weight_scale: float  # σ_w/√n_in in the NTK parametrization, 1 in the standard one
    bias_scale: float  # σ_b in the NTK parametrization, 1 in the standard one
    kernel_weights: tuple[float, float] = (1.0, 1.0)  # ω of the weights and of the bias

    @property
    def n_parameters(self) -> int:
        return self.weights.size + (0 if self.bias is None else self.bias.size)

    def with_dtype(self, dtype: FloatDType) -> Layer:
        bias = None if self.bias is None else self.bias.astype(dtype, copy=False)
        return replace(self, weights=self.weights.astype(dtype, copy=False), bias=bias)

    @property
    def core_arguments(self) -> tuple[Any, ...]:
        return (self.weights, self.bias, self.weight_scale, self.bias_scale, self.kernel_weights)


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
        dtype: FloatDType = self.readouts[0].layer.weights.dtype
        return dtype

    @property
    def input_width(self) -> int:
        first = self.hidden[0] if self.hidden else self.readouts[0].layer
        return int(first.weights.shape[1])

    @property
    def n_outputs(self) -> int:
        return len(self.readouts[0].layer.weights)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the network with the first readout, from the inputs to the outputs."""
        readout = self.readouts[0]
        return (*self.hidden[: readout.depth], readout.layer)

    @property
    def n_parameters(self) -> int:
        return sum(layer.n_parameters for layer in self.layers)

    @classmethod
    def of_layers(
        cls, layers: Sequence[Layer], activation: Activation, activation_scale: float
    ) -> Network:
        """Return the network with these layers, the last of which is the only readout."""
        readout = Readout(len(layers) - 1, layers[-1])
        return cls(tuple(layers[:-1]), (readout,), activation, activation_scale)

    def with_layers(self, layers: Sequence[Layer]) -> Network:
        """Return a network with these layers and the same activation."""
        return self.of_layers(layers, self.activation, self.activation_scale)

    def with_dtype(self, dtype: FloatDType) -> Network:
        return self.with_layers([layer.with_dtype(dtype) for layer in self.layers])

    def handle(self) -> _core.Network32 | _core.Network64:
        """Return the core's view of the network; it keeps the weights alive."""
        core = _core.Network32 if self.dtype == np.float32 else _core.Network64
        result = core(
            input_width=self.input_width,
            activation_scale=self.activation_scale,
            **asdict(core_activation(self.activation)),
        )
        for layer in self.hidden:
            result.add_hidden(*layer.core_arguments)
        for readout in self.readouts:
            result.add_readout(readout.depth, *readout.layer.core_arguments)
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


def kernels(
    network: Network,
    X: FloatArray,
    Z: FloatArray | None,
    *,
    outputs: range,
    dtype: FloatDType,
    progress: Progress,
    split: str = "none",
    count: int = 1,
) -> Any:
    """Return the `count` kernels (n, m) that `split` makes of K(X, Z).

    "none": a list, one for each readout, summed over `outputs`. An array (count, n, m) for the
    first readout with "layers": one for each layer, "outputs": one for each output, "output_pairs":
    one for each ordered pair of outputs.
    """
    rows, cols = len(X), len(X) if Z is None else len(Z)
    needed = count * rows * cols * dtype.itemsize + network.feature_bytes(
        rows + (0 if Z is None else cols), len(outputs), dtype
    )
    what = f"{count} kernels" if count > 1 else "the kernel"
    require_memory(
        needed,
        f"{what} of {rows} × {cols} in {dtype} and the features",
        "take fewer samples"
        + (" or dtype='float32'" if dtype == np.float64 else "")
        + (", keep half of it (out='packed')" if Z is None and count == 1 else "")
        + ", write to a file (out=…) or use ntk_operator, ntk_tiles or smallest_angle",
    )
    # Kernels of different readouts are arrays of their own, which can be let go one by one.
    out: Any = (
        [np.empty((rows, cols), dtype=dtype) for _ in range(count)]
        if split == "none"
        else np.empty((count, rows, cols), dtype=dtype)
    )
    with core_threads() as threads, _progress.monitor(progress, "kernel") as monitor:
        _core.ntk(
            network.handle(),
            (outputs.start, len(outputs)),
            split,
            X,
            Z,
            list(out),
            threads,
            monitor,
        )
    return out


_FEATURES = {
    ("float32", "float32"): _core.Features32Of32,
    ("float32", "float64"): _core.Features64Of32,
    ("float64", "float32"): _core.Features32Of64,
    ("float64", "float64"): _core.Features64Of64,
}


class Features:
    """H and Δ of some samples, in the precision `dtype`, for several questions."""

    def __init__(
        self,
        network: Network,
        X: FloatArray,
        outputs: range,
        dtype: FloatDType,
        progress: Progress = False,
    ) -> None:
        require_memory(
            network.feature_bytes(len(X), len(outputs), dtype),
            f"the features of {len(X)} samples in {dtype}",
            "take fewer samples" + (" or dtype='float32'" if dtype == np.float64 else ""),
        )
        self.outputs = outputs
        self.dtype = dtype
        self.n_parameters = network.n_parameters
        core = _FEATURES[network.dtype.name, dtype.name]
        with core_threads() as threads, _progress.monitor(progress, "features") as monitor:
            self._core: Any = core(
                network.handle(), (outputs.start, len(outputs)), X, threads, monitor
            )

    def __len__(self) -> int:
        return int(self._core.rows)

    def kernel(
        self, other: Features, rows: slice, cols: slice, progress: Progress = False
    ) -> FloatArray:
        """Return K (rows, cols), summed over the outputs."""
        spans = [(s.start, s.stop - s.start) for s in (rows, cols)]
        out: FloatArray = np.empty((spans[0][1], spans[1][1]), dtype=self.dtype)
        with core_threads() as threads, _progress.monitor(progress, "kernel") as monitor:
            self._core.kernel(other._core, *spans, out, threads, monitor)
        return out

    def packed_kernel(self, out: FloatArray, progress: Progress) -> None:
        """Fill the data of a packed kernel with K of all samples, summed over the outputs."""
        with core_threads() as threads, _progress.monitor(progress, "kernel") as monitor:
            self._core.packed_kernel(out, threads, monitor)

    def closest_pairs(self, k: int, progress: Progress) -> list[tuple[float, int, int]]:
        """Return (cosine, i, j) of the k closest pairs of samples that have a gradient."""
        with core_threads() as threads, _progress.monitor(progress, "closest pairs") as monitor:
            pairs: list[tuple[float, int, int]] = self._core.closest_pairs(k, threads, monitor)
        return pairs

    def transposed_products(self, output: int, vectors: FloatArray) -> FloatArray:
        """Return Fᵀ u (k, P) for the rows u of `vectors` (k, n); `output` counts from the first."""
        out: FloatArray = np.empty((len(vectors), self.n_parameters), dtype=self.dtype)
        with core_threads() as threads:
            self._core.transposed_products(output, vectors, out, threads, None)
        return out

    def products(self, output: int, vectors: FloatArray, *, weighted: bool = False) -> FloatArray:
        """Return F v (k, n), or F diag(ω) v, for the rows v of `vectors` (k, P)."""
        out: FloatArray = np.empty((len(vectors), len(self)), dtype=self.dtype)
        with core_threads() as threads:
            self._core.products(output, weighted, vectors, out, threads, None)
        return out


def pair_angles(
    network: Network, X: FloatArray, pairs: Sequence[tuple[int, int]], outputs: range
) -> list[float]:
    """Return the angles between the gradients at pairs of samples, in float64, however small."""
    exact = network.with_dtype(np.dtype(np.float64))
    samples = X.astype(np.float64, copy=False)
    with core_threads() as threads:
        return _core.pair_angles(
            exact.handle(), (outputs.start, len(outputs)), samples, list(pairs), threads, None
        )
