# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Is the kernel constant? Networks of several widths and architectures, trained, and measured.

The tangent kernel of a wide network with a linear output layer hardly moves in training, because
its Hessian is small, of the order m^{-1/2}, and not because its weights would not move: ‖Δw‖₂ does
not depend on the width m. With a non-linear output layer, or behind a narrow hidden layer, the
Hessian is of order one, and the kernel moves however wide the network is.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.dask_workers import checked_client, workers_of
from fastntk._support.memory import require_of
from fastntk._support.progress import monitored
from fastntk.devices import matrices
from fastntk.networks.targets import targets
from fastntk.studies.constancy_cells import ARCHITECTURES, OUTPUT_RANGES, ConstancySettings
from fastntk.studies.constancy_results import ConstancyResult, ConstancyStudy
from fastntk.studies.runner import Runner, in_threads, jobs_beside, tasks_on_workers
from fastntk.studies.store import StudyStore

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.progress import Progress
    from fastntk.activations import Activation

# So many numbers for each parameter has a network in the study at most at a time: weights at the
# start and now, both as vectors, their difference, and what becomes of it on the way to norms and
# products. Measured at widths 2048 and 4096: 5.6.
_NUMBERS_A_PARAMETER = 8


def constancy_study(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    *,
    architectures: Sequence[str] = ARCHITECTURES,
    depth: int = 2,
    bottleneck: int = 2,
    activation: str | Activation = "tanh",
    seeds: int | Sequence[int] = 5,
    hessian_samples: int = 16,
    learning_rate: float | None = None,
    epochs: int = 4000,
    loss_target: float = 2e-3,
    store: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    progress: Progress = True,
    client: Any = None,
    data: str | None = None,
) -> ConstancyStudy:
    """Measure how the Hessian, and the path of training, depend on the width of networks.

    The subject of [1]_. Networks in float64 are trained by gradient descent on all samples, on the
    square loss, to a target of the loss; then their kernels and weights are compared with those at
    the start.

    Parameters
    ----------
    X : array_like (n, d)
        Training samples, one a row, at which all is measured; some tens of them do.
    y : array_like (n,)
        Their targets: numbers that the outputs of all architectures can take, as 1/4 to 3/4.
    widths : sequence of int
        Of the hidden layers.
    architectures : sequence of str
        "linear": L hidden layers and a linear output. "square", "tanh", "sigmoid", "softplus": the
        same with this activation of the output; "softmax": of two outputs, for y and 1 − y.
        "bottleneck": a linear output, and a narrow hidden layer between those of the first half and
        the others.
    depth : int
        L ≥ 1, the number of wide hidden layers.
    bottleneck : int
        The width of the narrow layer.
    activation : str or Activation
        φ of the hidden layers, as for `MLP`; one that the core has.
    seeds : int or sequence of int
        So many seeds 0, 1, …, or the seeds themselves.
    hessian_samples : int
        ‖∇²f(x)‖ is a mean over so many of the samples, the first ones.
    learning_rate : float, optional
        By default, for each network, half of the largest one that is stable at the start; see
        `fastntk.learning_rate_bound`.
    epochs : int
        At most so many steps. Networks that do not reach the target by then are in the table, and
        not in the slopes of what is measured after training.
    loss_target : float
        Training ends when the loss 1/(2n) ‖f − y‖² is at most this.
    store : path-like, optional
        A file (SQLite) that keeps each network that is finished: a study that was interrupted goes
        on from it, and one with more widths, seeds or architectures takes from it what is the same.
    jobs : int, optional
        How many networks are trained at a time, each with one thread; by default as many as there
        are threads. The numbers do not depend on it, the seconds do.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each network.
    client : distributed.Client, optional
        Compute on the workers of this cluster of Dask instead of `jobs` threads: each network is a
        task. The numbers are the same; those of a worker that is lost are computed by another one.
        Only this process writes to `store`.
    data : str, optional
        What the samples are called, for the table: the `name` of a `fastntk.datasets.Dataset`, or
        any other.

    Returns
    -------
    ConstancyStudy

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    MemoryError
        If the widest networks do not fit in the memory that is available, before any is trained.
    ConnectionError
        If the scheduler of `client` is lost; what `store` has already stays there.

    References
    ----------
    .. [1] C. Liu, L. Zhu, M. Belkin, "On the linearity of large non-linear models: when and why the
       tangent kernel is constant", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((8, 4))
    >>> y = 0.5 + 0.2 * np.sign(X[:, 0])
    >>> study = fastntk.constancy_study(X, y, [16, 64, 256], architectures=["linear"], seeds=2)
    >>> bool(-0.8 < study.slope("linear", "hessian_norm").slope < -0.2)
    True
    >>> bool(study.slope("linear", "relative_change").slope < -0.3)
    True
    """
    samples = matrices.samples(X, "X", np.dtype(np.float64))
    store = arguments.optional_path(store, "store")
    called = arguments.optional_label(data, "data")
    client = checked_client(client)
    n = len(samples)
    settings = ConstancySettings(
        X=samples,
        y=targets(y, "y", "mse", n, 1, samples.dtype),
        widths=tuple(sorted(arguments.widths(widths))),
        architectures=_architectures(architectures),
        depth=_depth(depth),
        bottleneck=arguments.integer(bottleneck, "bottleneck", minimum=1),
        activation=_activation(activation),
        seeds=arguments.seeds(seeds),
        hessian_samples=min(n, arguments.integer(hessian_samples, "hessian_samples", minimum=1)),
        learning_rate=(
            None
            if learning_rate is None
            else arguments.real(learning_rate, "learning_rate", minimum=0.0, exclusive=True)
        ),
        epochs=arguments.integer(epochs, "epochs", minimum=1),
        loss_target=arguments.real(loss_target, "loss_target", minimum=0.0),
    )
    at_a_time = jobs_beside(client, jobs)
    _require_memory(settings, at_a_time, client)
    _require_in_range(settings)
    started = time.perf_counter()
    # Those that take longest are not left to a single thread at the end.
    widest_first = sorted(settings.kinds, key=lambda kind: -kind[1])
    with (
        nullcontext() if store is None else StudyStore(store) as opened,
        monitored(progress, "constancy") as report,
    ):
        cells = [settings.cell(*kind) for kind in widest_first]
        compute = in_threads(at_a_time) if client is None else tasks_on_workers(client, settings)
        found = Runner(opened, len(cells), report).run(cells, compute)
    order = {kind: k for k, kind in enumerate(settings.kinds)}
    results = sorted(
        (
            ConstancyResult(architecture=architecture, width=m, seed=seed, **numbers)
            for (architecture, m, seed), numbers in zip(widest_first, found, strict=True)
        ),
        key=lambda result: order[result.architecture, result.width, result.seed],
    )
    return ConstancyStudy(
        results=tuple(results),
        n_samples=n,
        depth=settings.depth,
        bottleneck=settings.bottleneck,
        hessian_samples=settings.hessian_samples,
        epochs=settings.epochs,
        loss_target=settings.loss_target,
        activation=settings.activation,
        seconds=time.perf_counter() - started,
        data=called,
    )


def _depth(given: int) -> int:
    level = arguments.depth(given)
    if level == 0:
        raise ValueError("depth=0: expected at least one hidden layer, whose width is studied")
    return level


def _activation(given: str | Activation) -> Activation:
    phi = activations.get(given)
    if not phi.in_core:
        raise ValueError(
            f"activation={arguments.shown(given)}: expected one with a second derivative in the "
            f"core: {', '.join(map(repr, activations.FINITE_WIDTH))}"
        )
    return phi


def _architectures(given: Sequence[str]) -> tuple[str, ...]:
    names = arguments.items(given, "architectures", "names")
    chosen = [arguments.choice(name, "architectures", ARCHITECTURES) for name in names]
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"architectures={arguments.shown(given)}: expected at least one, each only once"
        )
    return tuple(chosen)


def _require_in_range(settings: ConstancySettings) -> None:
    for name in settings.architectures:
        lower, upper = OUTPUT_RANGES.get(name, (-math.inf, math.inf))
        outside = np.flatnonzero((settings.y < lower) | (settings.y > upper))
        if outside.size:
            i = int(outside[0])
            raise ValueError(
                f"y[{i}]={settings.y[i, 0]:g}: expected from {lower:g} to {upper:g}, where the "
                f"outputs of the architecture {name!r} are"
            )


def _require_memory(settings: ConstancySettings, jobs: int, client: Any) -> None:
    widest = settings.widths[-1]
    most = max(settings.parameters(each, widest) for each in settings.architectures)
    workers = workers_of(client)
    fewer = "jobs=1" if client is None else "workers of one thread"
    at_a_time = min(
        jobs if client is None else workers.threads,
        len(settings.architectures) * len(settings.seeds),
    )
    require_of(
        workers.memory,
        8 * _NUMBERS_A_PARAMETER * most * at_a_time,
        f"widths={widest}: {at_a_time} networks of {most} parameters at a time, with what their "
        "training takes,",
        "take smaller widths" + (f" or {fewer}" if at_a_time > 1 else ""),
        "" if client is None else "a worker's ",
    )
