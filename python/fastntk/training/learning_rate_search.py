# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A search for a learning rate on a geometric grid, which starts from the bound."""

from __future__ import annotations

import math
import threading
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.progress import monitored
from fastntk._support.threads import map_in_threads, thread_count
from fastntk.networks.base import require_finite_network
from fastntk.training.learning_rate_bound import learning_rate_bound
from fastntk.training.result import Result
from fastntk.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    import pandas as pd

    from fastntk._support.progress import Progress
    from fastntk.architectures.finite import FiniteNetwork
    from fastntk.figures.panels import Sheet
    from fastntk.mlp import MLP
    from fastntk.training.history import History

# The grid consists of the bound times powers of this factor: those to begin with, the largest power
# to either side, and how many rates are added at a time. All of it is fixed, so that nothing
# depends on how many trainings run at a time.
_FACTOR = 2.0
_FIRST = (0, 1, 2, 3)
_LIMIT = 12
_AT_A_TIME = 2

# A training whose loss was above its start by more than this, in the mean over some epoch, is not
# stable: rounding and the choice of batches do less.
_RISE = 1.01

# So small a share of the bound leaves the weights where they are.
_STANDSTILL = 1e-12


@dataclass(frozen=True)
class Candidate:
    """What training with one learning rate led to.

    Attributes
    ----------
    learning_rate : float
        η.
    status : str
        "completed" or "target reached"; "unstable" if the loss of some epoch was above that of the
        initial weights; "diverged" if the training was given up.
    epochs : int
        The number of epochs that were run; few if it diverged.
    epochs_to_target : float
        The first epoch whose loss was at the target, from 1; NaN if none was.
    final_loss : float
        The loss of the last epoch.
    seconds : float
        The time of the training, while others ran beside it.
    """

    learning_rate: float
    status: str
    epochs: int
    epochs_to_target: float
    final_loss: float
    seconds: float

    @property
    def stable(self) -> bool:
        """Whether the loss never rose above its start."""
        return self.status not in {"unstable", "diverged"}

    @property
    def order(self) -> tuple[float, float, float]:
        """A key for sorting, smallest for the fastest candidate."""
        to_target = math.inf if math.isnan(self.epochs_to_target) else self.epochs_to_target
        loss = math.inf if self.status == "diverged" else self.final_loss
        return to_target, loss, self.learning_rate


def _sheet(result: LearningRateSearch) -> Sheet:
    from fastntk.figures.learning_rates import learning_rates_sheet

    return learning_rates_sheet(result)


@dataclass(frozen=True, eq=False)
class LearningRateSearch(
    Result, kind="learning rate search", sheet=_sheet, parts=(Candidate,), costs=("seconds",)
):
    """The result of `find_learning_rate`.

    Attributes
    ----------
    candidates : tuple of Candidate
        In the order of their learning rates.
    best : float
        The learning rate that was chosen; NaN if none can be: all diverged, or none is stable.
    bound : float
        Below it the loss of the linear model falls at every step, see `learning_rate_bound`.
    criterion : str
        By what `best` was chosen: "fastest" or "largest_stable".
    loss_target : float or None
        The loss at which trainings stopped, if one was asked for.
    options : dict
        What networks were trained with, by the columns of tables; see `settings`.

    Notes
    -----
    `plot` draws final loss, and epochs to the target, against the learning rate. Its panels are
    "final_loss" and "epochs_to_target".
    """

    candidates: tuple[Candidate, ...]
    best: float
    bound: float
    criterion: str
    loss_target: float | None
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        rates = [candidate.learning_rate for candidate in self.candidates]
        return (
            f"<LearningRateSearch: best {self.best:.4g} of {len(rates)} from {min(rates):.4g} to "
            f"{max(rates):.4g}; bound {self.bound:.4g}>"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the network, the trainings and the search, by the last columns of the table.

        ``seed`` is that of the order of the samples, ``search_epochs`` the most epochs of a
        training, and ``bound`` that of the learning rate. Others are as in `History.settings`.
        """
        found = self.options | {"criterion": self.criterion, "bound": self.bound}
        return found if self.loss_target is None else found | {"loss_target": self.loss_target}

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each learning rate, and the `settings`."""
        import pandas as pd

        frame = pd.DataFrame([asdict(candidate) for candidate in self.candidates])
        frame.insert(1, "best", frame["learning_rate"] == self.best)
        return frame.assign(**self.settings)


def find_learning_rate(
    net: MLP | FiniteNetwork,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    loss: str = "cross_entropy",
    batch_size: int | None = None,
    epochs: int = 10,
    criterion: str = "fastest",
    loss_target: float | None = None,
    grid: Sequence[float] | None = None,
    momentum: float = 0.0,
    layer_rates: npt.ArrayLike | None = None,
    seed: int = 0,
    jobs: int | None = None,
    data: str | None = None,
    device: str | None = None,
    progress: Progress = False,
) -> LearningRateSearch:
    """Search for a learning rate on a geometric grid, with a training for each rate.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        Its weights are where every training starts; they are left as they are.
    X, y, loss, batch_size, momentum, layer_rates, seed, data, device
        As in `train`. The bound that the default grid starts from is computed on the processor.
    epochs : int
        The largest number of epochs of each training.
    criterion : {"fastest", "largest_stable"}
        "fastest": the loss target in the fewest epochs, with the lower loss where they are equally
        many; without a target, or if none reaches it, the lowest loss after the last epoch.
        "largest_stable": the largest rate such that the loss, in the mean over each epoch, stayed
        below its start with it and with all smaller ones of the grid.
    loss_target : float, optional
        A training stops when the mean loss of an epoch is at most this.
    grid : sequence of float, optional
        Learning rates, all of which are tried. By default 1, 2, 4 and 8 times the bound of
        `learning_rate_bound`, then further powers of 2, two at a time, as long as the best rate is
        the largest or the smallest of those that were tried.
    jobs : int, optional
        How many trainings run at a time, each with one thread; by default as many as there are
        threads. The result does not depend on it.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each round of trainings.

    Returns
    -------
    LearningRateSearch

    Notes
    -----
    Trainings that diverge stop early, see `train`. Later rounds of the default grid need no more
    epochs than the best so far took to the target, and get no more.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((40, 5))
    >>> y = (X[:, 0] > 0).astype(int)
    >>> net = fastntk.MLP([5, 64, 2])
    >>> search = fastntk.find_learning_rate(net, X, y, epochs=50, loss_target=0.1)
    >>> search.best in search.to_frame().learning_rate.values
    True
    """
    require_finite_network(net)
    criterion = arguments.choice(criterion, "criterion", ("fastest", "largest_stable"))
    workers = thread_count() if jobs is None else arguments.integer(jobs, "jobs", minimum=1)
    length = arguments.integer(epochs, "epochs", minimum=1)
    target = None if loss_target is None else arguments.real(loss_target, "loss_target", minimum=0)
    rates = None if grid is None else _grid(grid)
    called = arguments.optional_label(data, "data")
    bound = learning_rate_bound(net, X, loss=loss, layer_rates=layer_rates, seed=seed)
    stop = threading.Event()

    def poll(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    def attempt(task: tuple[float, int]) -> History[Any]:
        rate, most = task
        return train(
            net,
            X,
            y,
            loss=loss,
            learning_rate=rate,
            epochs=most,
            batch_size=batch_size,
            momentum=momentum,
            layer_rates=layer_rates,
            seed=seed,
            loss_target=target,
            data=called,
            device=device,
            progress=poll,
        )

    # The loss at the initial weights, in the same batches.
    first = attempt((_STANDSTILL * bound, 1))
    start = float(first.loss[0])

    tried: dict[float, Candidate] = {}
    with monitored(progress, "learning rate") as report:

        def run(new: Sequence[float], most: int) -> None:
            tasks = [(rate, most) for rate in new]
            with closing(map_in_threads(attempt, tasks, workers, stop)) as histories:
                for rate, history in zip(new, histories, strict=True):
                    tried[rate] = _candidate(rate, history, start, target)
            if report is not None:
                report(f"{len(tried)} rates", len(tried), len(tried) + _AT_A_TIME)

        if rates is not None:
            run(rates, length)
        else:
            _follow(run, tried, bound, criterion, length)
    ordered = tuple(tried[rate] for rate in sorted(tried))
    of_all = first.settings | {"search_epochs": length}
    del of_all["learning_rate"]
    return LearningRateSearch(ordered, _best(ordered, criterion), bound, criterion, target, of_all)


def _candidate(rate: float, history: History[Any], start: float, target: float | None) -> Candidate:
    losses = np.asarray(history.loss, dtype=np.float64)
    status = history.status
    if status != "diverged" and losses.max() > _RISE * start:
        status = "unstable"
    reached = np.flatnonzero(losses <= (-math.inf if target is None else target))
    return Candidate(
        learning_rate=rate,
        status=status,
        epochs=len(losses),
        epochs_to_target=float(reached[0] + 1) if len(reached) else math.nan,
        final_loss=float(losses[-1]),
        seconds=float(np.sum(history.seconds)),
    )


def _best(candidates: Sequence[Candidate], criterion: str) -> float:
    """Return the best rate of candidates in the order of their rates; NaN if there is none."""
    if criterion == "fastest":
        fastest = min(candidates, key=lambda candidate: candidate.order)
        return math.nan if fastest.status == "diverged" else fastest.learning_rate
    best = math.nan
    for candidate in candidates:
        if not candidate.stable:
            break
        best = candidate.learning_rate
    return best


def _follow(
    run: Callable[[Sequence[float], int], None],
    tried: dict[float, Candidate],
    bound: float,
    criterion: str,
    epochs: int,
) -> None:
    """Try powers of two times the bound until the best is none of the outermost."""
    low, high = _FIRST[0], _FIRST[-1]
    run([bound * _FACTOR**power for power in _FIRST], epochs)
    while True:
        ordered = [tried[rate] for rate in sorted(tried)]
        best = _best(ordered, criterion)
        most = epochs
        if criterion == "fastest" and not math.isnan(best):
            to_target = tried[best].epochs_to_target
            most = epochs if math.isnan(to_target) else int(to_target)
        if best == ordered[-1].learning_rate and high < _LIMIT:
            new = range(high + 1, min(high + _AT_A_TIME, _LIMIT) + 1)
            high = new[-1]
        elif (math.isnan(best) or best == ordered[0].learning_rate) and low > -_LIMIT:
            # The smallest stable rate has nothing below that would be larger.
            if criterion == "largest_stable" and not math.isnan(best):
                return
            new = range(max(low - _AT_A_TIME, -_LIMIT), low)
            low = new[0]
        else:
            return
        run([bound * _FACTOR**power for power in new], most)


def _grid(values: Sequence[float]) -> list[float]:
    items = arguments.items(values, "grid", "learning rates", in_order=False)
    if not items:
        raise ValueError(f"grid={arguments.shown(values)}: expected at least one learning rate")
    checked = [
        arguments.real(value, f"grid[{i}]", minimum=0.0, exclusive=True)
        for i, value in enumerate(items)
    ]
    return sorted(set(checked))
