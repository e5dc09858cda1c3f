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
from fastntk._blocks import row_slices, rows_at_once
from fastntk._core_activation import core_activation
from fastntk._places import PROCESSOR, Place
from fastntk._threads import core_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._progress import Monitor, Progress
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

    def handle(self, place: Place = PROCESSOR) -> Any:
        """Return the core's view of the network; it keeps the weights alive.

        A GPU has its own copies of them, made when they are first needed.
        """
        activation = core_activation(self.activation)
        if place.on_gpu and activation.function:
            raise ValueError(
                f"activation={self.activation!r}: expected one of those that the core has; a GPU "
                "cannot call a function that was compiled for the processor"
            )
        core = place.core.Network32 if self.dtype == np.float32 else place.core.Network64
        result = core(
            input_width=self.input_width,
            activation_scale=self.activation_scale,
            **asdict(activation),
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


def evaluate(network: Network, X: Any, place: Place = PROCESSOR, handle: Any = None) -> Any:
    """Return f (n, C) of the network's first readout."""
    handle = network.handle(place) if handle is None else handle
    out = place.empty((len(X), network.n_outputs), network.dtype)
    place.fill([out], lambda outs, where: place.core.evaluate(handle, X, outs[0], where, None))
    return out


def kernels(
    network: Network,
    X: Any,
    Z: Any,
    *,
    outputs: range,
    dtype: FloatDType,
    progress: Progress,
    split: str = "none",
    count: int = 1,
    place: Place = PROCESSOR,
) -> Any:
    """Return the `count` kernels (n, m) that `split` makes of K(X, Z).

    "none": a list, one for each readout, summed over `outputs`. An array (count, n, m) for the
    first readout with "layers": one for each layer, "outputs": one for each output, "output_pairs":
    one for each ordered pair of outputs.

    Kernels for the host that do not fit into the memory of a GPU are computed there block by block.
    """
    rows, cols = len(X), len(X) if Z is None else len(Z)
    of_kernels = count * rows * cols * dtype.itemsize
    of_features = network.feature_bytes(rows + (0 if Z is None else cols), len(outputs), dtype)
    what, instead = kernel_advice((rows, cols), dtype, count, Z is None)
    if place.results_elsewhere:
        PROCESSOR.require_memory(of_kernels, what, instead)
    else:
        place.require_memory(of_kernels + of_features, f"{what} and the features", instead)
    # Kernels of different readouts are arrays of their own, which can be let go one by one.
    out: Any = (
        [place.empty((rows, cols), dtype) for _ in range(count)]
        if split == "none"
        else place.empty((count, rows, cols), dtype)
    )
    ask = _Kernels(network, outputs, split, place)
    with _progress.monitor(progress, "kernel") as monitor:
        size = max(rows, cols)
        if place.results_elsewhere:
            each = network.feature_bytes(1, len(outputs), dtype)
            size = rows_at_once(size, 2 * each, count * dtype.itemsize, place.available_memory())
        if size >= max(rows, cols):
            ask.fill(X, Z, list(out), monitor)
        else:
            ask.fill_in_blocks(X, Z, list(out), size, monitor)
    return out


def kernel_advice(
    shape: tuple[int, int], dtype: FloatDType, count: int, symmetric: bool
) -> tuple[str, str]:
    """Return the names of kernels that need memory, and what to do where there is not enough."""
    what = f"{count} kernels" if count > 1 else "the kernel"
    return (
        f"{what} of {shape[0]} × {shape[1]} in {dtype}",
        "take fewer samples"
        + (" or dtype='float32'" if dtype == np.float64 else "")
        + (", keep half of it (out='packed')" if symmetric and count == 1 else "")
        + ", write to a file (out=…) or use ntk_operator, ntk_tiles or smallest_angle",
    )


class _Kernels:
    """Kernels of one network, all at once or in blocks."""

    def __init__(self, network: Network, outputs: range, split: str, place: Place) -> None:
        self._handle = network.handle(place)
        self._outputs, self._split, self._place = outputs, split, place

    def fill(self, X: Any, Z: Any, outs: Sequence[Any], monitor: Monitor | None) -> None:
        self._place.fill(
            outs,
            lambda matrices, where: self._place.core.ntk(
                self._handle,
                (self._outputs.start, len(self._outputs)),
                self._split,
                X,
                Z,
                matrices,
                where,
                monitor,
            ),
        )

    def fill_in_blocks(
        self, X: Any, Z: Any, outs: Sequence[Any], size: int, monitor: Monitor | None
    ) -> None:
        """Fill kernels from blocks; without Z, the mirror images of those below the diagonal."""
        others = X if Z is None else Z
        blocks = [
            (rows, cols)
            for rows in row_slices(len(X), size)
            for cols in row_slices(len(others), size)
            if Z is not None or cols.start <= rows.start
        ]
        for done, (rows, cols) in enumerate(blocks, start=1):
            diagonal = Z is None and rows == cols
            parts = [out[rows, cols] for out in outs]
            self.fill(X[rows], None if diagonal else others[cols], parts, None)
            if Z is None and not diagonal:
                for k, part in enumerate(parts):
                    outs[self._mirror(k)][cols, rows] = part.T
            if monitor is not None:
                monitor("blocks", done, len(blocks))

    def _mirror(self, k: int) -> int:
        """Return which kernel is the transpose of kernel k: of a pair of outputs the other pair."""
        if self._split != "output_pairs":
            return k
        first, second = divmod(k, len(self._outputs))
        return second * len(self._outputs) + first


class Features:
    """H and Δ of some samples, in the precision `dtype`, for several questions.

    On a GPU, features with the same `handle` of the network share its copy of the weights.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        outputs: range,
        dtype: FloatDType,
        progress: Progress = False,
        place: Place = PROCESSOR,
        handle: Any = None,
    ) -> None:
        place.require_memory(
            network.feature_bytes(len(X), len(outputs), dtype),
            f"the features of {len(X)} samples in {dtype}",
            "take fewer samples" + (" or dtype='float32'" if dtype == np.float64 else ""),
        )
        self.outputs = outputs
        self.dtype = dtype
        self.n_parameters = network.n_parameters
        self.place = place
        core = getattr(place.core, f"Features{8 * dtype.itemsize}Of{8 * network.dtype.itemsize}")
        with place.working() as where, _progress.monitor(progress, "features") as monitor:
            self._core: Any = core(
                network.handle(place) if handle is None else handle,
                (outputs.start, len(outputs)),
                X,
                where,
                monitor,
            )

    def __len__(self) -> int:
        return int(self._core.rows)

    def kernel(self, other: Features, rows: slice, cols: slice, progress: Progress = False) -> Any:
        """Return K (rows, cols), summed over the outputs."""
        out = self.place.empty((rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        self.fill_kernel(other, rows, cols, out, progress)
        return out

    def fill_kernel(
        self, other: Features, rows: slice, cols: slice, out: Any, progress: Progress = False
    ) -> None:
        """Fill a matrix with K (rows, cols), summed over the outputs."""
        spans = [(s.start, s.stop - s.start) for s in (rows, cols)]
        with _progress.monitor(progress, "kernel") as monitor:
            self.place.fill(
                [out],
                lambda outs, where: self._core.kernel(other._core, *spans, outs[0], where, monitor),
            )

    def kernel_on_host(
        self, other: Features, rows: slice, cols: slice, out: FloatArray, monitor: Monitor | None
    ) -> None:
        """Fill a matrix of NumPy with K (rows, cols), summed over the outputs."""
        spans = [(s.start, s.stop - s.start) for s in (rows, cols)]
        self.place.fill_on_host(
            out, lambda block, where: self._core.kernel(other._core, *spans, block, where, monitor)
        )

    def packed_kernel(self, out: FloatArray, progress: Progress) -> None:
        """Fill the data of a packed kernel with K of all samples, summed over the outputs."""
        with _progress.monitor(progress, "kernel") as monitor:
            self.place.fill_on_host(
                out, lambda data, where: self._core.packed_kernel(data, where, monitor)
            )

    def closest_pairs(self, k: int, progress: Progress) -> list[tuple[float, int, int]]:
        """Return (cosine, i, j) of the k closest pairs of samples that have a gradient."""
        with (
            self.place.working() as where,
            _progress.monitor(progress, "closest pairs") as monitor,
        ):
            pairs: list[tuple[float, int, int]] = self._core.closest_pairs(k, where, monitor)
        return pairs

    def transposed_products(self, output: int, vectors: Any) -> Any:
        """Return Fᵀ u (k, P) for the rows u of `vectors` (k, n); `output` counts from the first."""
        given = self.place.given(vectors)
        out = self.place.empty((len(vectors), self.n_parameters), self.dtype)
        self.place.fill(
            [out],
            lambda outs, where: self._core.transposed_products(output, given, outs[0], where, None),
        )
        return out

    def products(self, output: int, vectors: Any, *, weighted: bool = False) -> Any:
        """Return F v (k, n), or F diag(ω) v, for the rows v of `vectors` (k, P)."""
        given = self.place.given(vectors)
        out = self.place.empty((len(vectors), len(self)), self.dtype)
        self.place.fill(
            [out],
            lambda outs, where: self._core.products(output, weighted, given, outs[0], where, None),
        )
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
