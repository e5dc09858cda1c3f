# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cells of a study of constancy: a network of one architecture, width and seed each.

What a cell computes stands beside the settings that it is known by.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from fastntk.activations.identities import activation_identity
from fastntk.linearity import hessian_norm, kernel_drift
from fastntk.mlp import MLP
from fastntk.networks.settings import USUAL
from fastntk.studies.identities import array_digest
from fastntk.studies.runner import Task
from fastntk.training.learning_rate_bound import learning_rate_bound
from fastntk.training.run import train

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.progress import Monitor
    from fastntk.activations import Activation
    from fastntk.studies.store import Values

    Array = npt.NDArray[np.float64]

# The intervals that the outputs of each activation are in; those of a softmax sum to 1.
OUTPUT_RANGES = {
    "square": (0.0, math.inf),
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "softplus": (0.0, math.inf),
}

# A linear output; outputs with an activation; and a narrow hidden layer.
ARCHITECTURES = ("linear", *OUTPUT_RANGES, "bottleneck")

# Part of every key in a store: to be raised with each change of the numbers below.
_ALGORITHM = 1

# The learning rate, as a share of the largest one that is stable at the start: kernels that move
# have to stay below it.
_SHARE = 0.5

# What is taken from the drift between both ends of a training.
_OF_DRIFT = (
    "relative_change",
    "alignment",
    "weight_change",
    "weight_change_max",
    "output_change",
    "linear_error",
)

# The relative error of norms of Hessians, which differ by more than a tenth from seed to seed.
_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class ConstancySettings:
    """The checked arguments of `fastntk.constancy_study`, and the cells that they make up.

    Attributes have the names and meanings of these arguments.
    """

    X: Array
    y: Array
    widths: tuple[int, ...]
    architectures: tuple[str, ...]
    depth: int
    bottleneck: int
    activation: Activation
    seeds: tuple[int, ...]
    hessian_samples: int
    learning_rate: float | None
    epochs: int
    loss_target: float

    @property
    def kinds(self) -> list[tuple[str, int, int]]:
        """The architecture, the width and the seed of each network, in the order of the tables."""
        return list(itertools.product(self.architectures, self.widths, self.seeds))

    def layers(self, architecture: str, width: int) -> list[int]:
        """Return the widths of a network from its inputs to its outputs."""
        hidden = [width] * self.depth
        if architecture == "bottleneck":
            hidden.insert((self.depth + 1) // 2, self.bottleneck)
        return [self.X.shape[1], *hidden, 2 if architecture == "softmax" else 1]

    def network(self, architecture: str, width: int, seed: int) -> MLP:
        """Return a network at its start."""
        return MLP(
            self.layers(architecture, width),
            activation=self.activation,
            output_activation=architecture if architecture in OUTPUT_RANGES else "identity",
            seed=seed,
            **USUAL,
        )

    def targets(self, architecture: str) -> Array:
        """Return the targets: of a softmax, y of the first output and 1 − y of the other."""
        return np.hstack([self.y, 1 - self.y]) if architecture == "softmax" else self.y

    def parameters(self, architecture: str, width: int) -> int:
        """Return how many weights a network has."""
        sizes = self.layers(architecture, width)
        return sum(a * b for a, b in itertools.pairwise(sizes))

    def cell(self, architecture: str, width: int, seed: int) -> Task:
        """Return what is measured of a network, before its training and after it."""
        settings: Values = {
            "study": "constancy",
            "X": self._digests[0],
            "y": self._digests[1],
            "architecture": architecture,
            "layers": self.layers(architecture, width),
            "activation": activation_identity(self.activation),
            "seed": seed,
            "hessian_samples": self.hessian_samples,
            "learning_rate": self.learning_rate,
            "epochs": self.epochs,
            "loss_target": self.loss_target,
            "algorithm": _ALGORITHM,
            "fastntk": version("fastntk"),
        }

        def compute(progress: Monitor) -> Values:
            started = time.perf_counter()
            net = self.network(architecture, width, seed)
            found = self._at_start(net)
            if found["gradient_norm"] > 0:
                found |= self._of_training(net, self.targets(architecture), progress)
            return found | {"seconds": time.perf_counter() - started}

        recipe = "cell", architecture, width, seed
        return Task(f"{architecture}, width {width}", settings, compute, recipe)

    def _at_start(self, net: MLP) -> Values:
        norms = hessian_norm(net, self.X[: self.hessian_samples], tolerance=_TOLERANCE)
        return {
            "status": "no gradient",
            "hessian_norm": float(norms.values.mean()),
            "hessian_norm_resolved": bool(norms.resolved.all()),
            "gradient_norm": float(np.sqrt(net.ntk(self.X, outputs=0).diagonal()).mean()),
        }

    def _of_training(self, net: MLP, y: Array, progress: Monitor) -> Values:
        rate = self.learning_rate
        if rate is None:
            rate = _SHARE * learning_rate_bound(net, self.X, loss="mse", subset=len(self.X))
        history = train(
            net,
            self.X,
            y,
            loss="mse",
            learning_rate=rate,
            epochs=self.epochs,
            loss_target=self.loss_target,
            progress=progress,
        )
        found: Values = {
            "status": history.status,
            "learning_rate": rate,
            "steps": history.epochs,
            "initial_loss": float(history.loss[0]),
            "final_loss": float(history.loss[-1]),
        }
        if history.status == "diverged":
            return found
        try:
            drift = kernel_drift([net, history.net], self.X)
        except OverflowError:  # the loss is that before the last step
            return found | {"status": "diverged"}
        before, after = drift.condition_number.tolist()
        return (
            found
            | {name: float(getattr(drift, name)[-1]) for name in _OF_DRIFT}
            | {"condition_number": before, "condition_number_after": after}
        )

    @cached_property
    def _digests(self) -> tuple[str, str]:
        return array_digest(self.X), array_digest(self.y)
