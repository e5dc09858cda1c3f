# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Layers, and networks of them, as the core takes them.

A network here has hidden layers and one readout or more: a single one for a network by itself, one
for each depth where networks of different depth share their hidden layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk.activations.compiled import (
    core_activation,
    core_output_activation,
    require_finite_width,
)
from fastntk.activations.outputs import LINEAR, output_activation
from fastntk.networks.any_network import AnyNetwork, require_no_function

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations import Activation
    from fastntk.activations.outputs import OutputActivation
    from fastntk.devices.place import Place


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
        """The number of weights and biases."""
        return self.weights.size + (0 if self.bias is None else self.bias.size)

    @property
    def both(self) -> tuple[FloatArray, FloatArray | None]:
        """The weights and the bias, or None without."""
        return self.weights, self.bias

    @property
    def arrays(self) -> list[tuple[FloatArray, float]]:
        """The weights and the bias, if there is one, each with its ω."""
        of_weights, of_bias = self.kernel_weights
        found = [(self.weights, of_weights)]
        return found if self.bias is None else [*found, (self.bias, of_bias)]

    def copy(self) -> Layer:
        """Return the layer with arrays of its own."""
        return Layer(
            np.array(self.weights, order="C"),
            None if self.bias is None else np.array(self.bias, order="C"),
            self.weight_scale,
            self.bias_scale,
            self.kernel_weights,
        )

    def with_dtype(self, dtype: FloatDType) -> Layer:
        """Return the layer with its arrays in another precision."""
        bias = None if self.bias is None else self.bias.astype(dtype, copy=False)
        return replace(self, weights=self.weights.astype(dtype, copy=False), bias=bias)

    def moved(self, change: npt.NDArray[Any]) -> Layer:
        """Return the layer with its parameters changed by a vector over them."""
        of_weights, of_bias = np.split(change, [self.weights.size])
        bias = None if self.bias is None else self.bias + of_bias
        weights = self.weights + of_weights.reshape(self.weights.shape)
        return replace(self, weights=weights, bias=bias)

    @property
    def core_arguments(self) -> tuple[Any, ...]:
        """What the core's `add_hidden` and `add_readout` take for the layer."""
        return (self.weights, self.bias, self.weight_scale, self.bias_scale, self.kernel_weights)


@dataclass(frozen=True)
class Readout:
    """The layer from the activations of hidden layer `depth` (0: the inputs) to the outputs."""

    depth: int
    layer: Layer


class Drawn(NamedTuple):
    """How weights were drawn before all training: the arguments of `fastntk.MLP`.

    Attributes
    ----------
    seed : int
    init_scales : tuple of float
        `init_scale` of each layer.
    """

    seed: int
    init_scales: tuple[float, ...]


@dataclass(frozen=True)
class Network(AnyNetwork):
    """Hidden layers, readouts, and how the activations are computed.

    The outputs, layers and parameters are those of the network with the first readout, which is the
    only one of a network by itself.
    """

    hidden: tuple[Layer, ...]
    readouts: tuple[Readout, ...]
    activation: Activation
    activation_scale: float
    output_activation: OutputActivation = LINEAR  # of a single readout, on top
    drawn: Drawn | None = None  # None where the weights came from elsewhere

    def __post_init__(self) -> None:
        """Refuse activations that such a network cannot have, before anybody asks for more."""
        require_finite_width(self.activation)
        output_activation(self.output_activation, self.n_outputs)
        if not self.has_linear_outputs:
            self._require_single_readout()

    @property
    def dtype(self) -> FloatDType:
        """The precision of the weights and of the passes through the network."""
        dtype: FloatDType = self.readouts[0].layer.weights.dtype
        return dtype

    @property
    def input_width(self) -> int:
        """The number of inputs, d."""
        first = self.hidden[0] if self.hidden else self.readouts[0].layer
        return int(first.weights.shape[1])

    @property
    def n_outputs(self) -> int:
        """The number of outputs, C."""
        return len(self.readouts[0].layer.weights)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers from the inputs to the outputs."""
        readout = self.readouts[0]
        return (*self.hidden[: readout.depth], readout.layer)

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """All layers, also of other readouts than the first."""
        return (*self.hidden, *(readout.layer for readout in self.readouts))

    @property
    def has_linear_outputs(self) -> bool:
        """Whether the outputs are those of an affine map."""
        return self.output_activation is LINEAR or self.output_activation == LINEAR

    @property
    def activations(self) -> Sequence[tuple[str, Activation]]:
        """The activation of all hidden layers, after what errors say of it."""
        return [("net has the activation", self.activation)]

    @property
    def is_free_of_scale(self) -> bool:
        """Whether there are no biases, and φ is linear on either side of 0."""
        return (
            self.activation.slopes is not None
            and self.has_linear_outputs
            and all(layer.bias is None for layer in self.all_layers)
        )

    @classmethod
    def of_layers(
        cls,
        layers: Sequence[Layer],
        activation: Activation,
        activation_scale: float,
        output_activation: OutputActivation = LINEAR,
        drawn: Drawn | None = None,
    ) -> Network:
        """Return the network with these layers, the last of which is the only readout."""
        hidden, readout = tuple(layers[:-1]), Readout(len(layers) - 1, layers[-1])
        return cls(hidden, (readout,), activation, activation_scale, output_activation, drawn)

    def with_layers(self, layers: Sequence[Layer]) -> Network:
        """Return a network of a single readout with other layers and the same activations.

        They are what the layers of this one became: how these were drawn is still known.

        Raises
        ------
        ValueError
            If there are several readouts, all but one of which would be lost.
        """
        self._require_single_readout()
        return self.of_layers(
            layers, self.activation, self.activation_scale, self.output_activation, self.drawn
        )

    def copy(self) -> Network:
        """Return a network of a single readout with weights of its own.

        The core's view on the processor, where there is one, is copied too: that takes less than
        to make it anew.
        """
        result = self.with_layers([layer.copy() for layer in self.layers])
        name = "handle_on_processor"
        if name in vars(self):
            arrays = [(layer.weights, layer.bias) for layer in result.layers]
            vars(result)[name] = self.handle_on_processor.with_parameters(arrays)
        return result

    def with_dtype(self, dtype: FloatDType) -> Network:
        """Return the network with all its layers in another precision.

        Raises
        ------
        MemoryError
            If a copy of the weights does not fit in the memory that is available.
        """
        self.require_memory_for(dtype)
        return replace(
            self,
            hidden=tuple(layer.with_dtype(dtype) for layer in self.hidden),
            readouts=tuple(
                replace(readout, layer=readout.layer.with_dtype(dtype)) for readout in self.readouts
            ),
        )

    def weighted(self, layer_weights: npt.ArrayLike | None) -> Network:
        """Return the network with the given ω of its layers, times those it has.

        Raises
        ------
        ValueError
            If there are several readouts: which layers a list of ω means would depend on the
            readout.
        """
        if layer_weights is None:
            return self
        self._require_single_readout()
        return super().weighted(layer_weights)

    def with_kernel_weights(self, omega: Sequence[tuple[float, float]]) -> Network:
        """Return the network with these ω of its layers, whatever it had before."""
        return self.with_layers(
            [
                replace(layer, kernel_weights=pair)
                for layer, pair in zip(self.layers, omega, strict=True)
            ]
        )

    def new_handle(self, place: Place) -> Any:
        """Return a new view of the core of the network at a place."""
        activation = core_activation(self.activation)
        of_outputs = (
            None if self.has_linear_outputs else core_output_activation(self.output_activation)
        )
        if place.on_gpu:
            require_no_function("activation", self.activation, activation)
            if of_outputs is not None:
                require_no_function("output_activation", self.output_activation, of_outputs)
        core = place.core.Network32 if self.dtype == np.float32 else place.core.Network64
        result = core(
            self.input_width,
            activation.activation,
            activation.parameters,
            activation.function,
            activation.derivative,
            self.activation_scale,
        )
        for layer in self.hidden:
            result.add_hidden(*layer.core_arguments)
        if of_outputs is not None:
            functions = (of_outputs.function, of_outputs.derivative, of_outputs.curvature)
            result.add_activated_readout(
                *self.readouts[0].layer.core_arguments,
                activation=of_outputs.activation,
                parameters=of_outputs.parameters,
                functions=functions,
            )
            return result
        for readout in self.readouts:
            result.add_readout(readout.depth, *readout.layer.core_arguments)
        return result

    def _require_single_readout(self) -> None:
        if len(self.readouts) != 1:
            raise ValueError(
                f"the network has {len(self.readouts)} readouts: expected a single one"
            )
