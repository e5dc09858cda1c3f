# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The epochs of a training, and what is done between its steps."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

import fastntk._core as _core
from fastntk.kernels.ranges import require_normalized
from fastntk.networks.placed import PlacedNetwork
from fastntk.training.data import VALIDATION
from fastntk.training.history import COLUMNS, History
from fastntk.training.networks import Net
from fastntk.training.probe import KernelProbe, ProbeResult

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from fastntk._support.progress import Monitor
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.training.checkpoints import Checkpoint
    from fastntk.training.data import TrainingData
    from fastntk.training.descent import Sgd
    from fastntk.training.kept_networks import KeptNetworks
    from fastntk.training.settings import TrainingSettings

    _Values = npt.NDArray[Any]  # float64

# A batch whose loss is this much larger than that of any at the start: training has diverged.
_DIVERGED = 1e3


@dataclass
class TrainingLoop(Generic[Net]):
    """A training under way.

    Attributes
    ----------
    settings : TrainingSettings
    data : TrainingData
    sgd : Sgd
        The weights that change, and the steps that change them.
    initial : AnyNetwork
        The weights at the start.
    net : MLP or FiniteNetwork
        The network in training, for callbacks, probes and the history.
    probe : KernelProbe or None
    callback : callable or None
    checkpoint : Checkpoint or None
        Where the state is written after each epoch.
    kept : KeptNetworks or None
    """

    settings: TrainingSettings
    data: TrainingData
    sgd: Sgd
    initial: AnyNetwork
    net: Net
    probe: KernelProbe | None
    callback: Callable[[int, Net], object] | None
    checkpoint: Checkpoint | None
    kept: KeptNetworks[Net] | None

    def __post_init__(self) -> None:
        self.status = "completed"
        self.records: list[dict[str, float]] = []  # one for each epoch
        self.measured: list[ProbeResult] = []
        self.start = math.nan  # the loss of the very first batch
        self.worst: float | None = None  # that of any batch at the start, once it was needed
        self.steps_per_epoch = -(-len(self.data.X) // self.settings.batch)

    def run(self, monitor: Monitor | None) -> History[Net]:
        """Train to the end, from the checkpoint if there is one, and return the history."""
        if not self._resume() and self.probe is not None:
            self.measured.append(self.probe.measure(0, self.net))
        if self.kept is not None:
            self.kept.keep(0)
        while len(self.records) < self.settings.epochs and self.status == "completed":
            # What overflows on the way is what divergence means.
            with np.errstate(over="ignore", invalid="ignore"):
                self._epoch(monitor)
            if self.checkpoint is not None:
                self.checkpoint.write(self._state(), self.sgd)
        if self.kept is not None and self.status != "diverged":
            self.kept.keep(len(self.records) * self.steps_per_epoch)
        columns: dict[str, Any] = {
            name: np.array([record[name] for record in self.records])
            if name in self.records[0]
            else None
            for name in COLUMNS
        }
        return History(
            **columns,
            probe=tuple(self.measured),
            net=self.net,
            status=self.status,
            networks={} if self.kept is None else self.kept.by_step,
            options=self.settings.options(len(self.data.X)),
        )

    def _state(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "records": self.records,
            "start": self.start,
            "probe": [asdict(result) for result in self.measured],
        }

    def _resume(self) -> bool:
        state = None if self.checkpoint is None else self.checkpoint.read(self.sgd)
        if state is None:
            return False
        self.status = state["status"]
        self.records = state["records"]
        self.start = state["start"]
        self.measured = [ProbeResult(**result) for result in state["probe"]]
        if len(self.records) > self.settings.epochs:
            raise ValueError(
                f"epochs={self.settings.epochs}: expected at least the {len(self.records)} of the "
                "checkpoint"
            )
        return True

    def _epoch(self, monitor: Monitor | None) -> None:
        epoch, n, batch = len(self.records), len(self.data.X), self.settings.batch
        order = None
        if batch < n:
            seed = np.random.SeedSequence(self.settings.seed, spawn_key=(epoch,))
            order = np.random.Generator(np.random.Philox(seed)).permutation(n)
        outcomes = np.empty((n, 2))
        seconds, gradient_norm = 0.0, math.nan
        step, rows = 0, 0
        while step < self.steps_per_epoch and self.status == "completed":
            first, rows_before = step, rows
            step = self._next_stop(epoch, step)
            rows = min(n, step * batch)
            part = slice(rows_before, rows)
            started = time.perf_counter()
            norm, first_loss, largest_loss = self.sgd.step(
                self.data.X,
                self.data.y,
                None if order is None else order[part],
                batch,
                outcomes[part],
                _shifted(monitor, epoch, first, self.steps_per_epoch, self.settings.epochs),
                measure_gradient=step == self.steps_per_epoch,
            )
            seconds += time.perf_counter() - started
            if step == self.steps_per_epoch:
                gradient_norm = norm
            self._look_for_divergence(first_loss, largest_loss)
            if self.status == "completed":
                self._stop_over(epoch, step)
        self._record(outcomes[:rows], seconds, gradient_norm)

    def _next_stop(self, epoch: int, step: int) -> int:
        """Return the next step of this epoch after which there is something to do."""
        before = epoch * self.steps_per_epoch
        settings, kept = self.settings, None if self.kept is None else self.kept.every
        return min(
            ((before + step) // every + 1) * every - before
            for every in (settings.callback_every, settings.probe_every, kept, self.steps_per_epoch)
            if every is not None
        )

    def _is_due(self, every: int | None, step: int) -> bool:
        return step % (every or self.steps_per_epoch) == 0

    def _stop_over(self, epoch: int, step: int) -> None:
        total = epoch * self.steps_per_epoch + step
        if self.probe is not None and self._is_due(self.settings.probe_every, total):
            try:
                self.measured.append(self.probe.measure(total, self.net))
            except OverflowError:  # so would the next batch
                self.status = "diverged"
                return
        if self.kept is not None and total % self.kept.every == 0:
            self.kept.keep(total)
        if self.callback is not None and self._is_due(self.settings.callback_every, total):
            self.callback(total, self.net)

    def _look_for_divergence(self, first: float, largest: float) -> None:
        """Look at the mean losses of the first batch of some, and of that with the largest."""
        if not self.records and math.isnan(self.start):
            self.start = first
        # The first batch is one of those at the start: all samples are needed only where the loss
        # is large beside that of the first one as well.
        if not math.isfinite(largest) or (
            largest > _DIVERGED * self.start and largest > _DIVERGED * self._largest_at_start()
        ):
            self.status = "diverged"
        if math.isnan(largest):
            self._require_normalized(self.data.X, "X")

    def _largest_at_start(self) -> float:
        """Return the mean loss at the initial weights of the worst batch that might be drawn.

        Inf if it is 0: of what only rounding makes of it there is no multiple.
        """
        if self.worst is None:
            n, batch = len(self.data.X), self.settings.batch
            fewest = n % batch or batch
            losses = self.sgd.outcomes(self.data.X, self.data.y, of=self.initial)[:, 0]
            self.worst = float(np.sort(losses)[-fewest:].mean()) or math.inf
        return self.worst

    def _require_normalized(self, X: Any, name: str) -> None:
        """Refuse samples that a layer could not normalize at the start: their loss is no number."""
        require_normalized(PlacedNetwork(self.initial, self.data.place), X, name)

    def _record(self, outcomes: _Values, seconds: float, gradient_norm: float) -> None:
        loss, accuracy = _core.mean_outcomes(outcomes)
        record = {"loss": loss, "seconds": seconds, "gradient_norm": gradient_norm}
        many = self.net.n_outputs > 1
        if many:
            record["accuracy"] = accuracy
        if self.data.validation is not None:
            others = self.sgd.outcomes(*self.data.validation)
            loss, accuracy = _core.mean_outcomes(others)
            if math.isnan(loss):
                self._require_normalized(self.data.validation[0], VALIDATION[0])
            record["validation_loss"] = loss
            if many:
                record["validation_accuracy"] = accuracy
        record["weight_change"], record["weight_change_max"] = self.sgd.change(self.initial)
        self.records.append(record)
        if not math.isfinite(record["weight_change"]):
            self.status = "diverged"
        target = self.settings.loss_target
        if self.status == "completed" and target is not None and record["loss"] <= target:
            self.status = "target reached"


def _shifted(
    monitor: Monitor | None, epoch: int, step: int, steps_per_epoch: int, epochs: int
) -> Monitor | None:
    """Return a monitor of the steps of all epochs for a call that takes some of them."""
    if monitor is None:
        return None
    before, total = epoch * steps_per_epoch + step, epochs * steps_per_epoch

    def shifted(_stage: str, done: int, _total: int) -> None:
        monitor(f"epoch {epoch + 1} of {epochs}", before + done, total)

    return shifted
