# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradient descent on the weights, and a record of how it went."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.progress import monitored
from fastntk.devices.places import place_of
from fastntk.mlp import MLP
from fastntk.networks.targets import LOSSES, targets
from fastntk.training import checkpoints, descent
from fastntk.training.probe import KernelProbe, ProbeResult

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import matplotlib.figure
    import numpy.typing as npt
    import pandas as pd

    from fastntk._support.progress import Monitor, Progress
    from fastntk.devices.place import Place
    from fastntk.networks.network import Network

    _Values = npt.NDArray[Any]  # float64

# A batch whose loss is this much larger than that of the first one: training has diverged.
_DIVERGED = 1e3


@dataclass(frozen=True, eq=False)
class History:
    """How training went; the result of `train`.

    Arrays have one entry for each epoch.

    Attributes
    ----------
    loss : ndarray (epochs,)
        The mean over the batches of the epoch, weighted by their sizes; the loss of each batch is
        that before its own step.
    accuracy : ndarray (epochs,) or None
        Share of the samples whose largest output is that of the largest target, measured with
        `loss`; None for a single output.
    validation_loss, validation_accuracy : ndarray (epochs,) or None
        Of the validation samples after the epoch.
    seconds : ndarray (epochs,)
        Time of the steps themselves.
    weight_change, weight_change_max : ndarray (epochs,)
        ‖w − w₀‖₂ and ‖w − w₀‖_∞ of the raw parameters after the epoch.
    gradient_norm : ndarray (epochs,)
        ‖∂loss/∂w‖₂ of the last batch of the epoch before its step, over all that is trained; NaN
        for an epoch that was not completed.
    probe : tuple of ProbeResult
        The kernel on the probe samples: at the start, then after every so many steps.
    net : MLP
        The trained network.
    status : {"completed", "target reached", "diverged"}
    """

    loss: _Values
    accuracy: _Values | None
    validation_loss: _Values | None
    validation_accuracy: _Values | None
    seconds: _Values
    weight_change: _Values
    weight_change_max: _Values
    gradient_norm: _Values
    probe: tuple[ProbeResult, ...]
    net: MLP
    status: str

    @property
    def epochs(self) -> int:
        """How many epochs there were, the last of which may not have been completed."""
        return len(self.loss)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each epoch, numbered from 1."""
        import pandas as pd

        columns = {name: getattr(self, name) for name in _COLUMNS}
        return pd.DataFrame(
            {
                "epoch": np.arange(1, self.epochs + 1),
                **{name: values for name, values in columns.items() if values is not None},
            }
        )

    def probe_frame(self) -> pd.DataFrame:
        """Return a table with a row for each measurement of the kernel."""
        import pandas as pd

        return pd.DataFrame([asdict(result) for result in self.probe])

    def plot(self) -> matplotlib.figure.Figure:
        """Return a figure: loss (left) and accuracy or weight change (right) against epochs."""
        from fastntk.figures import plot_history

        return plot_history(self)


_COLUMNS = (
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "seconds",
    "weight_change",
    "weight_change_max",
    "gradient_norm",
)


def train(
    net: MLP,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    loss: str = "cross_entropy",
    learning_rate: float,
    epochs: int = 1,
    batch_size: int | None = None,
    momentum: float = 0.0,
    seed: int = 0,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    trainable: Sequence[bool] | None = None,
    layer_rates: npt.ArrayLike | None = None,
    loss_target: float | None = None,
    callback: Callable[[int, MLP], object] | None = None,
    callback_every: int | None = None,
    probe: npt.ArrayLike | None = None,
    probe_every: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    inplace: bool = False,
    device: str | None = None,
    progress: Progress = False,
) -> History:
    r"""Train a network by gradient descent, on all samples at once or on mini-batches.

    Each step is :math:`w ← w − η\, ∂\text{loss}/∂w` for the raw weights and biases w: in the NTK
    parametrization the gradients carry the factors σ_w/√n and σ_b. Its loss is the mean over the
    samples of the batch of

    .. math::

        \tfrac12 \sum_c (f_c - y_c)^2 \quad\text{(“mse”)}, \qquad
        -\sum_c y_c \log \mathrm{softmax}(f)_c \quad\text{(“cross\_entropy”, natural logarithm)}.

    Parameters
    ----------
    net : MLP
        Where to start from.
    X : array_like (n, d)
        Samples, one a row.
    y : array_like
        For "cross_entropy" labels (n,) from 0 to C − 1, or probabilities (n, C) that sum to 1 for
        each sample. For "mse" numbers (n, C), or (n,) for a single output.
    loss : {"cross_entropy", "mse"}
    learning_rate : float
        η > 0.
    epochs : int
        Passes over the samples, at least 1.
    batch_size : int, optional
        Samples of a step, at most n; by default all n. If it does not divide n, the last batch of
        an epoch has what is left, and its step is that of the mean over fewer samples.
    momentum : float
        0 ≤ μ < 1: v ← μ v + ∂loss/∂w, w ← w − η v.
    seed : int
        Of the order of the samples, drawn anew for each epoch. With all samples in one batch their
        order is left as it is.
    validation : (array_like (m, d), array_like), optional
        Other samples and targets, evaluated after each epoch.
    trainable : sequence of bool, optional
        For each of the L + 1 layers, whether it is trained; by default all are. Below the lowest
        one nothing is propagated back.
    layer_rates : array_like (L + 1,) or (L + 1, 2), optional
        What η is multiplied by for each layer, or for its weights and its bias. 0 leaves alone.
    loss_target : float, optional
        Stop after an epoch whose loss is at most this.
    callback : callable, optional
        Called as ``callback(step, net)`` with the network as it is then: its weights go on
        changing, so what is to be kept must be copied.
    callback_every : int, optional
        After how many steps each; by default after each epoch.
    probe : array_like (m, d), optional
        Samples on which the kernel is followed, m² numbers in float64: see `ProbeResult`.
    probe_every : int, optional
        After how many steps each; by default after each epoch.
    checkpoint : path, optional
        An ``.npz`` file that is written after each epoch, completely or not at all. If it is there
        already, training goes on from it, to the same bits as without interruption; it must have
        been written by a call with the same arguments, but for a smaller `epochs` and for
        `callback`, `callback_every`, `inplace` and `progress`.
    inplace : bool
        Change the weights of `net` itself, and of networks that share them, instead of a copy.
        Whatever interrupts training, steps are complete.
    device : str, optional
        Where to compute: "cuda", "cuda:1", …, or by default where X, y, `validation` and `probe`
        are, all of them on the same side; see `MLP.ntk`. The weights of `net` are the host's: they
        are copied to the GPU at the start, and back at the end of each epoch and where a callback
        or probe is due.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` with numbers of steps.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, or the checkpoint is of another call.
    MemoryError
        If the activations of a batch do not fit in memory.

    Notes
    -----
    Training has diverged when the loss of a batch is not finite, or more than 1000 times that of
    the first batch: it stops, and `History.status` says so. Results do not depend on the number of
    threads. Losses are summed in float64.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = fastntk.MLP([5, 64, 64, 2], seed=1)
    >>> history = fastntk.train(net, X, y, learning_rate=2.0, epochs=50, batch_size=50)
    >>> history.status
    'completed'
    >>> bool(history.loss[-1] < 0.2 * history.loss[0])
    True
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net={net!r}: expected a fastntk.MLP")
    arguments.choice(loss, "loss", LOSSES)
    network = net.network
    if validation is not None and (
        not isinstance(validation, (tuple, list)) or len(validation) != 2
    ):
        raise TypeError(f"validation is a {type(validation).__name__}: expected a pair (X, y)")
    others = {} if validation is None else dict(zip(_VALIDATION, validation, strict=True))
    place = place_of(device, {"X": X, "y": y, **others, "probe": probe})
    samples, labels = _data(net, X, y, loss, ("X", "y"), place)
    n = len(samples)
    batch = n if batch_size is None else _batch_size(batch_size, n)
    rate = arguments.real(learning_rate, "learning_rate", minimum=0.0, exclusive=True)
    rates = rate * _multipliers(network, trainable, layer_rates)
    mu = arguments.real(momentum, "momentum", minimum=0.0)
    if mu >= 1:
        raise ValueError(f"momentum={momentum!r}: expected a number from 0 to below 1")
    plan = _Plan(
        epochs=arguments.integer(epochs, "epochs", minimum=1),
        batch=batch,
        seed=arguments.integer(seed, "seed", minimum=0),
        loss_target=(
            None if loss_target is None else arguments.real(loss_target, "loss_target", minimum=0.0)
        ),
        callback_every=_interval(callback_every, "callback_every", callback, "callback"),
        probe_every=_interval(probe_every, "probe_every", probe, "probe"),
    )
    held_out = None
    if validation is not None:
        held_out = _data(net, *validation, loss, _VALIDATION, place)
    probe_samples = (
        None if probe is None else place.on_host(net.network.samples(probe, "probe", place))
    )
    descent.require_training_memory(network, batch, place, gathered=batch < n)

    file = None
    if checkpoint is not None:
        file = checkpoints.Checkpoint(
            checkpoint,
            {
                "net": checkpoints.network_arrays(network),
                "activation": [repr(net.activation), net.activation_scale],
                "scales": [[layer.weight_scale, layer.bias_scale] for layer in network.layers],
                "X": place.on_host(samples),
                "y": place.on_host(labels),
                "loss": loss,
                "learning_rate, trainable or layer_rates": rates.tolist(),
                "batch_size": batch,
                "momentum": mu,
                "seed": plan.seed,
                "loss_target": plan.loss_target,
                "validation": None if held_out is None else [place.on_host(a) for a in held_out],
                "probe": probe_samples,
                "probe_every": plan.probe_every,
            },
        )
    # The other of the two keeps the initial weights.
    copied = descent.copy_of(network)
    changing, initial = (network, copied) if inplace else (copied, network)
    run = _Run(
        plan=plan,
        sgd=descent.Sgd(changing, rates, loss, mu, place),
        initial=initial,
        net=net if inplace else MLP.of_network(changing),
        X=samples,
        y=labels,
        validation=held_out,
        probe=None if probe_samples is None else KernelProbe(net, probe_samples, place.device),
        callback=callback,
        checkpoint=file,
    )
    with monitored(progress, "training") as monitor:
        return run.history(monitor)


# As they are called in errors.
_VALIDATION = ("validation[0]", "validation[1]")


def _data(
    net: MLP,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    loss: str,
    names: tuple[str, str],
    place: Place,
) -> tuple[Any, Any]:
    """Return samples and targets as the core takes them."""
    samples = net.network.samples(X, names[0], place)
    given = place.host_array(y, names[1])
    labels = targets(given, names[1], loss, len(samples), net.n_outputs, net.dtype)
    return samples, place.from_host(labels)


def _batch_size(value: int, n: int) -> int:
    size = arguments.integer(value, "batch_size", minimum=1)
    if size > n:
        raise ValueError(f"batch_size={value!r}: expected at most the {n} samples of X")
    return size


def _interval(value: int | None, name: str, of: object, of_name: str) -> int | None:
    if value is None:
        return None
    if of is None:
        raise ValueError(f"{name}={value!r}: expected None without {of_name}")
    return arguments.integer(value, name, minimum=1)


def _multipliers(
    network: Network, trainable: Sequence[bool] | None, layer_rates: npt.ArrayLike | None
) -> _Values:
    """Return what η is multiplied by: (layers, 2), for weights and biases."""
    count = len(network.layers)
    rates: _Values = np.ones((count, 2))
    if layer_rates is not None:
        rates = arguments.layer_weights(layer_rates, count, "layer_rates").copy()
    if trainable is not None:
        chosen = list(trainable)
        if len(chosen) != count or not all(isinstance(t, (bool, np.bool_)) for t in chosen):
            raise ValueError(
                f"trainable={trainable!r}: expected True or False for each of {count} layers"
            )
        rates[~np.array(chosen)] = 0.0
    has_bias = np.array([layer.bias is not None for layer in network.layers])
    if not rates[:, 0].any() and not rates[has_bias, 1].any():
        raise ValueError(
            f"trainable={trainable!r}, layer_rates={layer_rates!r}: expected at least one layer "
            "that is trained"
        )
    return rates


@dataclass(frozen=True)
class _Plan:
    epochs: int
    batch: int
    seed: int
    loss_target: float | None
    callback_every: int | None  # None: at the end of an epoch
    probe_every: int | None


@dataclass
class _Run:
    """A training under way."""

    plan: _Plan
    sgd: descent.Sgd
    initial: Network
    net: MLP
    X: Any
    y: Any
    validation: tuple[Any, Any] | None
    probe: KernelProbe | None
    callback: Callable[[int, MLP], object] | None
    checkpoint: checkpoints.Checkpoint | None

    def __post_init__(self) -> None:
        self.status = "completed"
        self.records: list[dict[str, float]] = []  # one for each epoch
        self.measured: list[ProbeResult] = []
        self.start = math.nan  # the loss of the very first batch
        self.steps_per_epoch = -(-len(self.X) // self.plan.batch)

    def history(self, monitor: Monitor | None) -> History:
        """Train to the end."""
        if not self._resume() and self.probe is not None:
            self.measured.append(self.probe.measure(0, self.net))
        while len(self.records) < self.plan.epochs and self.status == "completed":
            # What overflows on the way is what divergence means.
            with np.errstate(over="ignore", invalid="ignore"):
                self._epoch(monitor)
            if self.checkpoint is not None:
                self.checkpoint.write(self._state(), self.sgd)
        columns: dict[str, Any] = {
            name: np.array([record[name] for record in self.records])
            if name in self.records[0]
            else None
            for name in _COLUMNS
        }
        return History(**columns, probe=tuple(self.measured), net=self.net, status=self.status)

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
        if len(self.records) > self.plan.epochs:
            raise ValueError(
                f"epochs={self.plan.epochs}: expected at least the {len(self.records)} of the "
                "checkpoint"
            )
        return True

    def _epoch(self, monitor: Monitor | None) -> None:
        epoch, n, batch = len(self.records), len(self.X), self.plan.batch
        order = None
        if batch < n:
            stream = np.random.Philox(np.random.SeedSequence(self.plan.seed, spawn_key=(epoch,)))
            order = np.random.Generator(stream).permutation(n)
        outcomes = np.empty((n, 2))
        seconds, gradient_norm = 0.0, math.nan
        step, rows = 0, 0
        while step < self.steps_per_epoch and self.status == "completed":
            first, rows_before = step, rows
            step = self._next_stop(epoch, step)
            rows = min(n, step * batch)
            part = slice(rows_before, rows)
            started = time.perf_counter()
            norm = self.sgd.step(
                self.X,
                self.y,
                None if order is None else order[part],
                min(batch, rows - rows_before),
                outcomes[part],
                _shifted(monitor, epoch, first, self.steps_per_epoch, self.plan.epochs),
                measure_gradient=step == self.steps_per_epoch,
            )
            seconds += time.perf_counter() - started
            if step == self.steps_per_epoch:
                gradient_norm = norm
            self._look_for_divergence(outcomes[part, 0])
            if self.status == "completed":
                self._stop_over(epoch, step)
        self._record(outcomes[:rows], seconds, gradient_norm)

    def _next_stop(self, epoch: int, step: int) -> int:
        """Return the next step of this epoch after which there is something to do."""
        before = epoch * self.steps_per_epoch
        return min(
            ((before + step) // every + 1) * every - before
            for every in (self.plan.callback_every, self.plan.probe_every, self.steps_per_epoch)
            if every is not None
        )

    def _is_due(self, every: int | None, step: int) -> bool:
        return step % (every or self.steps_per_epoch) == 0

    def _stop_over(self, epoch: int, step: int) -> None:
        total = epoch * self.steps_per_epoch + step
        if self.probe is not None and self._is_due(self.plan.probe_every, total):
            self.measured.append(self.probe.measure(total, self.net))
        if self.callback is not None and self._is_due(self.plan.callback_every, total):
            self.callback(total, self.net)

    def _look_for_divergence(self, losses: _Values) -> None:
        firsts = np.arange(0, len(losses), self.plan.batch)
        sizes = np.diff([*firsts, len(losses)])
        means = np.add.reduceat(losses, firsts) / sizes
        if not self.records and math.isnan(self.start):
            self.start = float(means[0])
        limit = _DIVERGED * self.start if self.start > 0 else math.inf
        if not np.isfinite(means).all() or (means > limit).any():
            self.status = "diverged"

    def _record(self, outcomes: _Values, seconds: float, gradient_norm: float) -> None:
        loss, accuracy = (float(mean) for mean in outcomes.mean(axis=0))
        record = {"loss": loss, "seconds": seconds, "gradient_norm": gradient_norm}
        many = self.net.n_outputs > 1
        if many:
            record["accuracy"] = accuracy
        if self.validation is not None:
            loss, accuracy = (float(m) for m in self.sgd.outcomes(*self.validation).mean(axis=0))
            record["validation_loss"] = loss
            if many:
                record["validation_accuracy"] = accuracy
        record["weight_change"], record["weight_change_max"] = self.sgd.change(self.initial)
        self.records.append(record)
        if not math.isfinite(record["weight_change"]):
            self.status = "diverged"
        target = self.plan.loss_target
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
