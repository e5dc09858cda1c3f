# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Weights in training: what changes of them, and the calls into the core that change it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk.devices.processor import PROCESSOR

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Monitor
    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.training.settings import TrainingSettings

    # (layer, 0 for weights or a gain, or 1 for the bias or a shift) → the array
    _Parameters = dict[tuple[int, int], FloatArray]


class Sgd:
    """A network whose weights change; `rates` (layers, 2) are those of both arrays of each layer.

    Parameters and velocities are arrays of the host. A GPU has copies of them, made for the first
    step, and after each call of `step` the arrays are as those are.
    """

    def __init__(
        self,
        network: AnyNetwork,
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
                rate,
                bias_rate,
                self.velocities.get((k, 0)),
                self.velocities.get((k, 1)),
            )
            for k, (rate, bias_rate) in enumerate(rates.tolist())
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
    ) -> tuple[float, float, float]:
        """Take a step for each batch of the samples in `order`, or of all.

        A row of `outcomes` gets the loss of a sample before the step of its batch, and whether it
        was recognized. Returns the norm of the last gradient, if it is to be measured, the mean
        loss of the first batch, and the largest mean loss of a batch.
        """
        with self.place.working() as where:
            square, first, largest = self.place.core.sgd(
                self._handle,
                self._layers,
                self.loss,
                batch,
                self.momentum,
                measure_gradient,
                X,
                y,
                order,
                outcomes,
                where,
                monitor,
            )
        return math.sqrt(square), first, largest

    def outcomes(self, X: Any, y: Any, of: AnyNetwork | None = None) -> npt.NDArray[np.float64]:
        """Return loss and recognition (n, 2) of samples, without a step.

        Of the weights in training, or of another network of the same layers.
        """
        handle = self._handle if of is None else of.handle(self.place)
        core, f = self.place.core, np.empty((len(X), self.network.n_outputs), self.network.dtype)
        result = np.empty((len(X), 2))

        def compute(f: Any, where: Any) -> None:
            core.evaluate(handle, X, f, where, None)
            core.evaluate_loss(self.loss, y, f, result, where, None)

        self.place.fill([f], lambda outs, where: compute(outs[0], where))
        return result

    def change(self, initial: AnyNetwork) -> tuple[float, float]:
        """Return ‖w − w₀‖ in the Euclidean and in the maximum norm."""
        then: list[Any] = [initial.layers[k].both[kind] for k, kind in self.parameters]
        square, largest = _core.parameter_change(list(self.parameters.values()), then)
        return math.sqrt(square), largest


def _trained(network: AnyNetwork, rates: npt.NDArray[np.float64]) -> _Parameters:
    return {
        (k, kind): array
        for k, (layer, layer_rates) in enumerate(zip(network.layers, rates.tolist(), strict=True))
        for kind, array in enumerate(layer.both)
        if array is not None and layer_rates[kind] > 0
    }


def require_training_memory(
    network: AnyNetwork, settings: TrainingSettings, n: int, place: Place
) -> None:
    """Refuse batches of n samples whose passes do not fit in memory, beside a copy of the weights.

    With momentum there are velocities too.
    """
    batch = settings.batch
    arrays = network.n_parameters * network.dtype.itemsize
    if settings.momentum > 0:
        arrays += sum(array.nbytes for array in _trained(network, settings.rates).values())

    def bytes_in_lanes(where: Any) -> int:
        # Some of the samples are gathered first; all of them are taken as they lie.
        passes: int = network.handle(place).training_bytes(batch, batch < n, where)
        return arrays + passes

    # Lanes have memory of their own, which is little where that of one is: to find out how many
    # there are takes longer than a small step.
    if place.is_always_there(bytes_in_lanes(place.for_questions)):
        return
    with place.working() as where:
        needed = bytes_in_lanes(where)
    what = (
        f"a copy of the weights with the activations of a batch of {batch} samples in "
        f"{network.dtype}"
    )
    place.require_memory(needed, what, "take a smaller batch_size or network")
