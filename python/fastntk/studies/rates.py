# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How fast gradient descent on the square loss converges, beside what the kernel predicts.

Near its initial weights a wide network follows its linear model: an error along an eigenvector of
the kernel shrinks by 1 − ηλ/n a step. The slowest one is what is left in the end, so that the loss
then falls by the factor (1 − η λ_min/n)² a step. At η = n/λ_max that is (1 − 1/κ)², below the
1 − 1/κ of arXiv 2305.08813, Eq. 9; at the best constant step, 2n/(λ_max + λ_min), about 1 − 4/κ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk.devices import matrices
from fastntk.eigenvalues import conditioning
from fastntk.eigenvalues.result import ExtremeEigenvalues
from fastntk.linearity.kernel_descent import Spectrum
from fastntk.linearity.linear_training import LinearizedTraining
from fastntk.linearity.output_kernels import AllPairs
from fastntk.networks.base import require_network
from fastntk.networks.targets import targets
from fastntk.symmetric.matrix import SymmetricMatrix
from fastntk.training.run import train

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.progress import Progress
    from fastntk.mlp import MLP

    Array = npt.NDArray[np.float64]

__all__ = ["ConvergenceRate", "TailFit", "convergence_rate", "fit_tail"]

# The learning rate, as a share of the best constant step: at that step itself the error along the
# top eigenvector falls as slowly as the slowest one, with changing sign, and blurs the tail.
_SHARE = 0.9

# The loss is not followed below this times its start: what is left is rounding.
_FLOOR = 1e-20

# The tail is fitted to the last half of the steps. It counts as one if the slopes of log loss in
# the two halves of this window agree so well, and if so few steps or more are in it.
_DRIFT = 0.05
_FEWEST_STEPS = 10

# The linear model must be in its own tail there: its slope may differ so much from the limit.
_LINEAR_DEVIATION = 0.1


@dataclass(frozen=True)
class TailFit:
    """A straight line through log loss against steps.

    Attributes
    ----------
    factor : float
        What the loss is multiplied with at each step; NaN if there is nothing to fit.
    first, last : int
        The first and the last step of the window.
    r_squared : float
        The coefficient of determination of the fit; NaN for a constant loss.
    drift : float
        Relative difference of the slopes of the two halves of the window.
    """

    factor: float
    first: int
    last: int
    r_squared: float
    drift: float


@dataclass(frozen=True, kw_only=True)
class ConvergenceRate(ExtremeEigenvalues):
    """The result of `convergence_rate`.

    Attributes
    ----------
    n : int
        The number of samples.
    eigenvalue_min, eigenvalue_max, condition_number : float
        λ_min, λ_max and κ of the kernel at the initial weights, as in `fastntk.Conditioning`.
    worst_case : float
        1 − 1/κ.
    learning_rate : float
        0.9 of the best constant step 2n/(λ_max + λ_min).
    predicted : float
        (1 − η λ_min/n)²: what the loss is multiplied with at each step in the end.
    linear : float
        The factor of the linear model around the initial weights in the window of the fit.
    measured : float
        The factor of the network.
    first, last, r_squared, drift
        The window of the fit and its quality, see `TailFit`.
    resolved : bool
        Whether that window is the tail: the slope of log loss there changes by at most 5 %, and
        that of the linear model is within 10 % of the predicted one. Otherwise the training was too
        short, or λ_min is not resolved, and `measured` is to be compared with `linear` only.
    """

    n: int
    worst_case: float
    learning_rate: float
    predicted: float
    linear: float
    measured: float
    first: int
    last: int
    r_squared: float
    drift: float
    resolved: bool


def convergence_rate(
    net: MLP,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    steps: int = 2000,
    progress: Progress = False,
) -> ConvergenceRate:
    """Measure how fast full-batch gradient descent on the square loss converges in the end.

    Parameters
    ----------
    net : MLP
        With one output. Float64 is advisable: the loss is followed over 20 orders of magnitude.
    X : array_like (n, d)
        Samples, one a row; so few that `steps` is many times κ, if the tail is to be seen.
    y : array_like (n,)
        Targets.
    steps : int
        At most so many steps.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` with numbers of steps.

    Returns
    -------
    ConvergenceRate

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import MLP
    >>> from fastntk.studies.rates import convergence_rate
    >>> X = np.diag([1.0, 2.0, 3.0])  # a linear model with κ = 9
    >>> rate = convergence_rate(MLP([3, 1]), X, [1.0, 1.0, 1.0], steps=200)
    >>> rate.resolved, round(rate.measured / rate.predicted, 6)
    (True, 1.0)
    """
    require_network(net)
    most = arguments.integer(steps, "steps", minimum=1)
    if net.n_outputs != 1:
        raise ValueError(f"net has {net.n_outputs} outputs: expected one")
    samples = net.network.samples(X, "X")
    n = len(samples)
    wanted = targets(y, "y", "mse", n, 1, np.dtype(np.float64))
    kernels = AllPairs(net.network)
    kernels.require_memory(n)
    # The fit of the linear model would form the kernel once more.
    (kernel,) = kernels.of(samples)
    spectrum = conditioning(SymmetricMatrix.made(kernel), bounds=False)
    if spectrum.eigenvalue_max <= 0:
        raise ValueError("net has gradients of 0 at all samples: expected one that is not")
    training = LinearizedTraining(kernels, samples, wanted, [Spectrum.of(kernel, overwrite=True)])
    smallest = spectrum.eigenvalue_min if spectrum.resolved else 0.0
    rate = _SHARE * 2 * n / (spectrum.eigenvalue_max + smallest)
    start = float(training.loss(time=0.0))
    history = train(
        net,
        X,
        y,
        loss="mse",
        learning_rate=rate,
        epochs=most,
        loss_target=_FLOOR * start,
        progress=progress,
    )
    losses = np.asarray(history.loss, dtype=np.float64)
    fit = fit_tail(losses)
    window = np.arange(fit.first, fit.last + 1)
    of_linear = training.loss(steps=window, learning_rate=rate)
    linear = math.exp(_line(of_linear)[0]) if _has_logarithms(of_linear, 2) else math.nan
    predicted = (1 - rate * smallest / n) ** 2 if spectrum.resolved else math.nan
    resolved = (
        history.status != "diverged"
        and fit.drift <= _DRIFT
        and 0 < fit.factor < 1
        and spectrum.resolved
        and abs(math.log(linear) / math.log(predicted) - 1) <= _LINEAR_DEVIATION
    )
    return ConvergenceRate(
        n=n,
        eigenvalue_min=spectrum.eigenvalue_min,
        eigenvalue_max=spectrum.eigenvalue_max,
        condition_number=spectrum.condition_number,
        worst_case=1 - 1 / spectrum.condition_number,
        learning_rate=rate,
        predicted=predicted,
        linear=linear,
        measured=fit.factor,
        first=fit.first,
        last=fit.last,
        r_squared=fit.r_squared,
        drift=fit.drift,
        resolved=bool(resolved),
    )


def fit_tail(losses: npt.ArrayLike) -> TailFit:
    """Fit a line to the logarithm of the loss in the last half of the steps.

    Parameters
    ----------
    losses : array_like (steps,)
        The loss before each step.

    Returns
    -------
    TailFit
        NaN where fewer than ten steps, or none with a positive finite loss, are in the window.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.studies.rates import fit_tail
    >>> steps = np.arange(200)
    >>> round(fit_tail(0.1**steps + 0.9**steps).factor, 6)
    0.9
    """
    given = matrices.host_array(losses, "losses")
    matrices.require_real(given, "losses")
    values = matrices.as_floats(given, "losses", np.dtype(np.float64))
    if values.ndim != 1:
        raise ValueError(f"losses has shape {values.shape}: expected a vector")
    first, last = len(values) // 2, len(values) - 1
    window = values[first:]
    if not _has_logarithms(window, _FEWEST_STEPS):
        return TailFit(math.nan, first, max(first, last), math.nan, math.nan)
    slope, r_squared = _line(window)
    half = len(window) // 2
    change = abs(_line(window[half:])[0] - _line(window[:half])[0])
    return TailFit(
        factor=math.exp(slope),
        first=first,
        last=last,
        r_squared=r_squared,
        drift=change / abs(slope) if slope else math.inf,
    )


def _has_logarithms(losses: Array, fewest: int) -> bool:
    return len(losses) >= fewest and bool(np.isfinite(losses).all()) and losses.min() > 0


def _line(losses: Array) -> tuple[float, float]:
    """Return the slope of log loss against steps, and the coefficient of determination."""
    # SciPy's statistics take longer to import than fastntk.
    from scipy.stats import linregress

    logs = np.log(losses)
    line = linregress(np.arange(len(logs)), logs)
    return float(line.slope), float(line.rvalue**2) if np.ptp(logs) > 0 else math.nan
