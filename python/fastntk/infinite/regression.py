# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a network of infinite width predicts after training: Gaussian processes in closed form.

The formulas, and their source, stand in `kernel_regression`.
"""

from __future__ import annotations

import math
import numbers
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support import arguments
from fastntk._support.threads import in_own_thread
from fastntk.devices import matrices
from fastntk.infinite.architecture import Architecture
from fastntk.infinite.kernel_errors import dual_error
from fastntk.infinite.kernel_matrices import kernel_matrices, kernel_matrix
from fastntk.infinite.kernel_regression import (
    KernelRegression,
    Prior,
    checked_ridge,
    checked_solution,
    require_regression_memory,
)
from fastntk.infinite.layer_factors import KINDS
from fastntk.infinite.sample_norms import Samples
from fastntk.linearity.kernel_descent import schedule
from fastntk.symmetric.conjugate_gradients import Iterations, shaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation
    from fastntk.infinite.iterative_regression import IterativeRegression
    from fastntk.infinite.several_depths import SeveralDepths
    from fastntk.linearity.kernel_descent import Schedule
    from fastntk.symmetric.conjugate_gradients import KernelSolution

    Array = NDArray[np.float64]


# With "auto", of more training samples the kernel is not formed: it and its factor take 4 GiB.
_MOST_FACTORIZED = 16_384


class Prediction(NamedTuple):
    """Mean and covariance of the outputs of a trained network of infinite width.

    Attributes
    ----------
    mean : ndarray (..., m) or (..., m, C)
        The mean, with as many axes as the targets have, after those of `time` or `steps`.
    covariance : ndarray (..., m, m), or None
        The covariance of each output; different outputs are independent.
    """

    mean: Array
    covariance: Array | None

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        return short_repr(self, mean=self.mean, covariance=self.covariance)


class IteratedPrediction(Prediction):
    """A prediction by conjugate gradients.

    Attributes
    ----------
    solution : KernelSolution
        The coefficients of the kernel, and their residuals.
    """

    solution: KernelSolution

    @classmethod
    def of(cls, mean: Array, solution: KernelSolution) -> IteratedPrediction:
        """Return the prediction of a mean."""
        found = cls(mean, None)
        found.solution = solution
        return found


class Regression:
    """Regression on training samples, factorized once for any targets, samples and times.

    Parameters
    ----------
    X : array_like (n, d)
        Training samples, one a row.
    kernel : {"ntk", "nngp"}
        "ntk": all layers are trained. "nngp": only the last one is, which is Bayesian inference
        with the network as the prior.
    ridge : float or "auto"
        λ ≥ 0: weight decay towards the initial weights, as ½ λ ‖w − w_0‖² beside ½ ‖f − y‖². With
        "nngp" it is the variance of the noise of the targets. "auto" is 0 where rounding allows
        that, and otherwise so little that rounding moves no eigenvalue of Θ + λ by more than its
        thousandth, about 1000 noise floors.
    solution : {"unique", "least_squares"}
        What the end of training is where Θ + λ is singular to working precision, as it is when
        samples repeat or are parallel. "unique": an error that says which samples do.
        "least_squares": the limit λ → 0, which is that of t → ∞ as well: least squares with the
        smallest change of weights, by the eigenvalues above the noise floor.
    solver : {"cholesky", "cg", "auto"}
        "cholesky": the kernel is formed and decomposed, 16 n² bytes. "cg": the end of training by
        conjugate gradients, without the kernel, whose elements are computed anew in each iteration;
        for a ridge that is given, and ``solution="unique"``. The predictions have an attribute
        `solution`, a `fastntk.KernelSolution` with the residuals. "auto": "cg" above 16 384
        samples.
    preconditioner_rank, max_iterations : int
        As for `fastntk.conjugate_gradients`, for "cg".
    solver_tolerance : float
        The residual ‖y − (Θ + λ) a‖/‖y‖ that "cg" is to reach.
    depth : int, optional
        Number of hidden layers, as for `Network`.
    activation, weight_std, bias_std, activation_scale
        As for `Network`.
    parametrization, width, layer_weights, tolerance
        As for `Network`.

    Attributes
    ----------
    ridge : float
        The λ in use.

    Notes
    -----
    Predictions at the end of training take a Cholesky decomposition, n³/3 multiply-adds, those at
    other times, and ``solution="least_squares"``, all eigenvectors; each is computed when first
    needed, and kept. Results are the same, bit for bit, for any number of threads.

    The noise floor is n ε λ_max and, for activations whose dual is not in closed form, the error
    that `tolerance` allows to the kernel. At finite times, directions with eigenvalues below it
    stay where they were at the start from the time t on at which floor · t/n is above 2⁻²⁶: later,
    rounding would move them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> regression = infinite.Regression(X, depth=2)
    >>> y = X[:, 0] * X[:, 1]
    >>> trained = regression.predict(X, y).mean
    >>> bool(np.allclose(trained, y))
    True
    >>> early = regression.predict(X, y, time=10.0).mean
    >>> bool(np.linalg.norm(early) < np.linalg.norm(y))
    True
    """

    def __init__(
        self,
        X: ArrayLike,
        *,
        kernel: str = "ntk",
        ridge: float | str = 0.0,
        solution: str = "unique",
        solver: str = "cholesky",
        preconditioner_rank: int = 256,
        max_iterations: int = 1000,
        solver_tolerance: float = 1e-8,
        depth: int | None = None,
        activation: str | Activation | Sequence[str | Activation] = "relu",
        weight_std: float | Sequence[float] = 1.0,
        bias_std: float | Sequence[float] = 0.0,
        activation_scale: float | Sequence[float | None] | None = None,
        parametrization: str = "ntk",
        width: int | None = None,
        layer_weights: ArrayLike | None = None,
        tolerance: float = 1e-10,
    ) -> None:
        how = Iterations.checked(
            preconditioner_rank, solver_tolerance, max_iterations, name="solver_tolerance"
        )
        network = Architecture(
            depth,
            activation,
            weight_std,
            bias_std,
            activation_scale=activation_scale,
            parametrization=parametrization,
            width=width,
            layer_weights=layer_weights,
            tolerance=tolerance,
        )
        self._begin(network, X, (kernel, ridge, solution, solver), how)

    @classmethod
    def of_network(
        cls,
        network: SeveralDepths,
        X: ArrayLike,
        given: tuple[str, float | str, str, str],
        how: Iterations,
    ) -> Regression:
        """Return the regression with a network; methods of networks make it by this.

        Parameters
        ----------
        network : SeveralDepths
        X : array_like (n, d)
        given : tuple
            The kernel, the ridge, the solution and the solver.
        how : Iterations
        """
        result = cls.__new__(cls)
        result._begin(network, X, given, how)
        return result

    def _begin(
        self,
        network: SeveralDepths,
        X: ArrayLike,
        given: tuple[str, float | str, str, str],
        how: Iterations,
    ) -> None:
        kernel, ridge, solution, solver = given
        self._network = network
        # A copy: kernels with other samples are to be those of these.
        self._samples = matrices.samples(X, "X", np.dtype(np.float64)).copy()
        network.require_inputs(self._samples.shape[1], "X")
        self._kind = arguments.choice(kernel, "kernel", ("ntk", "nngp"))
        given_ridge, given_solution = checked_ridge(ridge), checked_solution(solution)
        self._solver = arguments.choice(solver, "solver", ("cholesky", "cg", "auto"))
        if self._solver == "auto":
            self._solver = "cg" if len(self._samples) > _MOST_FACTORIZED else "cholesky"
        if self._solver == "cg":
            self._iterative = self._iteration(given_ridge, given_solution, how)
            return
        norms = Samples.of(self._samples).norms
        error = dual_error(self._network, norms, tangent=self._kind == "ntk")
        require_regression_memory(len(self._samples))
        matrix = np.asarray(kernel_matrix(self._network, self._kind, self._samples))
        self._regression = KernelRegression(
            matrix, self._samples, ridge=given_ridge, solution=given_solution, error=error
        )

    def _iteration(
        self, ridge: float | None, solution: str, how: Iterations
    ) -> IterativeRegression:
        # SciPy's operators take a while to import, and are not always needed.
        from fastntk.infinite.iterative_regression import IterativeRegression

        if ridge is None:
            raise ValueError(
                "ridge='auto': expected a number of at least 0 with solver='cg', which does not "
                "know the noise floor"
            )
        if solution != "unique":
            raise ValueError(
                f"solution={solution!r}: expected 'unique' with solver='cg', which has no "
                "eigenvectors"
            )
        return IterativeRegression(self._network, self._kind, self._samples, ridge, how)

    def __repr__(self) -> str:
        given = self._ridges.given_ridge
        ridge = "auto" if given is None else f"{given:g}"
        samples = f"{len(self._samples)} samples"
        return f"<Regression: {self._kind}, {samples}, ridge {ridge}, {self._network!r}>"

    @property
    def ridge(self) -> float:
        """The λ in use: the one that was given, or what "auto" stands for."""
        return self._ridges.ridge

    @property
    def _ridges(self) -> KernelRegression | IterativeRegression:
        return self._iterative if self._solver == "cg" else self._regression

    @cached_property
    def _prior(self) -> Array | None:
        if self._kind == "nngp":
            return None
        return np.asarray(kernel_matrix(self._network, "nngp", self._samples))

    def predict(
        self,
        Z: ArrayLike,
        y: ArrayLike,
        *,
        time: ArrayLike = math.inf,
        steps: ArrayLike | None = None,
        learning_rate: float | None = None,
        covariance: bool = False,
    ) -> Prediction:
        """Return the outputs of the trained network at other samples.

        Parameters
        ----------
        Z : array_like (m, d)
            Samples, one a row.
        y : array_like (n,) or (n, C)
            Targets of the training samples. Integers are numbers here, class labels too: for
            classes there is `fastntk.sklearn.NTKClassifier`, or a column of 1 and −1 for each.
        time : float or array_like
            How long gradient flow on the loss 1/(2n) ‖f − y‖² has run, by default to its end;
            gradient descent with a small step η is at ηk after k steps. Any shape.
        steps, learning_rate : int or array_like, and float, optional
            Steps of gradient descent, of any shape, and their size, in place of `time`. It diverges
            for learning rates above 2n/(λ_max + λ).
        covariance : bool
            Whether to return the covariance over initializations, too: with "nngp" and at the end
            of training, the posterior covariance.

        Returns
        -------
        Prediction
            With the axes of `time` or `steps` first. With ``solver="cg"`` RuntimeWarning tells of
            targets whose residual is above the tolerance.

        Raises
        ------
        OverflowError
            If gradient descent has diverged so far that a prediction is not finite in float64, or
            one is not for these targets.
        ValueError
            With ``solver="cg"``, for a time or steps, or with the covariance.
        numpy.linalg.LinAlgError
            At the end of training, with ``solution="unique"``, if Θ + λ is singular to working
            precision.
        """
        covariance = arguments.flag(covariance, "covariance")
        descends = steps is not None or learning_rate is not None
        moment: Any = time  # of which mypy does not know that it may be a number of NumPy
        at_the_end = isinstance(moment, numbers.Real) and moment == math.inf
        given = schedule(None if descends and at_the_end else time, steps, learning_rate)
        targets = _targets(y, len(self._samples))
        points = matrices.samples(
            Z,
            "Z",
            np.dtype(np.float64),
            columns=self._samples.shape[1],
            why="as many as X has",
        )
        if self._solver == "cg":
            if not at_the_end or descends or covariance:
                raise ValueError(
                    f"time={arguments.shown(time)}, steps={arguments.shown(steps)}, covariance="
                    f"{covariance}: expected the mean at the end of training, time=inf, with "
                    "solver='cg'"
                )
            return self._iterated(points, targets)
        with np.errstate(over="ignore", invalid="ignore"):  # found out after each part
            return self._in_closed_form(points, targets, given, covariance=covariance)

    def _in_closed_form(
        self, points: Array, targets: Array, given: Schedule, *, covariance: bool
    ) -> Prediction:
        kinds = KINDS if covariance and self._kind == "ntk" else (self._kind,)
        both = kernel_matrices(self._network, points, self._samples, kinds=kinds)
        cross, prior_cross = np.asarray(getattr(both, self._kind)), np.asarray(both.nngp)
        coefficients = self._regression.filtered(targets.reshape(len(targets), -1), given)
        mean = in_own_thread(lambda: cross @ coefficients)
        self._regression.require_finite(mean, given)
        mean = mean.reshape(*coefficients.shape[:-2], len(points), *targets.shape[1:])
        if not covariance:
            return Prediction(mean, None)
        filtered = self._regression.filtered(cross.T, given)  # A_tᵀ
        there = np.asarray(kernel_matrix(self._network, "nngp", points))
        prior = Prior(self._prior, prior_cross, there)
        spread = self._regression.covariance(filtered, prior)
        self._regression.require_finite(spread, given)
        return Prediction(mean, spread)

    def _iterated(self, points: Array, targets: Array) -> Prediction:
        found = self._iterative.solution(targets.reshape(len(targets), -1))
        mean = self._iterative.mean(points, found).reshape(len(points), *targets.shape[1:])
        return IteratedPrediction.of(mean, shaped(found, targets.shape))


def _targets(y: ArrayLike, samples: int) -> Array:
    targets = matrices.host_array(y, "y")
    if targets.ndim not in (1, 2) or len(targets) != samples:
        raise ValueError(
            f"y has shape {targets.shape}: expected ({samples},) or ({samples}, C), targets for "
            f"each of the {samples} rows of X"
        )
    columns = matrices.matrix(
        targets.reshape(samples, -1), "y", np.dtype(np.float64), given=targets
    )
    return np.asarray(columns.reshape(targets.shape), dtype=np.float64)
