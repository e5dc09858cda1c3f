# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks with skip connections and normalization, as the core takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import FLOAT_DTYPES
from fastntk.activations.compiled import core_activation, require_finite_width
from fastntk.layers.blocks import with_blocks
from fastntk.layers.normalization import Normalization
from fastntk.layers.residual import Residual
from fastntk.layers.steps import Activate, Add, GainShift, Linear, Step, Steps, label, steps_of
from fastntk.networks.any_network import AnyNetwork, require_no_function
from fastntk.networks.initialization import Initialization, scales
from fastntk.networks.network import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from fastntk import layers as described
    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations import Activation
    from fastntk.devices.place import Place

# The margins of rounding: with normalizations, and with blocks that do not begin with one.
_NORMALIZED, _NOT_NORMALIZED = 2.0, 256.0


@dataclass(frozen=True)
class GainAndShift:
    """The parameters of y = γ ∘ ĥ + β."""

    gain: FloatArray | None  # (n,), or None when there is none
    shift: FloatArray | None
    kernel_weights: tuple[float, float] = (1.0, 1.0)  # ω of the gain and of the shift

    @property
    def both(self) -> tuple[FloatArray | None, FloatArray | None]:
        """The gain and the shift."""
        return self.gain, self.shift

    @property
    def arrays(self) -> list[tuple[FloatArray, float]]:
        """The gain and the shift, those that there are, each with its ω."""
        pairs = zip(self.both, self.kernel_weights, strict=True)
        return [(array, omega) for array, omega in pairs if array is not None]

    @property
    def n_parameters(self) -> int:
        """The number of gains and shifts."""
        return sum(array.size for array, _ in self.arrays)

    def copy(self) -> GainAndShift:
        """Return the same with arrays of its own."""
        gain, shift = (None if array is None else array.copy() for array in self.both)
        return replace(self, gain=gain, shift=shift)

    def with_dtype(self, dtype: FloatDType) -> GainAndShift:
        """Return the same in another precision."""
        gain, shift = (
            None if array is None else array.astype(dtype, copy=False) for array in self.both
        )
        return replace(self, gain=gain, shift=shift)

    def moved(self, change: npt.NDArray[Any]) -> GainAndShift:
        """Return the same with its parameters changed by a vector over them."""
        of_gain, of_shift = np.split(change, [0 if self.gain is None else self.gain.size])
        gain = None if self.gain is None else self.gain + of_gain
        return replace(self, gain=gain, shift=None if self.shift is None else self.shift + of_shift)


@dataclass(frozen=True)
class WiredNetwork(AnyNetwork):
    """A description of layers, and parameters for them.

    Attributes
    ----------
    description : tuple of fastntk.layers.Layer
        Which fit together; what says in the description whether they are trained is in `layers`.
    input_width : int
        The number of inputs, d.
    layers : tuple of Layer and GainAndShift
        The parameters, in the order of the steps that have some.
    blocks : tuple of int, optional
        For the kernels of several networks that share layers: the numbers of their blocks,
        ascending, the last one that of all. There is nothing else of several networks.
    seed : int, optional
        That which the weights were drawn with before all training; None where they came from
        elsewhere.
    """

    description: tuple[described.Layer, ...]
    input_width: int
    layers: tuple[Layer | GainAndShift, ...]
    blocks: tuple[int, ...] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse activations that networks of finite width cannot have."""
        require_finite_steps(self.steps)

    @cached_property
    def steps(self) -> Steps:
        """What is computed, step by step."""
        return steps_of(self.description, self.input_width, self.blocks)

    @cached_property
    def parts(self) -> list[tuple[Step, Layer | GainAndShift | None]]:
        """Every step with its parameters, or with None where it has none."""
        parameters = iter(self.layers)
        return [
            (step, next(parameters) if isinstance(step, (Linear, GainShift)) else None)
            for step in self.steps.steps
        ]

    @property
    def networks(self) -> list[WiredNetwork]:
        """Each of the networks by itself, or this one where there is a single one."""
        if self.blocks is None:
            return [self]
        found = []
        for node, count in zip(self.steps.outputs, self.blocks, strict=True):
            leading = set(self.steps.leading_to(node))
            kept = tuple(own for step, own in self.parts if own is not None and step in leading)
            description = with_blocks(self.description, count)
            found.append(WiredNetwork(description, self.input_width, kept, seed=self.seed))
        return found

    @property
    def dtype(self) -> FloatDType:
        """The precision of the weights and of the passes through the network."""
        dtype: FloatDType = self.layers[0].arrays[0][0].dtype
        return dtype

    @property
    def n_outputs(self) -> int:
        """The number of outputs, C."""
        return self.steps.widths[-1]

    @property
    def has_linear_outputs(self) -> bool:
        """Whether the outputs are those of an affine map: they are, as the last layer is dense."""
        return True

    @property
    def activations(self) -> Sequence[tuple[str, Activation]]:
        """The activations of all layers, each after what errors say of it."""
        steps = [step for step in self.steps.steps if isinstance(step, Activate)]
        return [(f"{step.path} is the activation", step.layer.phi) for step in steps]

    @property
    def is_free_of_scale(self) -> bool:
        """Whether that is known, which it is not."""
        return False

    @property
    def rounding_margin(self) -> float:
        """A rule, which `FiniteNetwork.feature_error` describes."""
        return margin_of(self.description)

    def with_layers(self, layers: Sequence[Layer | GainAndShift]) -> WiredNetwork:
        """Return a network with other parameters and the same description.

        They are what those of this one became: how these were drawn is still known.
        """
        return replace(self, layers=tuple(layers))

    def copy(self) -> WiredNetwork:
        """Return a network with parameters of its own."""
        return self.with_layers([layer.copy() for layer in self.layers])

    def with_dtype(self, dtype: FloatDType) -> WiredNetwork:
        """Return the network in another precision.

        Raises
        ------
        MemoryError
            If a copy of the weights does not fit in the memory that is available.
        """
        self.require_memory_for(dtype)
        return self.with_layers([layer.with_dtype(dtype) for layer in self.layers])

    def with_kernel_weights(self, omega: Sequence[tuple[float, float]]) -> WiredNetwork:
        """Return the network with these ω of its layers, whatever it had before."""
        return self.with_layers(
            [
                replace(layer, kernel_weights=pair)
                for layer, pair in zip(self.layers, omega, strict=True)
            ]
        )

    def new_handle(self, place: Place) -> Any:
        """Return a new view of the core of the network at a place."""
        core = place.core.Wiring32 if self.dtype == np.float32 else place.core.Wiring64
        result = core(self.input_width)
        for step, own in self.parts:
            if isinstance(step, Linear):
                assert isinstance(own, Layer)
                result.add_linear(step.source, *own.core_arguments)
            elif isinstance(step, GainShift):
                assert isinstance(own, GainAndShift)
                result.add_gain_shift(step.source, own.gain, own.shift, own.kernel_weights)
            elif isinstance(step, Activate):
                phi = core_activation(step.layer.phi, label(step))
                if place.on_gpu:
                    require_no_function(step.path, step.layer.phi, phi)
                functions = phi.function, phi.derivative
                result.add_activation(
                    step.source, phi.activation, phi.parameters, *functions, step.layer.factor
                )
            elif isinstance(step, Add):
                result.add_sum(step.skip, step.branch, step.scale)
            else:
                result.add_normalization(step.source, step.layer.centered, step.layer.epsilon)
            if step.target in self.steps.outputs[:-1]:
                result.end_network()
        return result


def require_finite_steps(steps: Steps) -> None:
    """Raise ValueError if there is an activation that networks of finite width cannot have."""
    for step in steps.steps:
        if isinstance(step, Activate):
            require_finite_width(step.layer.phi, label(step))


def drawn(
    description: tuple[described.Layer, ...],
    inputs: int,
    seed: int,
    dtype: FloatDType,
    blocks: tuple[int, ...] | None = None,
) -> WiredNetwork:
    """Return a network at its random initialization.

    The weights of a map depend on the seed, the number of maps before it and its two widths alone,
    so that a chain of layers has those of the `MLP` with the same seed, and each of several
    networks those that it has by itself.
    """
    steps = steps_of(description, inputs, blocks)
    numbers: dict[int, int] = {}  # of maps, by the nodes that they make
    for node in steps.outputs:
        maps = [step for step in steps.leading_to(node) if isinstance(step, Linear)]
        numbers |= {step.target: number for number, step in enumerate(maps, start=1)}
    layers: list[Layer | GainAndShift] = []
    for step in steps.steps:
        if isinstance(step, Linear):
            dense = step.layer
            initial = Initialization.checked(seed, dense.weight_std, dense.bias_std, "ntk", dtype)
            try:
                layer = initial.layer(numbers[step.target], step.inputs, step.outputs)
            except MemoryError as error:
                raise MemoryError(f"{label(step)} with {step.inputs} inputs: {error}") from None
            layers.append(replace(layer, kernel_weights=dense.rates))
        elif isinstance(step, GainShift):
            ones, zeros = np.ones(step.width, dtype), np.zeros(step.width, dtype)
            layers.append(_gain_and_shift(step, iter([ones] * step.layer.gain + [zeros])))
    return WiredNetwork(description, inputs, tuple(layers), blocks, seed)


def with_arrays(
    description: tuple[described.Layer, ...],
    inputs: int,
    arrays: Sequence[FloatArray],
    seed: int | None = None,
) -> WiredNetwork:
    """Return a network with given parameters, in the order of gradients; ValueError if they differ.

    Their shapes and precisions have to be those of the description. The seed is that with which
    they were drawn once, if any.
    """
    layers: list[Layer | GainAndShift] = []
    shapes: list[tuple[int, ...]] = []
    rest = iter(arrays)
    for step in steps_of(description, inputs).steps:
        if isinstance(step, Linear):
            dense = step.layer
            weights = next(rest)
            bias = next(rest) if dense.bias_std > 0 else None
            shapes.append((step.outputs, step.inputs))
            shapes += [] if bias is None else [(step.outputs,)]
            forward = scales("ntk", step.inputs, dense.weight_std, dense.bias_std)
            layers.append(Layer(weights, bias, *forward, dense.rates))
        elif isinstance(step, GainShift):
            layers.append(_gain_and_shift(step, rest))
            shapes += [(step.width,)] * (step.layer.gain + step.layer.shift)
    dtypes = {array.dtype for array in arrays}
    if [array.shape for array in arrays] != shapes or dtypes not in [
        {each} for each in FLOAT_DTYPES
    ]:
        raise ValueError("shapes or precisions of its arrays are not those of its layers")
    return WiredNetwork(description, inputs, tuple(layers), seed=seed)


def margin_of(layers: Sequence[described.Layer]) -> float:
    """Return how much more than √L ε is expected, as `FiniteNetwork.feature_error` describes it."""
    margins = [1.0]
    for layer in layers:
        if isinstance(layer, Normalization):
            margins.append(_NORMALIZED)
        if isinstance(layer, Residual):
            begins = isinstance(layer.layers[0], Normalization)
            margins.append(_NORMALIZED if begins else _NOT_NORMALIZED)
            margins.append(margin_of(layer.layers))
    return max(margins)


def _gain_and_shift(step: GainShift, arrays: Iterator[FloatArray]) -> GainAndShift:
    norm = step.layer
    gain = next(arrays) if norm.gain else None
    return GainAndShift(gain, next(arrays) if norm.shift else None, norm.rates)
