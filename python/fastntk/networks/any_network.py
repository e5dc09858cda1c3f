# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What networks of finite width have in common, chains of layers and those with other steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk._support.memory import is_always_there, require_memory
from fastntk.devices.processor import PROCESSOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar

    import numpy.typing as npt
    from _typeshed import DataclassInstance

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations import Activation
    from fastntk.activations.compiled import CoreActivation
    from fastntk.activations.outputs import OutputActivation
    from fastntk.devices.place import Place


class Parameters(Protocol):
    """The parameters of a layer."""

    @property
    def kernel_weights(self) -> tuple[float, float]:
        """ω of the weights and of the bias, or of a gain and a shift."""

    @property
    def both(self) -> tuple[FloatArray | None, FloatArray | None]:
        """Weights and bias, or a gain and a shift; None for one that there is not."""

    @property
    def arrays(self) -> list[tuple[FloatArray, float]]:
        """The arrays that there are, each with its ω, in the order of gradients."""

    @property
    def n_parameters(self) -> int:
        """The number of all their elements."""

    def moved(self, change: npt.NDArray[Any]) -> Self:
        """Return the same with all of them changed by a vector, in the order of gradients."""


class AnyNetwork(ABC):
    """A network of finite width, as the core takes it: a dataclass, which does not change."""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Any]]

        # Fields of one kind of networks, which an abstract property would keep from being made.
        @property
        def input_width(self) -> int:
            """The number of inputs, d."""

        @property
        def layers(self) -> Sequence[Parameters]:
            """The layers that have parameters, from the inputs to the outputs."""

    @property
    @abstractmethod
    def dtype(self) -> FloatDType:
        """The precision of the weights and of the passes through the network."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """The number of outputs, C."""

    @property
    def all_layers(self) -> Sequence[Parameters]:
        """Those of further readouts included."""
        return self.layers

    @property
    def rounding_margin(self) -> float:
        """How much more rounding does to features than to those of a chain of as many layers."""
        return 1.0

    @property
    @abstractmethod
    def has_linear_outputs(self) -> bool:
        """Whether the outputs are those of an affine map."""

    @property
    @abstractmethod
    def activations(self) -> Sequence[tuple[str, Activation]]:
        """The activations of hidden layers, each after what errors say of it: "net has the …"."""

    @property
    @abstractmethod
    def is_free_of_scale(self) -> bool:
        """Whether outputs and gradients are multiples of the size of a sample."""

    @abstractmethod
    def with_layers(self, layers: Sequence[Any]) -> Self:
        """Return a network with other layers of the same kinds, whose other settings are these."""

    @abstractmethod
    def with_kernel_weights(self, omega: Sequence[tuple[float, float]]) -> Self:
        """Return the network with these ω of its layers, whatever it had before."""

    @abstractmethod
    def with_dtype(self, dtype: FloatDType) -> Self:
        """Return the network in another precision.

        Raises
        ------
        MemoryError
            If a copy of the weights does not fit in the memory that is available.
        """

    @abstractmethod
    def copy(self) -> Self:
        """Return a network with parameters of its own."""

    @abstractmethod
    def new_handle(self, place: Place) -> Any:
        """Return a new view of the core of the network at a place."""

    @property
    def n_parameters(self) -> int:
        """The number of parameters, P."""
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def kernel_weights(self) -> list[tuple[float, float]] | None:
        """ω of the two arrays of each layer; None where all of them are 1."""
        omega = [layer.kernel_weights for layer in self.layers]
        return None if omega.count((1.0, 1.0)) == len(omega) else omega

    def weighted(self, layer_weights: npt.ArrayLike | None) -> Self:
        """Return the network with the given ω of its layers, times those it has."""
        if layer_weights is None:
            return self
        rates = arguments.layer_weights(layer_weights, len(self.layers))
        result = self.with_kernel_weights(
            [
                (first * layer.kernel_weights[0], second * layer.kernel_weights[1])
                for layer, (first, second) in zip(self.layers, rates.tolist(), strict=True)
            ]
        )
        if not any(any(layer.kernel_weights) for layer in result.layers):
            raise ValueError(
                f"layer_weights={shown(layer_weights)}: expected one above 0 for a layer that is "
                f"not frozen; those of the network itself are {self.kernel_weights}"
            )
        return result

    def require_memory_for(self, dtype: FloatDType) -> None:
        """Raise MemoryError if there is none for the parameters in another precision."""
        if dtype == self.dtype:
            return
        needed = sum(layer.n_parameters for layer in self.all_layers) * dtype.itemsize
        if not is_always_there(needed):
            require_memory(
                needed, f"the weights of the network in {dtype}", "take a smaller network"
            )

    def precision(self, dtype: npt.DTypeLike | None) -> FloatDType:
        """Return the precision that is asked for, by default that of the network."""
        return self.dtype if dtype is None else arguments.float_dtype(dtype)

    def samples(self, X: Any, name: str, place: Place = PROCESSOR) -> Any:
        """Return samples as the core takes them at a place: checked, one column for each input."""
        return place.samples(X, name, self.dtype, columns=self.input_width)

    def chosen_outputs(self, outputs: Any, names: Sequence[str] = ("trace",)) -> range:
        """Return which outputs `outputs` means: all of them for a name, or the one of an index."""
        count = self.n_outputs
        if isinstance(outputs, str) and outputs in names:
            return range(count)
        try:
            index = arguments.integer(outputs, "outputs", minimum=0, maximum=count - 1)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"outputs={shown(outputs)}: expected {', '.join(map(repr, names))} or an "
                f"output from 0 to {count - 1}"
            ) from None
        return range(index, index + 1)

    def handle(self, place: Place = PROCESSOR) -> Any:
        """Return the core's view of the network at a place; it keeps the weights alive.

        The processor's is made once. A GPU has its own copies of the weights, made when they are
        first needed, and so each handle has.
        """
        return self.new_handle(place) if place.on_gpu else self.handle_on_processor

    @cached_property
    def handle_on_processor(self) -> Any:
        """The core's view on the processor."""
        return self.new_handle(PROCESSOR)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle has of a network: not the core's view."""
        described: DataclassInstance = self
        return {each.name: getattr(self, each.name) for each in fields(described)}


def require_no_function(name: str, given: OutputActivation, in_core: CoreActivation) -> None:
    """Raise ValueError for an activation that a GPU cannot call."""
    if in_core.function:
        raise ValueError(
            f"{name}={given!r}: expected one of those that the core has; a GPU cannot call a "
            "function that was compiled for the processor"
        )
