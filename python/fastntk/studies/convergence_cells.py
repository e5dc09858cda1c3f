# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cells of a study of convergence: searches for learning rates, trainings, and rates.

What a cell computes stands beside the settings that it is known by.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.activations.activation import activation_label
from fastntk.activations.identities import activation_identity
from fastntk.mlp import MLP
from fastntk.networks.initialization import activation_and_scale
from fastntk.networks.network import Drawn
from fastntk.networks.settings import USUAL, drawn_settings
from fastntk.studies.identities import array_digest
from fastntk.studies.rates import convergence_rate
from fastntk.studies.runner import Task
from fastntk.training.learning_rate_search import find_learning_rate
from fastntk.training.result import named_data
from fastntk.training.run import train

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk._support.progress import Monitor
    from fastntk.activations import Activation
    from fastntk.studies.store import Values

    Labels = npt.NDArray[np.int64]

# Part of every key in a store: to be raised with each change of the numbers below.
_ALGORITHM = 1


@dataclass(frozen=True, eq=False)
class ConvergenceSettings:
    """The checked arguments of `fastntk.convergence_study`, and the cells that they make up.

    Attributes have the names and meanings of these arguments; besides, `classes` is how many
    labels there are.
    """

    X: FloatArray
    y: Labels
    classes: int
    test: tuple[FloatArray, Labels] | None
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    width: int
    activation: Activation
    activation_scale: float | None
    batch_size: int
    epochs: int
    loss_target: float
    search_epochs: int
    rate_samples: int
    rate_steps: int
    jobs: int
    device: str | None

    @property
    def n_cells(self) -> int:
        """How many cells there are in all: a search for each depth, two cells for each network."""
        return len(self.depths) * (1 + 2 * len(self.seeds))

    def search(self, depth: int) -> Task:
        """Return the search for the learning rate of a depth."""
        seed = self.seeds[0]
        settings = self._settings(
            "learning rate",
            depth,
            seed,
            epochs=self.search_epochs,
            loss_target=self.loss_target,
            **self._training_settings,
        )

        def compute(_: Monitor) -> Values:
            found = find_learning_rate(
                self._network(depth, self.classes, self.X.dtype, seed),
                self.X,
                self.y,
                batch_size=self.batch_size,
                epochs=self.search_epochs,
                loss_target=self.loss_target,
                seed=seed,
                jobs=self.jobs,
                device=self.device,
            )
            return {
                "best": found.best,
                "bound": found.bound,
                "candidates": [asdict(candidate) for candidate in found.candidates],
            }

        return Task(f"depth {depth}, learning rate", settings, compute, ("search", depth))

    def rate(self, depth: int, seed: int) -> Task:
        """Return the descent on the square loss."""
        settings = self._settings(
            "rate", depth, seed, samples=self.rate_samples, steps=self.rate_steps
        )

        def compute(progress: Monitor) -> Values:
            rows = np.sort(np.random.default_rng(0).permutation(len(self.X))[: self.rate_samples])
            numbers = self.y[rows].astype(np.float64)
            centred = numbers - numbers.mean()
            net = self._network(depth, 1, np.dtype(np.float64), seed)
            found = convergence_rate(
                net,
                self.X[rows],
                centred / (centred.std() or 1.0),
                steps=self.rate_steps,
                progress=progress,
            )
            return asdict(found)

        return Task(f"depth {depth}, rate", settings, compute, ("rate", depth, seed))

    def training(self, depth: int, seed: int, learning_rate: float) -> Task:
        """Return the training on cross-entropy."""
        settings = self._settings(
            "training",
            depth,
            seed,
            epochs=self.epochs,
            learning_rate=learning_rate,
            test=None if self.test is None else [array_digest(each) for each in self.test],
            **self._training_settings,
        )

        def compute(progress: Monitor) -> Values:
            history = train(
                self._network(depth, self.classes, self.X.dtype, seed),
                self.X,
                self.y,
                learning_rate=learning_rate,
                epochs=self.epochs,
                batch_size=self.batch_size,
                seed=seed,
                validation=self.test,
                device=self.device,
                progress=progress,
            )
            return {
                "loss": history.loss.tolist(),
                "accuracy": _listed(history.accuracy),
                "test_loss": _listed(history.validation_loss),
                "test_accuracy": _listed(history.validation_accuracy),
                "status": history.status,
                "seconds": float(history.seconds.sum()),
            }

        recipe = "training", depth, seed, learning_rate
        return Task(f"depth {depth}, training", settings, compute, recipe)

    def _network(self, depth: int, outputs: int, dtype: FloatDType, seed: int) -> MLP:
        widths = [self.X.shape[1], *[self.width] * depth, outputs]
        return MLP(
            widths,
            activation=self.activation,
            activation_scale=self.activation_scale,
            seed=seed,
            dtype=dtype,
            **USUAL,
        )

    def search_options(self, depth: int, data: str | None) -> dict[str, Any]:
        """Return the settings of the search at a depth, as `LearningRateSearch.options` has them.

        They are not in the store: they are what its cells are looked up by.
        """
        phi, scale = activation_and_scale(self.activation, self.activation_scale)
        return {
            "width": self.width if depth else 0,
            "depth": depth,
            "activation": activation_label(phi),
            "activation_scale": scale,
            "output_activation": "identity",
            **USUAL,
            "dtype": self.X.dtype.name,
            **drawn_settings(Drawn(self.seeds[0], (1.0,) * (depth + 1))),
            "loss_function": "cross_entropy",
            "batch_size": self.batch_size,
            "momentum": 0.0,
            "seed": self.seeds[0],
            "samples": len(self.X),
            "search_epochs": self.search_epochs,
        } | named_data(data)

    def _settings(self, kind: str, depth: int, seed: int, **others: Any) -> Values:
        return {
            "study": f"convergence: {kind}",
            "X": self._digests[0],
            "y": self._digests[1],
            "classes": self.classes,
            "width": self.width,
            "activation": activation_identity(self.activation),
            "depth": depth,
            "seed": seed,
            # Left out by default, so that the cells of stores of older versions are found.
            **(
                {} if self.activation_scale is None else {"activation_scale": self.activation_scale}
            ),
            **others,
            "algorithm": _ALGORITHM,
            "fastntk": version("fastntk"),
        }

    @property
    def _training_settings(self) -> Values:
        return {"batch_size": self.batch_size, "dtype": self.X.dtype.name}

    @cached_property
    def _digests(self) -> tuple[str, str]:
        return array_digest(self.X), array_digest(self.y)


def _listed(values: npt.NDArray[np.float64] | None) -> list[float] | None:
    return None if values is None else values.tolist()
