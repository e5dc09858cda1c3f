# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of random networks of finite width, beside their limit at infinite width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import infinite
from fastntk._support import arguments
from fastntk._support.display import short_repr, spans
from fastntk._support.progress import monitored
from fastntk.devices import matrices
from fastntk.mlp import MLP
from fastntk.networks.initialization import activation_and_scale
from fastntk.studies.identities import activation_label
from fastntk.studies.power_law import fit_power_law
from fastntk.training.result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.progress import Progress
    from fastntk.activations import Activation

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class MonteCarlo(Result, kind="Monte Carlo study"):
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

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each width; the last columns are settings.

        Returns
        -------
        DataFrame
            ``fluctuation`` as below, and ``mean_error``: ‖mean − K_∞‖/‖K_∞‖ in the Frobenius norm.
        """
        import pandas as pd

        away = np.linalg.norm(self.mean - self.limit, axis=(1, 2))
        return pd.DataFrame(
            {
                "width": self.widths,
                "fluctuation": self.fluctuation,
                "mean_error": away / np.linalg.norm(self.limit),
                "seeds": self.n_seeds,
                "samples": len(self.limit),
                "depth": self.depth,
                "activation": activation_label(self.activation),
                "activation_scale": self.activation_scale,
                "weight_std": self.weight_std,
                "bias_std": self.bias_std,
            }
        )

    def plot(self, ax: Axes | Sequence[Axes] | None = None, *, panel: str | None = None) -> Any:
        """Draw `fluctuation` against width, with the fitted power law.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw: axes of Matplotlib. By default a new figure, which notebooks show and
            ``matplotlib.pyplot.show()`` opens.
        panel : {"fluctuation"}, optional
            The only one.

        Returns
        -------
        Axes
        """
        from fastntk.figures.monte_carlo import monte_carlo_sheet
        from fastntk.figures.placing import place

        return place(monte_carlo_sheet(self), ax, panel)

    @property
    def fluctuation(self) -> Array:
        """Standard deviation of one network's kernel at each width, relative to the limit.

        Both are taken in the Frobenius norm: √(Σ var K_ij) / ‖K_∞‖.
        """
        deviation = np.sqrt(self.n_seeds) * np.linalg.norm(self.standard_error, axis=(1, 2))
        return np.asarray(deviation / np.linalg.norm(self.limit))

    @property
    def rate(self) -> float:
        """The exponent r in fluctuation ∝ width^(−r), fitted; 1/2 is expected.

        NaN with fewer than two different widths.
        """
        return -fit_power_law(self.widths, self.fluctuation).slope


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
    progress: Progress = False,
) -> MonteCarlo:
    """Return mean and standard error of the tangent kernels of random networks.

    Parameters
    ----------
    X : array_like (n, d)
        Samples, one a row.
    widths : sequence of int
        Widths of the hidden layers, at least two different ones for a `MonteCarlo.rate`.
    seeds : int or sequence of int
        How many networks of each width, at least two; or the seeds of their weights.
    depth, activation, activation_scale, weight_std, bias_std
        Settings of the networks, see `MLP` and `infinite.ntk`.
    tolerance : float
        Of the limit, see `infinite.Network`.
    progress : bool or callable
        Whether to show a progress bar; or a function of (stage, done, total).

    Returns
    -------
    MonteCarlo

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
    widths = arguments.integers(widths, "widths", minimum=1)
    each = arguments.seeds(seeds, least=2)
    if len(each) < 2:
        raise ValueError(
            f"seeds={arguments.shown(seeds)}: expected at least two, for a standard error"
        )
    depth = arguments.depth(depth)
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
    mean, squares = np.zeros((2, len(widths), n, n))
    with monitored(progress, "random networks") as report:
        for k, width in enumerate(widths):
            for count, seed in enumerate(each, 1):
                net = MLP(
                    [samples.shape[1], *[width] * depth, 1],
                    activation=phi,
                    activation_scale=scale,
                    weight_std=weight_std,
                    bias_std=bias_std,
                    seed=seed,
                )
                # Welford's update, which does not cancel.
                kernel = np.asarray(net.ntk(samples), dtype=np.float64)
                change = kernel - mean[k]
                mean[k] += change / count
                squares[k] += change * (kernel - mean[k])
                if report is not None:
                    report(f"width {width}", k * len(each) + count, len(widths) * len(each))
    error = np.sqrt(squares / (len(each) * (len(each) - 1)))
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
    )
