# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Weights in training: what changes of them, and the calls into the core that change it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.devices.processor import PROCESSOR
from fastntk.networks.network import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Monitor
    from fastntk.devices.place import Place
    from fastntk.networks.network import Network
    from fastntk.training.settings import TrainingSettings

    # (layer, 0 for weights or 1 for the bias) → the array
    _Parameters = dict[tuple[int, int], FloatArray]

# Rows of a weight matrix are looked at so many numbers at a time: what fits in a cache.
_BLOCK = 2**16


class Sgd:
    """A network whose weights change; `rates` (layers, 2) are those of weights and biases.

    Parameters and velocities are arrays of the host. A GPU has copies of them, made for the first
    step, and after each call of `step` the arrays are as those are.
    """

    def __init__(
        self,
        network: Network,
        rates: npt.NDArray[np.float64],
        loss: str,
        momentum: float,
        place: Place = PROCESSOR,
    ) -> None:
        self.network = network
        self.place = place
        self.rates = rates
        self.loss = loss
        self.momentum = momentum
        # All that is trained.
        self.parameters = _trained(network, rates)
        self.velocities: _Parameters = (
            {key: np.zeros_like(array) for key, array in self.parameters.items()}
            if momentum > 0
            else {}
        )
        self._handle = network.handle(place)
        single = network.dtype == np.float32
        layer_type = place.core.TrainedLayer32 if single else place.core.TrainedLayer64
        self._layers = [
            layer_type(
                self.parameters.get((k, 0)),
                self.parameters.get((k, 1)),
                float(rates[k, 0]),
                float(rates[k, 1]),
                self.velocities.get((k, 0)),
                self.velocities.get((k, 1)),
            )
            for k in range(len(rates))
        ]

    def step(
        self,
        X: Any,
        y: Any,
        order: npt.NDArray[np.intp] | None,
        batch: int,
        outcomes: npt.NDArray[np.float64],
        monitor: Monitor | None,
        *,
        measure_gradient: bool,
    ) -> float:
        """Take a step for each batch of the samples in `order`, or of all.

        A row of `outcomes` gets the loss of a sample before the step of its batch, and whether it
        was recognized. Returns the norm of the last gradient, if it is to be measured.
        """
        with self.place.working() as where:
            square: float = self.place.core.sgd(
                self._handle,
                self._layers,
                where,
                monitor,
                loss=self.loss,
                batch=batch,
                momentum=self.momentum,
                measure_gradient=measure_gradient,
                X=X,
                y=y,
                order=order,
                outcomes=outcomes,
            )
        return float(np.sqrt(square))

    def outcomes(self, X: Any, y: Any) -> npt.NDArray[np.float64]:
        """Return loss and recognition (n, 2) of samples, without a step."""
        core, f = self.place.core, np.empty((len(X), self.network.n_outputs), self.network.dtype)
        result = np.empty((len(X), 2))

        def compute(f: Any, where: Any) -> None:
            core.evaluate(self._handle, X, f, where, None)
            core.evaluate_loss(self.loss, y, f, result, where, None)

        self.place.fill([f], lambda outs, where: compute(outs[0], where))
        return result

    def change(self, initial: Network) -> tuple[float, float]:
        """Return ‖w − w₀‖ in the Euclidean and in the maximum norm."""
        square, largest = 0.0, 0.0
        for key, array in self.parameters.items():
            layer = initial.layers[key[0]]
            before = layer.weights if key[1] == 0 else layer.bias
            assert before is not None
            for now, then in zip(_blocks(array), _blocks(before), strict=True):
                difference = np.subtract(now, then, dtype=np.float64)
                square += float(np.square(difference).sum())
                found = float(np.abs(difference, out=difference).max())
                if found > largest or math.isnan(found):  # which is not lost: nothing is above it
                    largest = found
        return float(np.sqrt(square)), largest


def _trained(network: Network, rates: npt.NDArray[np.float64]) -> _Parameters:
    return {
        (k, kind): array
        for k, layer in enumerate(network.layers)
        for kind, array in enumerate((layer.weights, layer.bias))
        if array is not None and rates[k, kind] > 0
    }


def _blocks(array: FloatArray) -> Iterator[FloatArray]:
    flat = array.reshape(-1)
    return (flat[first : first + _BLOCK] for first in range(0, flat.size, _BLOCK))


def copy_of(network: Network) -> Network:
    """Return a network with weights of its own."""
    return network.with_layers(
        [
            Layer(
                np.array(layer.weights, order="C"),
                None if layer.bias is None else np.array(layer.bias, order="C"),
                layer.weight_scale,
                layer.bias_scale,
                layer.kernel_weights,
            )
            for layer in network.layers
        ]
    )


def require_training_memory(
    network: Network, settings: TrainingSettings, n: int, place: Place
) -> None:
    """Refuse batches of n samples whose passes do not fit in memory, beside a copy of the weights.

    With momentum there are velocities too.
    """
    batch = settings.batch
    # Some of the samples are gathered first; all of them are taken as they lie.
    with place.working() as where:
        needed = network.handle(place).training_bytes(batch, batch < n, where)
    everything = np.ones_like(settings.rates)
    needed += sum(array.nbytes for array in _trained(network, everything).values())
    if settings.momentum > 0:
        needed += sum(array.nbytes for array in _trained(network, settings.rates).values())
    if not place.is_always_there(needed):
        what = (
            f"a copy of the weights with the activations of a batch of {batch} samples in "
            f"{network.dtype}"
        )
        place.require_memory(needed, what, "take a smaller batch_size or network")
