# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Does better conditioning mean faster convergence? Training against depth.

Figure 4 and Table 1 of Liu, Bi, Hui, Liu, arXiv 2305.08813, beside the rates that κ predicts. For
each depth a learning rate is searched (`learning_rate`); then, for each seed, a network is trained
by mini-batches on softmax cross-entropy, and another, with one output and on a few samples, by
gradient descent on the square loss (`rates`).
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.progress import monitored
from fastntk._support.threads import map_in_threads, thread_count
from fastntk.devices import matrices
from fastntk.mlp import MLP
from fastntk.studies._families import activation_identity
from fastntk.studies._samples import digest
from fastntk.studies._store import StudyStore, key_of
from fastntk.studies.convergence_results import ConvergenceResult, ConvergenceStudy
from fastntk.studies.rates import ConvergenceRate, convergence_rate
from fastntk.training.learning_rate_search import Candidate, LearningRateSearch, find_learning_rate
from fastntk.training.run import train

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk._support.progress import Monitor, Progress
    from fastntk.activations import Activation
    from fastntk.studies._store import Values

    _Array = npt.NDArray[np.float64]
    _Labels = npt.NDArray[np.int64]

# Part of every key in a store: to be raised with each change of the numbers below.
_ALGORITHM = 1

# By default learning rates are searched by trainings of at most so many epochs.
_SEARCH_EPOCHS = 10


def convergence_study(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    depths: Sequence[int],
    *,
    width: int = 512,
    seeds: int | Sequence[int] = 3,
    test: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    activation: str | Activation = "relu",
    batch_size: int = 500,
    epochs: int = 40,
    loss_target: float = 0.1,
    search_epochs: int | None = None,
    rate_samples: int = 100,
    rate_steps: int = 2000,
    dtype: npt.DTypeLike = "float32",
    store: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    progress: Progress = True,
) -> ConvergenceStudy:
    """Train networks of several depths, and set how fast they converge beside κ.

    The experiment of Figure 4 and Table 1 of [1]_, and the rates behind it.

    Parameters
    ----------
    X : array_like (n, d)
        Training samples, one a row.
    y : array_like (n,)
        Labels from 0.
    depths : sequence of int
        Numbers of hidden layers.
    width : int
        Of every hidden layer.
    seeds : int or sequence of int
        So many seeds 0, 1, …, or the seeds themselves: of the weights and of the batches.
    test : (array_like (m, d), array_like (m,)), optional
        Other samples and their labels, for the test accuracy.
    activation : str or Activation
    batch_size : int
        Of the training on cross-entropy; at most n.
    epochs : int
        Of this training. It does not stop at the target: curves and accuracies are of all epochs.
    loss_target : float
        The cross-entropy that counts as reached, in the mean over an epoch.
    search_epochs : int, optional
        At most so many epochs for each learning rate that is tried with `find_learning_rate`, by
        the network of the first seed; the fastest one is that of all seeds. By default 10, or
        `epochs` if these are fewer.
    rate_samples : int
        κ and the rates on the square loss are those of so many of the samples, drawn at random, the
        same ones throughout: gradient descent needs about κ steps, and κ grows with the samples.
        The targets are the labels as numbers, centred and scaled to variance 1; the networks have
        one output and are in float64.
    rate_steps : int
        At most so many steps on the square loss; where they do not reach the tail, the measured
        rate is marked as not resolved.
    dtype : {"float32", "float64"}
        Of the networks that are trained on cross-entropy.
    store : path-like, optional
        A file (SQLite) that keeps what is finished: learning rates, trainings and rates. A study
        that was interrupted goes on from it, and one with more depths, seeds or other settings
        takes from it what is the same.
    jobs : int, optional
        How many networks are trained at a time, each with one thread; by default as many as there
        are threads. The numbers do not depend on it, the seconds do.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each training.

    Returns
    -------
    ConvergenceStudy

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    RuntimeError
        If every learning rate that was tried diverged.

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, "Better NTK conditioning: a free lunch from (ReLU)
       nonlinear activation in wide neural networks", arXiv 2305.08813.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((60, 5))
    >>> y = (X[:, 0] > 0).astype(int)
    >>> study = fastntk.convergence_study(
    ...     X, y, [1, 3], width=64, seeds=2, batch_size=20, epochs=20, rate_samples=10
    ... )
    >>> study.summary().reached.tolist()
    [2, 2]
    """
    precision = arguments.float_dtype(dtype)
    samples = matrices.samples(X, "X", precision)
    n, d = samples.shape
    labels = _labels(y, "y", n)
    classes = max(2, int(labels.max()) + 1)
    most = arguments.integer(epochs, "epochs", minimum=1)
    size = arguments.integer(batch_size, "batch_size", minimum=1)
    if size > n:
        raise ValueError(f"batch_size={batch_size!r}: expected at most the {n} samples of X")
    plan = _Plan(
        X=samples,
        y=labels,
        classes=classes,
        test=None if test is None else _held_out(test, classes, d, precision),
        depths=tuple(sorted(set(arguments.integers(depths, "depths", minimum=0)))),
        seeds=arguments.seeds(seeds),
        width=arguments.integer(width, "width", minimum=1),
        activation=activations.get(activation),
        batch_size=size,
        epochs=most,
        loss_target=arguments.real(loss_target, "loss_target", minimum=0.0),
        search_epochs=(
            min(most, _SEARCH_EPOCHS)
            if search_epochs is None
            else arguments.integer(search_epochs, "search_epochs", minimum=1)
        ),
        rate_samples=min(n, arguments.integer(rate_samples, "rate_samples", minimum=2)),
        rate_steps=arguments.integer(rate_steps, "rate_steps", minimum=1),
        jobs=thread_count() if jobs is None else arguments.integer(jobs, "jobs", minimum=1),
    )
    if len(set(plan.seeds)) < len(plan.seeds):
        raise ValueError(f"seeds={seeds!r}: expected each seed only once")
    started = time.perf_counter()
    with (
        nullcontext() if store is None else StudyStore(store) as opened,
        monitored(progress, "convergence") as report,
    ):
        results, searches = _Run(plan, opened, report).study()
    return ConvergenceStudy(
        results=tuple(results),
        searches=searches,
        n_samples=n,
        width=plan.width,
        batch_size=plan.batch_size,
        loss_target=plan.loss_target,
        seconds=time.perf_counter() - started,
    )


class _Cell(NamedTuple):
    """A piece of work, and all that decides its numbers."""

    name: str
    settings: Values
    compute: Callable[[Monitor], Values]


@dataclass(frozen=True, eq=False)
class _Plan:
    """The checked arguments, and the cells that they make up."""

    X: FloatArray
    y: _Labels
    classes: int
    test: tuple[FloatArray, _Labels] | None
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    width: int
    activation: Activation
    batch_size: int
    epochs: int
    loss_target: float
    search_epochs: int
    rate_samples: int
    rate_steps: int
    jobs: int

    def search(self, depth: int) -> _Cell:
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
            )
            return {
                "best": found.best,
                "bound": found.bound,
                "candidates": [asdict(candidate) for candidate in found.candidates],
            }

        return _Cell(f"depth {depth}, learning rate", settings, compute)

    def rate(self, depth: int, seed: int) -> _Cell:
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

        return _Cell(f"depth {depth}, rate", settings, compute)

    def training(self, depth: int, seed: int, learning_rate: float) -> _Cell:
        """Return the training on cross-entropy."""
        settings = self._settings(
            "training",
            depth,
            seed,
            epochs=self.epochs,
            learning_rate=learning_rate,
            test=None if self.test is None else [digest(each) for each in self.test],
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

        return _Cell(f"depth {depth}, training", settings, compute)

    def _network(self, depth: int, outputs: int, dtype: FloatDType, seed: int) -> MLP:
        widths = [self.X.shape[1], *[self.width] * depth, outputs]
        return MLP(widths, activation=self.activation, seed=seed, dtype=dtype)

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
            **others,
            "algorithm": _ALGORITHM,
            "fastntk": version("fastntk"),
        }

    @property
    def _training_settings(self) -> Values:
        return {"batch_size": self.batch_size, "dtype": self.X.dtype.name}

    @cached_property
    def _digests(self) -> tuple[str, str]:
        return digest(self.X), digest(self.y)


class _Run:
    """A study under way."""

    def __init__(self, plan: _Plan, store: StudyStore | None, report: Monitor | None) -> None:
        self._plan = plan
        self._store = store
        self._report = report
        self._done = 0
        self._stop = threading.Event()
        if store is not None:
            store.require_writable()

    def study(self) -> tuple[list[ConvergenceResult], dict[int, LearningRateSearch]]:
        """Return the results of all cells, and the searches for the learning rates."""
        plan = self._plan
        results: list[ConvergenceResult] = []
        searches: dict[int, LearningRateSearch] = {}
        for depth in plan.depths:
            (search,) = self._numbers([plan.search(depth)])
            learning_rate = search["best"]
            searches[depth] = LearningRateSearch(
                candidates=tuple(Candidate(**each) for each in search["candidates"]),
                best=learning_rate,
                bound=search["bound"],
                criterion="fastest",
                loss_target=plan.loss_target,
            )
            if not math.isfinite(learning_rate):
                raise RuntimeError(
                    f"depth {depth}: training diverged with every learning rate that was tried"
                )
            cells = [plan.training(depth, seed, learning_rate) for seed in plan.seeds]
            cells += [plan.rate(depth, seed) for seed in plan.seeds]
            numbers = self._numbers(cells)
            trainings, rates = numbers[: len(plan.seeds)], numbers[len(plan.seeds) :]
            for seed, training, rate in zip(plan.seeds, trainings, rates, strict=True):
                arrays = {
                    name: None if training[name] is None else np.array(training[name], np.float64)
                    for name in ("loss", "accuracy", "test_loss", "test_accuracy")
                }
                results.append(
                    ConvergenceResult(
                        depth=depth,
                        seed=seed,
                        rate=ConvergenceRate(**rate),
                        learning_rate=learning_rate,
                        status=training["status"],
                        seconds=training["seconds"],
                        **arrays,  # type: ignore[arg-type]
                    )
                )
        return results, searches

    def _numbers(self, cells: Sequence[_Cell]) -> list[Values]:
        """Return the numbers of each cell, from the store or computed now."""
        keys = [key_of(cell.settings) for cell in cells]
        found = {} if self._store is None else self._store.find(keys)
        missing = [(key, cell) for key, cell in zip(keys, cells, strict=True) if key not in found]
        self._count(len(cells) - len(missing), cells[0].name)

        def compute(task: tuple[str, _Cell]) -> Values:
            return task[1].compute(self._poll)

        # Closed at once when something fails here: it then stops the other jobs.
        with closing(map_in_threads(compute, missing, self._plan.jobs, self._stop)) as computed:
            for (key, cell), numbers in zip(missing, computed, strict=True):
                if self._store is not None:
                    self._store.add(cell.settings, numbers)
                found[key] = numbers
                self._count(1, cell.name)
        return [found[key] for key in keys]

    def _count(self, cells: int, name: str) -> None:
        self._done += cells
        if self._report is not None and cells:
            total = len(self._plan.depths) * (1 + 2 * len(self._plan.seeds))
            self._report(name, self._done, total)

    def _poll(self, *_: object) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt


def _labels(y: npt.ArrayLike, name: str, count: int) -> _Labels:
    array = matrices.host_array(y, name)
    expected = f"expected {count} labels from 0, one for each sample"
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}: {expected}")
    if array.shape != (count,):
        raise ValueError(f"{name} has shape {array.shape}: {expected}")
    if array.min() < 0:
        raise ValueError(f"{name} has a label {array.min()}: {expected}")
    return array.astype(np.int64)


def _held_out(
    test: tuple[npt.ArrayLike, npt.ArrayLike], classes: int, columns: int, dtype: FloatDType
) -> tuple[FloatArray, _Labels]:
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise TypeError(f"test is a {type(test).__name__}: expected a pair (X, y)")
    samples = matrices.samples(test[0], "test[0]", dtype, columns=columns)
    labels = _labels(test[1], "test[1]", len(samples))
    if labels.max() >= classes:
        raise ValueError(
            f"test[1] has a label {labels.max()}: expected those of y, 0 to {classes - 1}"
        )
    return samples, labels


def _listed(values: _Array | None) -> list[float] | None:
    return None if values is None else values.tolist()
