# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How a network is to be trained: the arguments of `fastntk.train`, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.training.result import named_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk.networks.any_network import AnyNetwork

    _Rates = npt.NDArray[np.float64]


class TrainingSettings(NamedTuple):
    """Numbers that a training follows, beside its data.

    Attributes
    ----------
    loss : str
        "mse" or "cross_entropy".
    rates : ndarray (layers, 2)
        The learning rates of weights and biases, or of gains and shifts; 0 for what stays as it is.
    momentum : float
    epochs, batch : int
        Passes over the samples, and samples of a step.
    seed : int
        The seed of the order of the samples.
    loss_target : float or None
        The loss of an epoch at which training stops.
    callback_every, probe_every : int or None
        After how many steps each there is a callback, or the kernel is looked at; None for the end
        of an epoch.
    learning_rate : float
        η, by which rates are multiplied.
    data : str or None
        What the samples are called.
    """

    loss: str
    rates: _Rates
    momentum: float
    epochs: int
    batch: int
    seed: int
    loss_target: float | None
    callback_every: int | None
    probe_every: int | None
    learning_rate: float
    data: str | None

    def options(self, n: int) -> dict[str, Any]:
        """Return the settings of a training on n samples, by the columns of tables."""
        found = {
            "loss_function": self.loss,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch,
            "momentum": self.momentum,
            "seed": self.seed,
            "samples": n,
        }
        if (self.rates != self.learning_rate).any():
            shares = (self.rates / self.learning_rate).tolist()
            found["layer_rates"] = "; ".join(f"{of_w:g}, {of_b:g}" for of_w, of_b in shares)
        if self.loss_target is not None:
            found["loss_target"] = self.loss_target
        return found | named_data(self.data)

    @property
    def description(self) -> dict[str, Any]:
        """What a checkpoint must agree with, by the names of the arguments; not the epochs."""
        return {
            "loss": self.loss,
            "learning_rate, trainable or layer_rates": self.rates.tolist(),
            "batch_size": self.batch,
            "momentum": self.momentum,
            "seed": self.seed,
            "loss_target": self.loss_target,
            "probe_every": self.probe_every,
        }


def checked_rates(
    network: AnyNetwork,
    learning_rate: float,
    trainable: Sequence[bool] | None,
    layer_rates: npt.ArrayLike | None,
) -> _Rates:
    """Return the learning rates (layers, 2) of both arrays of each, 0 for those that are frozen."""
    rate = arguments.real(learning_rate, "learning_rate", minimum=0.0, exclusive=True)
    count = len(network.layers)
    if layer_rates is None and trainable is None and network.kernel_weights is None:
        return np.full((count, 2), rate)
    shares: _Rates = np.ones((count, 2))
    if layer_rates is not None:
        shares = arguments.layer_weights(layer_rates, count, "layer_rates").copy()
    if trainable is not None:
        chosen = arguments.items(trainable, "trainable", "True or False for each layer")
        if len(chosen) != count or not all(isinstance(t, (bool, np.bool_)) for t in chosen):
            raise ValueError(
                f"trainable={shown(trainable)}: expected True or False for each of {count} layers"
            )
        shares[~np.array(chosen)] = 0.0
    if network.kernel_weights is not None:
        shares = shares * network.kernel_weights
    there = [[array is not None for array in layer.both] for layer in network.layers]
    if not shares[there].any():
        raise ValueError(
            f"trainable={shown(trainable)}, layer_rates={shown(layer_rates)}: expected at least "
            "one layer that is trained"
            + ("" if network.kernel_weights is None else " and that is not frozen in the network")
        )
    return rate * shares


def checked_momentum(momentum: float) -> float:
    """Return 0 ≤ μ < 1."""
    value = arguments.real(momentum, "momentum", minimum=0.0)
    if value >= 1:
        raise ValueError(f"momentum={shown(momentum)}: expected a number from 0 to below 1")
    return value


def checked_batch_size(batch_size: int | None, n: int) -> int:
    """Return how many of n samples a step is taken with, by default all."""
    if batch_size is None:
        return n
    size = arguments.integer(batch_size, "batch_size", minimum=1)
    if size > n:
        raise ValueError(f"batch_size={shown(batch_size)}: expected at most the {n} samples of X")
    return size


def checked_target(loss_target: float | None) -> float | None:
    """Return the loss at which training stops, if there is one."""
    return None if loss_target is None else arguments.real(loss_target, "loss_target", minimum=0.0)


def checked_interval(steps: int | None, name: str, what: object) -> int | None:
    """Return after how many steps each there is `what`, whose argument has the name of its own.

    `name` is the argument of the steps, such as "probe_every" for "probe".
    """
    if steps is None:
        return None
    if what is None:
        raise ValueError(
            f"{name}={shown(steps)}: expected None without {name.removesuffix('_every')}"
        )
    return arguments.integer(steps, name, minimum=1)
