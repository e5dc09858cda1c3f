# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Does better conditioning mean faster convergence? Training against depth.

Figure 4 and Table 1 of Liu, Bi, Hui, Liu, arXiv 2305.08813, beside the rates that κ predicts. For
each depth a learning rate is searched; then, for each seed, a network is trained by mini-batches on
softmax cross-entropy, and another, with one output and on a few samples, by gradient descent on the
square loss (`rates`).
"""

from __future__ import annotations

import itertools
import math
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.dask_workers import checked_client
from fastntk._support.progress import monitored
from fastntk.devices import matrices
from fastntk.devices.places import place_of
from fastntk.networks.initialization import activation_and_scale, checked_scale
from fastntk.studies.convergence_cells import ConvergenceSettings
from fastntk.studies.convergence_results import ConvergenceResult, ConvergenceStudy
from fastntk.studies.rates import ConvergenceRate
from fastntk.studies.runner import Runner, in_threads, jobs_beside, tasks_on_workers
from fastntk.studies.store import StudyStore
from fastntk.training.learning_rate_search import Candidate, LearningRateSearch

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk._support.progress import Progress
    from fastntk.activations import Activation
    from fastntk.studies.convergence_cells import Labels
    from fastntk.studies.runner import WayToCompute

# A network has an output for each label from 0 on.
_MOST_CLASSES = 2**20

# By default learning rates are searched by trainings of at most so many epochs.
_SEARCH_EPOCHS = 10

# How often a learning rate is halved while trainings diverge. The largest that is tried is 128
# times the bound of the first step, and rates are found to a factor of two.
_MOST_HALVINGS = 6


def convergence_study(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    depths: Sequence[int],
    *,
    width: int = 512,
    seeds: int | Sequence[int] = 3,
    test: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    activation: str | Activation = "relu",
    activation_scale: float | None = None,
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
    client: Any = None,
    data: str | None = None,
    device: str | None = None,
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
        The width of every hidden layer.
    seeds : int or sequence of int
        So many seeds 0, 1, …, or the seeds themselves, of the weights and of the batches.
    test : (array_like (m, d), array_like (m,)), optional
        Other samples and their labels, for the test accuracy.
    activation : str or Activation
    activation_scale : float, optional
        c_φ, as for `fastntk.MLP`; by default that of the activation.
    batch_size : int
        Samples in a step of the training on cross-entropy; at most n.
    epochs : int
        Epochs of this training. It does not stop at the target: curves and accuracies are of all
        epochs.
    loss_target : float
        The cross-entropy that counts as reached, in the mean over an epoch.
    search_epochs : int, optional
        At most so many epochs for each learning rate that is tried with `find_learning_rate`, by
        the network of the first seed; the fastest one is that of all seeds. By default 10, or
        `epochs` if these are fewer. What is fastest for so few epochs may be too large for more:
        where the training of any seed diverges, all seeds of that depth are trained with half of
        it, and so on, up to six times. `learning_rate` of the results is what was used in the end.
    rate_samples : int
        κ and the rates on the square loss are those of so many of the samples, drawn at random, the
        same ones throughout: gradient descent needs about κ steps, and κ grows with the samples.
        The targets are the labels as numbers, centred and scaled to variance 1; the networks have
        one output and are in float64.
    rate_steps : int
        At most so many steps on the square loss; where they do not reach the tail, the measured
        rate is marked as not resolved.
    dtype : {"float32", "float64"}
        The precision of the networks that are trained on cross-entropy.
    store : path-like, optional
        A file (SQLite) that keeps what is finished: learning rates, trainings and rates. A study
        that was interrupted goes on from it, and one with more depths, seeds or other settings
        takes from it what is the same.
    jobs : int, optional
        How many networks are trained at a time, each with one thread; by default as many as there
        are threads. The numbers do not depend on it, the seconds do.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each training.
    client : distributed.Client, optional
        Compute on the workers of this cluster of Dask instead of `jobs` threads: each search for a
        learning rate, training and rate is a task. The numbers are the same; those of a worker that
        is lost are computed by another one. Only this process writes to `store`.
    data : str, optional
        What the samples are called, for the tables: the `name` of a `fastntk.datasets.Dataset`, or
        any other.
    device : str, optional
        Where networks are trained on cross-entropy, as in `train`: "cuda" for the first GPU. What
        `store` keeps does not tell devices apart, whose results differ as those of two BLAS do.

    Returns
    -------
    ConvergenceStudy

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    RuntimeError
        If every learning rate that was tried diverged, or if `device` cannot be used.
    ConnectionError
        If the scheduler of `client` is lost; what `store` has already stays there.

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
    store = arguments.optional_path(store, "store")
    called = arguments.optional_label(data, "data")
    client = checked_client(client)
    if client is None:  # workers have devices of their own
        place_of(device, {})
    n, d = samples.shape
    labels = _labels(y, "y", n)
    classes = max(2, int(labels.max()) + 1)
    if classes > _MOST_CLASSES:
        raise ValueError(f"y has a label {classes - 1}: expected labels below {_MOST_CLASSES}")
    most = arguments.integer(epochs, "epochs", minimum=1)
    size = arguments.integer(batch_size, "batch_size", minimum=1)
    if size > n:
        raise ValueError(
            f"batch_size={arguments.shown(batch_size)}: expected at most the {n} samples of X"
        )
    settings = ConvergenceSettings(
        X=samples,
        y=labels,
        classes=classes,
        test=None if test is None else _held_out(test, classes, d, precision),
        depths=tuple(sorted(set(arguments.depths(depths)))),
        seeds=arguments.seeds(seeds),
        width=arguments.integer(width, "width", minimum=1),
        activation=activations.get(activation),
        activation_scale=checked_scale(activation_scale),
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
        jobs=jobs_beside(client, jobs),
        device=device,
    )
    started = time.perf_counter()
    with (
        nullcontext() if store is None else StudyStore(store) as opened,
        monitored(progress, "convergence") as report,
    ):
        runner = Runner(opened, settings.n_cells, report)
        if client is None:
            in_turn = in_threads(settings.jobs)
            studied = [_study(settings, [depth], runner, in_turn) for depth in settings.depths]
        else:
            at_once = tasks_on_workers(client, settings)
            studied = [_study(settings, settings.depths, runner, at_once)]
    return ConvergenceStudy(
        results=tuple(result for _, results in studied for result in results),
        searches={
            depth: replace(search, options=settings.search_options(depth, called))
            for searches, _ in studied
            for depth, search in searches.items()
        },
        n_samples=n,
        width=settings.width,
        batch_size=settings.batch_size,
        loss_target=settings.loss_target,
        activation=settings.activation,
        activation_scale=activation_and_scale(activation, activation_scale)[1],
        dtype=precision.name,
        search_epochs=settings.search_epochs,
        rate_steps=settings.rate_steps,
        seconds=time.perf_counter() - started,
        data=called,
    )


def _study(
    settings: ConvergenceSettings, depths: Sequence[int], runner: Runner, compute: WayToCompute
) -> tuple[dict[int, LearningRateSearch], list[ConvergenceResult]]:
    """Return the searches for the learning rates of depths, and the results of their networks."""
    searches = {}
    found = runner.run([settings.search(depth) for depth in depths], compute)
    for depth, numbers in zip(depths, found, strict=True):
        if not math.isfinite(numbers["best"]):
            raise RuntimeError(
                f"depth {depth}: training diverged with every learning rate that was tried"
            )
        searches[depth] = LearningRateSearch(
            candidates=tuple(Candidate(**each) for each in numbers["candidates"]),
            best=numbers["best"],
            bound=numbers["bound"],
            criterion="fastest",
            loss_target=settings.loss_target,
        )
    networks = list(itertools.product(depths, settings.seeds))
    steps = {depth: searches[depth].best for depth in depths}
    cells = [settings.training(depth, seed, steps[depth]) for depth, seed in networks]
    cells += [settings.rate(depth, seed) for depth, seed in networks]
    of_networks = runner.run(cells, compute)
    rates = of_networks[len(networks) :]
    trainings = dict(zip(networks, of_networks[: len(networks)], strict=True))
    for _ in range(_MOST_HALVINGS):
        diverged = {depth for (depth, _), each in trainings.items() if each["status"] == "diverged"}
        again = [network for network in networks if network[0] in diverged]
        if not again:
            break
        for depth in diverged:
            steps[depth] /= 2
        runner.expect(len(again))
        cells = [settings.training(depth, seed, steps[depth]) for depth, seed in again]
        trainings.update(zip(again, runner.run(cells, compute), strict=True))
    results = []
    for (depth, seed), rate in zip(networks, rates, strict=True):
        training = trainings[depth, seed]
        arrays = {
            name: None if training[name] is None else np.array(training[name], np.float64)
            for name in ("loss", "accuracy", "test_loss", "test_accuracy")
        }
        results.append(
            ConvergenceResult(
                depth=depth,
                seed=seed,
                rate=ConvergenceRate(**rate),
                learning_rate=steps[depth],
                status=training["status"],
                seconds=training["seconds"],
                **arrays,  # type: ignore[arg-type]
            )
        )
    return searches, results


def _labels(y: npt.ArrayLike, name: str, count: int) -> Labels:
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
) -> tuple[FloatArray, Labels]:
    if not isinstance(test, (tuple, list)) or len(test) != 2:
        raise TypeError(f"test is a {type(test).__name__}: expected a pair (X, y)")
    samples = matrices.samples(test[0], "test[0]", dtype, columns=columns)
    labels = _labels(test[1], "test[1]", len(samples))
    if labels.max() >= classes:
        raise ValueError(
            f"test[1] has a label {labels.max()}: expected those of y, 0 to {classes - 1}"
        )
    return samples, labels
