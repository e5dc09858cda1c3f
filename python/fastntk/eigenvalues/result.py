# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is known of the extreme eigenvalues of a kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from fastntk._support import arguments

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# The relative error of the few operations that widen an interval.
_ROUNDING = 2.0**-50


class Interval(NamedTuple):
    """All numbers from `lower` to `upper`, both included; `upper` may be infinite."""

    lower: float
    upper: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.lower <= value <= self.upper

    def clip(self, value: float) -> float:
        """Return the number of the interval that is nearest to `value`."""
        return min(max(value, self.lower), self.upper)

    def __str__(self) -> str:
        return f"[{self.lower:.10g}, {self.upper:.10g}]"


class Bounds(NamedTuple):
    """Intervals in which the extreme eigenvalues and their ratio are certain to lie.

    That is, those of the matrix as it is and, where errors of it were given, of all matrices that
    they allow for: of the kernel in exact arithmetic, if they are bounds of what rounding did.

    Attributes
    ----------
    eigenvalue_min, eigenvalue_max : Interval
    """

    eigenvalue_min: Interval
    eigenvalue_max: Interval

    @property
    def condition_number(self) -> Interval:
        """Return the interval of λ_max/λ_min, without an upper end where λ_min may be 0 or less."""
        smallest, largest = self.eigenvalue_min, self.eigenvalue_max
        if smallest.upper <= 0:
            return Interval(math.inf, math.inf)
        least = math.nextafter(max(largest.lower, 0.0) / smallest.upper, 0.0)
        most = math.inf
        if smallest.lower > 0:
            most = math.nextafter(largest.upper / smallest.lower, math.inf)
        return Interval(max(1.0, least), most)

    def widened(self, feature_error: float, trace: float, kernel_error: float) -> Bounds:
        """Return bounds for all kernels that are so near to this one.

        These are the kernels of all features F + E with ‖E‖_F ≤ feature_error · ‖F‖_F, whose
        singular values, the roots of the eigenvalues, differ by at most ‖E‖; and what is less than
        kernel_error away from these kernels.
        """
        if feature_error == kernel_error == 0:
            return self
        away = feature_error * math.sqrt(trace) if trace > 0 else 0.0
        return Bounds(
            _widened(self.eigenvalue_min, away, kernel_error),
            _widened(self.eigenvalue_max, away, kernel_error),
        )


def _widened(interval: Interval, root: float, absolute: float) -> Interval:
    lower, upper = interval
    if root > 0:
        lower = max(0.0, math.sqrt(max(lower, 0.0)) * (1 - _ROUNDING) - root) ** 2
        upper = math.sqrt(max(upper, 0.0)) + root
        upper *= upper  # inf where it is too large; a power would raise OverflowError
    if absolute > 0:
        lower, upper = lower - absolute, upper + absolute
    if (root, absolute) == (0, 0):
        return interval
    return Interval(lower - _ROUNDING * abs(lower), upper + _ROUNDING * abs(upper))


@dataclass(frozen=True)
class ExtremeEigenvalues:
    """Both ends of the spectrum of a kernel, and their ratio, for results to inherit.

    Attributes
    ----------
    eigenvalue_min, eigenvalue_max : float
        λ_min and λ_max; λ_min is NaN when it is not resolved.
    condition_number : float
        κ = λ_max/λ_min; NaN when λ_min is not resolved.
    """

    eigenvalue_min: float
    eigenvalue_max: float
    condition_number: float


@dataclass(frozen=True)
class ResolvedEigenvalues(ExtremeEigenvalues):
    """The same, and what noise hides of them; see `Conditioning`.

    Attributes
    ----------
    resolved : bool
    noise_floor : float
    rank : int or None
    """

    resolved: bool
    noise_floor: float
    rank: int | None


@dataclass(frozen=True)
class ConditionNumbers(ResolvedEigenvalues):
    """All that is kept of a `Conditioning` in tables and stores, see `Conditioning.numbers`.

    Attributes
    ----------
    effective_rank : float
    condition_number_lower, condition_number_upper : float
        The bounds of κ; NaN where none were asked for.
    """

    effective_rank: float
    condition_number_lower: float
    condition_number_upper: float


@dataclass(frozen=True)
class Conditioning(ResolvedEigenvalues):
    """Extreme eigenvalues and condition number of a kernel.

    Attributes
    ----------
    eigenvalue_min, eigenvalue_max : float
        λ_min and λ_max; λ_min is NaN when it is not resolved.
    condition_number : float
        κ = λ_max/λ_min; NaN when λ_min is not resolved. Then κ is at least λ_max/noise_floor.
    resolved : bool
        Whether λ_min is above the noise floor, and known up to a factor of 2: whether the interval
        of all that it may be, after the errors of the method and the given ones, has ends whose
        ratio is at most 2. They are those of the bounds; also without bounds a Cholesky
        decomposition has to confirm them. An operator's are its residual and what rounding adds.
        It is as certain as the given errors are.
    noise_floor : float
        max(n, 16) ε λ_max + δ² tr K + η, with the ε of the precision that the kernel came in and
        the given errors, δ of the features and η of the kernel: what rounding can add to, or take
        from, an eigenvalue. Where λ_min is not resolved, it is raised to the largest that λ_min may
        be, should that be more: λ_max/noise_floor is then a lower bound of κ. At most λ_max.
    rank : int or None
        The numerical rank: n when resolved, otherwise the number of steps, at most n − 1, that a
        Cholesky decomposition with diagonal pivoting takes before all that is left is below the
        noise floor; None for a packed kernel, an array of Dask or an operator that is not resolved.
    n : int
        The number of samples.
    effective_rank : float
        tr K/λ_max, between 1 and n; NaN for an operator, whose trace is not known, or if K is 0.
    method : str
        How λ_min was found.
    bounds : Bounds or None
        Intervals that contain the true values; None where none were asked for.
    smallest, largest : ndarray (k,)
        The k smallest eigenvalues, ascending, and the k largest, descending, as computed: entries
        of `smallest` below the noise floor are noise.
    smallest_vectors, largest_vectors : ndarray (n, k) or None
        Their eigenvectors, if asked for; arrays of CuPy for a kernel in the memory of a GPU.
    """

    n: int
    effective_rank: float
    method: str
    bounds: Bounds | None = None
    smallest: npt.NDArray[np.float64] = field(kw_only=True, compare=False, repr=False)
    largest: npt.NDArray[np.float64] = field(kw_only=True, compare=False, repr=False)
    smallest_vectors: npt.NDArray[np.float64] | None = field(
        default=None, kw_only=True, compare=False, repr=False
    )
    largest_vectors: npt.NDArray[np.float64] | None = field(
        default=None, kw_only=True, compare=False, repr=False
    )

    def widened(self, feature_error: float = 0.0, kernel_error: float = 0.0) -> Conditioning:
        """Return the same result with bounds that allow for more errors of the kernel.

        What is resolved stays so: this sets what is proved, with the errors of `MLP.ntk_errors`,
        beside what can be told from the noise as a rule.

        Parameters
        ----------
        feature_error, kernel_error : float
            As for `fastntk.conditioning`.

        Returns
        -------
        Conditioning

        Raises
        ------
        ValueError
            If there are no bounds.
        """
        feature_error = arguments.real(feature_error, "feature_error", minimum=0.0, infinite=True)
        kernel_error = arguments.real(kernel_error, "kernel_error", minimum=0.0, infinite=True)
        if self.bounds is None:
            raise ValueError("bounds=False: expected a result with bounds, which can be widened")
        trace = self.effective_rank * self.eigenvalue_max * (1 + _ROUNDING)
        return replace(self, bounds=self.bounds.widened(feature_error, trace, kernel_error))

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers by name, for a table; the bounds of κ are NaN where there are none."""
        lower, upper = (math.nan, math.nan) if self.bounds is None else self.bounds.condition_number
        return {
            "eigenvalue_min": self.eigenvalue_min,
            "eigenvalue_max": self.eigenvalue_max,
            "condition_number": self.condition_number,
            "condition_number_lower": lower,
            "condition_number_upper": upper,
            "resolved": self.resolved,
            "noise_floor": self.noise_floor,
            "rank": self.rank,
            "effective_rank": self.effective_rank,
        }

    def _repr_html_(self) -> str:
        """Return what notebooks show: each number with its name."""
        from fastntk._support.display import pairs_html  # rarely needed

        values: dict[str, object] = {
            "λ_max": f"{self.eigenvalue_max:.6g}",
            "λ_min": f"{self.eigenvalue_min:.6g}" if self.resolved else "unresolved",
            "κ": f"{self.condition_number:.6g}",
            "noise floor": f"{self.noise_floor:.3g}",
            "rank": "unknown" if self.rank is None else f"{self.rank} of {self.n}",
            "effective rank": f"{self.effective_rank:.4g}",
            "method": self.method,
        }
        if not self.resolved:
            values["κ"] = kappa_at_least(self.eigenvalue_max, self.noise_floor)
        if self.bounds is not None:
            values["κ is certain to lie in"] = self.bounds.condition_number
        return pairs_html("Conditioning", values)

    def __str__(self) -> str:
        text = f"λ_max = {self.eigenvalue_max:.6g}"
        if self.resolved:
            text += f", λ_min = {self.eigenvalue_min:.6g}, κ = {self.condition_number:.6g}"
            if self.bounds is not None:
                text += f" in {self.bounds.condition_number}"
            return text
        rank = "" if self.rank is None else f" (rank {self.rank} of {self.n})"
        least = kappa_at_least(self.eigenvalue_max, self.noise_floor)
        return f"{text}, λ_min unresolved{rank}, κ {least}"


def kappa_at_least(eigenvalue_max: float, noise_floor: float) -> str:
    """Return what κ is at least where λ_min is not resolved; that of a matrix of 0 is undefined."""
    if eigenvalue_max == 0:
        return "undefined"
    bound = eigenvalue_max / noise_floor if noise_floor > 0 else math.inf
    return f"≥ {rounded_down(bound, 2)}"


def rounded_down(value: float, digits: int) -> str:
    """Return a positive bound with so many digits, none of which is rounded up."""
    import decimal  # rarely needed

    context = decimal.Context(prec=digits, rounding=decimal.ROUND_FLOOR)
    return f"{float(context.create_decimal_from_float(value)):.{digits}g}"
