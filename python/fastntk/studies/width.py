# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of random networks of finite width, beside their limit at infinite width."""

from __future__ import annotations

import itertools
import math
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import infinite
from fastntk._support import arguments
from fastntk._support.dask_workers import checked_client
from fastntk._support.display import short_repr, spans
from fastntk._support.memory import require_memory
from fastntk._support.progress import monitored
from fastntk.activations.activation import activation_label
from fastntk.devices import matrices
from fastntk.mlp import MLP
from fastntk.networks.initialization import activation_and_scale
from fastntk.studies.power_law import fit_power_law
from fastntk.studies.runner import on_workers
from fastntk.training.result import Result, named_data

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.progress import Progress
    from fastntk.activations import Activation
    from fastntk.figures.panels import Sheet

    Array = NDArray[np.float64]


def _sheet(result: MonteCarlo) -> Sheet:
    from fastntk.figures.monte_carlo import monte_carlo_sheet

    return monte_carlo_sheet(result)


@dataclass(frozen=True, eq=False)
class MonteCarlo(Result, kind="Monte Carlo study", sheet=_sheet):
    """Statistics of the kernels of random networks, see `monte_carlo_ntk`.

    Attributes
    ----------
    widths : tuple of int
        Widths of the hidden layers.
    n_seeds : int
        How many networks there are of each width.
    mean, standard_error : ndarray (widths, n, n)
        Mean of the kernel, entry by entry, and the standard error of this mean.
    limit : ndarray (n, n)
        The kernel at infinite width.
    depth, activation, activation_scale, weight_std, bias_std
        The settings of the networks.
    tolerance : float
        That of the limit.
    seeds : tuple of int
        Those of the weights.
    data : str or None
        What the samples are called, if that was said.

    Notes
    -----
    `plot` draws `fluctuation` against width, with the fitted power law, in a single panel,
    "fluctuation".
    """

    widths: tuple[int, ...]
    n_seeds: int
    mean: Array
    standard_error: Array
    limit: Array
    depth: int
    activation: Activation
    activation_scale: float
    weight_std: float
    bias_std: float
    tolerance: float = math.nan
    seeds: tuple[int, ...] = ()
    data: str | None = None

    def __repr__(self) -> str:
        return short_repr(
            self,
            activation=self.activation.name,
            depth=self.depth,
            widths=spans(self.widths),
            seeds=self.n_seeds,
            samples=len(self.limit),
            rate=self.rate,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of all networks, by the last columns of the table.

        ``seeds`` is how many there are of each width, and ``seed`` which ones, as a text.
        """
        return {
            "seeds": self.n_seeds,
            "samples": len(self.limit),
            "depth": self.depth,
            "activation": activation_label(self.activation),
            "activation_scale": self.activation_scale,
            "weight_std": self.weight_std,
            "bias_std": self.bias_std,
            "parametrization": "ntk",
            "dtype": "float64",
            "seed": spans(self.seeds),
            "tolerance": self.tolerance,
        } | named_data(self.data)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each width; the last columns are settings.

        Returns
        -------
        DataFrame
            ``fluctuation`` as below, and ``mean_error``: ‖mean − K_∞‖/‖K_∞‖ in the Frobenius norm.
        """
        import pandas as pd

        away = self._of_limit(self.mean - self.limit)
        return pd.DataFrame(
            {
                "width": self.widths,
                "fluctuation": self.fluctuation,
                "mean_error": away,
                **self.settings,
            }
        )

    @property
    def fluctuation(self) -> Array:
        """Standard deviation of one network's kernel at each width, relative to the limit.

        Both are taken in the Frobenius norm: √(Σ var K_ij) / ‖K_∞‖.
        """
        return np.asarray(np.sqrt(self.n_seeds) * self._of_limit(self.standard_error))

    @property
    def rate(self) -> float:
        """The exponent r in fluctuation ∝ width^(−r), fitted; 1/2 is expected.

        NaN with fewer than two different widths, and where kernels of different seeds are equal, as
        those without a hidden layer are.
        """
        fluctuation = self.fluctuation
        if not np.all(fluctuation > 0):
            return math.nan
        return -fit_power_law(self.widths, fluctuation).slope

    def _of_limit(self, matrices: Array) -> Array:
        """Return the Frobenius norms of some matrices, relative to that of the limit."""
        # Times a power of two of which squares neither overflow nor vanish where they count.
        power = np.frexp(np.abs(self.limit).max())[1]
        norms = np.linalg.norm(np.ldexp(matrices, -power), axis=(1, 2))
        return np.asarray(norms / np.linalg.norm(np.ldexp(self.limit, -power)))


@dataclass(frozen=True)
class _RandomNetworks:
    """The samples, and what the networks of all widths and seeds have in common."""

    X: Array
    depth: int
    activation: Activation
    activation_scale: float
    weight_std: float
    bias_std: float

    def kernels(self, width: int, seed: int) -> Generator[Array]:
        """Yield the kernel of one network; a task of Dask, if there are workers."""
        net = MLP(
            [self.X.shape[1], *[width] * self.depth, 1],
            activation=self.activation,
            activation_scale=self.activation_scale,
            weight_std=self.weight_std,
            bias_std=self.bias_std,
            seed=seed,
        )
        yield np.asarray(net.ntk(self.X), dtype=np.float64)


def _kernels(
    networks: _RandomNetworks, pairs: Sequence[tuple[int, int]], client: Any
) -> Generator[Array]:
    """Yield the kernel of each width and seed, in this order."""
    if client is not None:
        yield from on_workers(client, _RandomNetworks.kernels, networks, pairs)
        return
    for width, seed in pairs:
        yield from networks.kernels(width, seed)


def monte_carlo_ntk(
    X: ArrayLike,
    widths: Sequence[int],
    seeds: int | Sequence[int] = 10,
    *,
    depth: int = 3,
    activation: str | Activation = "relu",
    activation_scale: float | None = None,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    tolerance: float = 1e-10,
    data: str | None = None,
    progress: Progress = False,
    client: Any = None,
) -> MonteCarlo:
    """Return mean and standard error of the tangent kernels of random networks.

    Parameters
    ----------
    X : array_like (n, d)
        Samples, one a row.
    widths : sequence of int
        Widths of the hidden layers, at least two different ones for a `MonteCarlo.rate`; one that
        is named twice counts once.
    seeds : int or sequence of int
        How many networks of each width, at least two; or the seeds of their weights.
    depth, activation, activation_scale, weight_std, bias_std
        Settings of the networks, see `MLP` and `infinite.ntk`.
    tolerance : float
        Of the limit, see `infinite.Network`.
    data : str, optional
        What the samples are called, for the table: the `name` of a `fastntk.datasets.Dataset`, or
        any other.
    progress : bool or callable
        Whether to show a progress bar; or a function of (stage, done, total).
    client : distributed.Client, optional
        Compute on the workers of this cluster of Dask, each network in a task. The numbers are the
        same; those of a worker that is lost are computed by another one.

    Returns
    -------
    MonteCarlo

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    ConnectionError
        If the scheduler of `client` is lost.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((4, 3))
    >>> result = fastntk.monte_carlo_ntk(X, [16, 64, 256], seeds=30, depth=1)
    >>> bool(0.4 < result.rate < 0.6)
    True
    """
    samples = matrices.samples(X, "X", np.dtype(np.float64))
    widths = arguments.widths(widths)
    each = arguments.seeds(seeds, least=2)
    if len(each) < 2:
        raise ValueError(
            f"seeds={arguments.shown(seeds)}: expected at least two, for a standard error"
        )
    depth = arguments.depth(depth)
    called = arguments.optional_label(data, "data")
    client = checked_client(client)
    phi, scale = activation_and_scale(activation, activation_scale)
    limit = infinite.ntk(
        samples,
        None,
        depth,
        phi,
        weight_std,
        bias_std,
        activation_scale=activation_scale,
        tolerance=tolerance,
    )
    n = len(samples)
    require_memory(
        8 * n * n * (3 * len(widths) + 3),  # with the standard errors, and a kernel and its change
        f"means of kernels of {n} × {n} for {len(widths)} widths",
        "take fewer samples or widths",
    )
    networks = _RandomNetworks(samples, depth, phi, scale, weight_std, bias_std)
    pairs = list(itertools.product(widths, each))
    mean, deviation = np.zeros((2, len(widths), n, n))
    with (
        monitored(progress, "random networks") as report,
        closing(_kernels(networks, pairs, client)) as kernels,
    ):
        for done, kernel in enumerate(kernels):
            k, count = divmod(done, len(each))
            # Welford's update, which does not cancel, of the root of the sum of squares: these
            # would leave the range of numbers far before the kernels do.
            change = kernel - mean[k]
            mean[k] += change / (count + 1)
            np.hypot(deviation[k], change * math.sqrt(count / (count + 1)), out=deviation[k])
            if report is not None:
                report(f"width {widths[k]}", done + 1, len(pairs))
    error = deviation / math.sqrt(len(each) * (len(each) - 1))
    return MonteCarlo(
        widths=widths,
        n_seeds=len(each),
        mean=mean,
        standard_error=error,
        limit=np.asarray(limit, dtype=np.float64),
        depth=depth,
        activation=phi,
        activation_scale=scale,
        weight_std=float(weight_std),
        bias_std=float(bias_std),
        tolerance=float(tolerance),
        seeds=each,
        data=called,
    )
