# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far training takes a network from its linear model, against width.

J. Lee et al., "Wide neural networks of any depth evolve as linear models under gradient descent",
NeurIPS 2019: the distance is O(1/√m) in the width m.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.display import counted, spans
from fastntk._support.progress import monitored
from fastntk.activations.activation import activation_label
from fastntk.devices import matrices
from fastntk.mlp import MLP
from fastntk.networks.initialization import activation_and_scale
from fastntk.networks.settings import USUAL
from fastntk.networks.targets import targets
from fastntk.studies.power_law import PowerLaw, fit_power_law
from fastntk.training.learning_rate_bound import learning_rate_bound
from fastntk.training.result import Result, named_data
from fastntk.training.run import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    from fastntk._support.progress import Progress
    from fastntk.activations import Activation
    from fastntk.figures.panels import Sheet

# The learning rate, as a share of the largest one that is stable at the greatest width: narrower
# networks, whose kernels vary more, are to be stable, too.
_SHARE = 0.5

# Trajectories are compared at so many step counts, spread evenly on a logarithmic scale.
_STOPS = 12


@dataclass(frozen=True)
class LinearizationResult:
    """One network.

    Attributes
    ----------
    width, seed : int
    error : float
        Root mean square, over samples and outputs, of the difference between the outputs of the
        network and those of its linear model; the largest one of the step counts. Infinite if the
        network diverged.
    test_error : float
        The same at the other samples; NaN without any.
    change : float
        Root mean square of how far the outputs of the linear model moved; infinite with `error`.
    """

    width: int
    seed: int
    error: float
    test_error: float
    change: float


def _sheet(result: LinearizationStudy) -> Sheet:
    from fastntk.figures.linearization import linearization_sheet

    return linearization_sheet(result)


@dataclass(frozen=True, eq=False)
class LinearizationStudy(
    Result, kind="linearization study", sheet=_sheet, parts=(LinearizationResult,)
):
    """The result of `linearization_error`.

    Attributes
    ----------
    results : tuple of LinearizationResult
    depth : int
    learning_rate : float
    steps : tuple of int
        The step counts at which the trajectories were compared.
    activation : Activation
    activation_scale, bias_std : float
        The settings of the networks.
    n_samples : int
        The number of training samples.
    data : str or None
        What the samples are called, if that was said.

    Notes
    -----
    `plot` draws errors against width, with the fitted power laws, in a single panel, "error".
    """

    results: tuple[LinearizationResult, ...]
    depth: int
    learning_rate: float
    steps: tuple[int, ...]
    activation: Activation
    activation_scale: float
    bias_std: float
    n_samples: int
    data: str | None = None

    @property
    def fit(self) -> PowerLaw:
        """The power law of the errors at the training samples."""
        return self._fit("error")

    @property
    def test_fit(self) -> PowerLaw:
        """The power law of the errors at the other samples."""
        return self._fit("test_error")

    def _fit(self, name: str) -> PowerLaw:
        errors = [(r.width, getattr(r, name)) for r in self.results]
        known = np.array([pair for pair in errors if 0 < pair[1] < math.inf]).reshape(-1, 2)
        if len(known) < 3:  # through two points there is always a line
            return PowerLaw(math.nan, math.nan)
        return fit_power_law(*known.T)

    def __repr__(self) -> str:
        networks = counted(len(self.results), "network")
        return (
            f"<LinearizationStudy: {networks}, {self.activation.name}; depth "
            f"{self.depth}; widths {spans(result.width for result in self.results)}>"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of all networks and their trainings, by the last columns of the table."""
        return {
            "depth": self.depth,
            "steps": self.steps[-1],
            "learning_rate": self.learning_rate,
            "activation": activation_label(self.activation),
            "activation_scale": self.activation_scale,
            **USUAL,
            "bias_std": self.bias_std,
            "samples": self.n_samples,
            "dtype": "float64",
            "loss_function": "mse",
            "batch_size": self.n_samples,
            "momentum": 0.0,
        } | named_data(self.data)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each network; the last columns are its settings."""
        import pandas as pd

        frame = pd.DataFrame([asdict(result) for result in self.results])
        return frame.assign(**self.settings)


def linearization_error(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    widths: Sequence[int],
    *,
    Z: npt.ArrayLike | None = None,
    depth: int = 2,
    activation: str | Activation = "relu",
    activation_scale: float | None = None,
    bias_std: float = 0.0,
    seeds: int | Sequence[int] = 3,
    steps: int = 100,
    learning_rate: float | None = None,
    data: str | None = None,
    progress: Progress = False,
) -> LinearizationStudy:
    """Compare gradient descent of networks with that of their linear models, against width.

    Full-batch descent on the square loss, in float64, from the same weights and with the same
    learning rate at all widths; the linear models in closed form, with the kernel of all pairs of
    outputs.

    Parameters
    ----------
    X : array_like (n, d)
        Training samples, one a row.
    y : array_like (n,) or (n, C)
        Their targets.
    widths : sequence of int
        Widths of all hidden layers; one that is named twice counts once.
    Z : array_like (m, d), optional
        Other samples, at which the outputs are to be compared, too.
    depth, activation, activation_scale, bias_std
        Settings of the networks, as for `MLP`.
    seeds : int or sequence of int
        So many seeds 0, 1, …, or the seeds themselves.
    steps : int
        Steps of gradient descent; trajectories are compared at about a dozen counts up to this one.
    learning_rate : float, optional
        By default half of 2n/λ_max of the kernel of the widest network.
    data : str, optional
        What the samples are called, for the table: the `name` of a `fastntk.datasets.Dataset`, or
        any other.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each network.

    Returns
    -------
    LinearizationStudy

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> study = fastntk.linearization_error(X, X[:, 0] * X[:, 1], [32, 128, 512], steps=50)
    >>> bool(-1.2 < study.fit.slope < -0.3)
    True
    """
    samples = matrices.samples(X, "X", np.dtype(np.float64))
    n, d = samples.shape
    given = matrices.host_array(y, "y")
    outputs = 1 if given.ndim < 2 else given.shape[1]
    wanted = targets(given, "y", "mse", n, outputs, samples.dtype)
    points = None
    if Z is not None:
        points = matrices.samples(Z, "Z", samples.dtype, columns=d, why="as many as X has")
    sizes = arguments.widths(widths)
    level = arguments.depth(depth)
    most = arguments.integer(steps, "steps", minimum=1)
    chosen = arguments.seeds(seeds)
    called = arguments.optional_label(data, "data")
    phi, scale = activation_and_scale(activation, activation_scale)

    def network(width: int, seed: int) -> MLP:
        layers = [d, *[width] * level, outputs]
        scales = USUAL | {"bias_std": bias_std, "activation_scale": scale}
        return MLP(layers, activation=phi, seed=seed, **scales)

    if learning_rate is None:
        bound = learning_rate_bound(network(max(sizes), chosen[0]), samples, loss="mse", subset=n)
        rate = _SHARE * bound
    else:
        rate = arguments.real(learning_rate, "learning_rate", minimum=0.0, exclusive=True)
    stops = tuple(int(k) for k in np.unique(np.geomspace(1, most, _STOPS).round()))
    results: list[LinearizationResult] = []
    with monitored(progress, "linearization") as report:
        for width in sizes:
            for seed in chosen:
                found = _compare(network(width, seed), samples, wanted, points, rate, stops)
                results.append(LinearizationResult(width, seed, *found))
                if report is not None:
                    report(f"width {width}", len(results), len(sizes) * len(chosen))
    return LinearizationStudy(
        results=tuple(results),
        depth=level,
        learning_rate=rate,
        steps=stops,
        activation=phi,
        activation_scale=scale,
        bias_std=float(bias_std),
        n_samples=n,
        data=called,
    )


def _compare(
    net: MLP,
    X: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    Z: npt.NDArray[np.float64] | None,
    rate: float,
    stops: tuple[int, ...],
) -> tuple[float, float, float]:
    """Return the largest error, that at other samples, and the change of the outputs."""
    training = net.linearize().fit(X, y)
    linear = training.outputs(steps=stops, learning_rate=rate)
    diverged = math.inf, math.nan if Z is None else math.inf, math.inf
    if not np.isfinite(linear).all():
        return diverged
    change = _rms(linear[-1] - net(X))
    linear_at_others = None if Z is None else training.outputs(Z, steps=stops, learning_rate=rate)
    error, test_error, done = 0.0, math.nan if Z is None else 0.0, 0
    for i, stop in enumerate(stops):
        history = train(net, X, y, loss="mse", learning_rate=rate, epochs=stop - done)
        if history.status == "diverged":
            return diverged
        net, done = history.net, stop
        error = max(error, _rms(net(X) - linear[i]))
        if Z is not None and linear_at_others is not None:
            test_error = max(test_error, _rms(net(Z) - linear_at_others[i]))
    return error, test_error, change


def _rms(values: npt.NDArray[np.float64]) -> float:
    with np.errstate(over="ignore"):
        result = float(np.sqrt(np.square(values).mean()))
    if math.isinf(result) and np.isfinite(values).all():
        largest = np.abs(values).max()
        return float(largest * np.sqrt(np.square(values / largest).mean()))
    return result
