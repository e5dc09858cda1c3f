# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The results of a depth study, as tables."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.display import counted, spans
from fastntk.eigenvalues.result import ConditionNumbers
from fastntk.training.result import Result, named_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from fastntk.figures.panels import Sheet


_NAN = float("nan")

# Columns that only a study with batches has.
_BATCH_COLUMNS = ("batch_condition_number", "batch_spread", "batches", "batches_resolved")

# Columns that only a study of other networks than plain ones has.
_ARCHITECTURE_COLUMNS = ("architecture", "residual_scale")

# Columns that only a study with bounds has.
_BOUND_COLUMNS = ("condition_number_lower", "condition_number_upper")


@dataclass(frozen=True, kw_only=True)
class _NetworkAndPair:
    """What the rows of a depth study begin with: a network, and its closest pair of samples."""

    architecture: str = "plain"
    residual_scale: float = _NAN
    activation: str
    width: float
    depth: int
    seed: int
    smallest_angle: float
    i: int
    j: int
    angle_resolved: bool


@dataclass(frozen=True, kw_only=True)
class DepthResult(ConditionNumbers, _NetworkAndPair):
    """One cell of a study: one network, all pairs of samples.

    Attributes
    ----------
    architecture : str
        "plain", or the kind of the blocks with α where that is not 1: "residual(1/sqrt(L))", see
        `fastntk.architectures.Architecture`; of networks that a function of the user's describes,
        its name.
    residual_scale : float
        α of the blocks; NaN where there are none, or not one α for all of them.
    activation : str
        Its name as it was given, or that of an `Activation`, with its parameters.
    width : int or inf
        Width of every hidden layer, the largest where there are several; inf at infinite width.
    depth : int
        The number of hidden layers; where there are blocks, that of blocks.
    seed : int
        Seed of the weights; −1 at infinite width.
    smallest_angle : float
        The smallest angle between the gradients of two samples, in degrees; NaN if fewer than two
        samples have a gradient.
    i, j : int
        These two samples; −1 if there are none.
    angle_resolved : bool
        Whether the angle has a correct digit, as `AnglePair.resolved` has it.
    eigenvalue_min, eigenvalue_max, condition_number, resolved, noise_floor, rank, effective_rank
        The conditioning of the kernel, as in `fastntk.Conditioning`.
    condition_number_lower, condition_number_upper : float
        Between which κ is certain to lie (at infinite width as far as the error of the kernel is,
        see `fastntk.infinite.Network.kernel_error`); NaN where no bounds were asked for.
    eigenvalue_min_bound : float
        What λ_min cannot exceed because of the smallest angle, see `fastntk.angle_bound`.
    batch_condition_number, batch_spread : float
        Mean and standard deviation of κ over minibatches, see `fastntk.batch_conditioning`; NaN if
        there are none, or if one is not resolved.
    batches, batches_resolved : int
        How many minibatches there are, and how many have a λ_min above the noise floor.
    kernel_seconds : float
        Share of this depth in the time of the pass that its kernel came from. A pass takes less
        time than its kernels would one by one; it is shared out in proportion to the operations
        that each of them needs by itself, so that the times of all cells add up to what was spent.
    analysis_seconds : float
        Time of all that was then done to this kernel alone: angles, eigenvalues, batches.
    pass_depths : int
        How many depths shared the pass.
    memory_bytes : int
        Arrays held at once, at most, in the pass and after it: its features, the kernels of all
        its depths, and a copy of one to be factorized. By their shapes; not measured.
    """

    rank: int  # kernels of a study are never packed
    eigenvalue_min_bound: float
    batch_condition_number: float = _NAN
    batch_spread: float = _NAN
    batches: int = 0
    batches_resolved: int = 0
    kernel_seconds: float = _NAN
    analysis_seconds: float = _NAN
    pass_depths: int = 1
    memory_bytes: int = 0

    @property
    def worst_case_rate(self) -> float:
        """1 − 1/κ, see `DepthStudy.to_frame`; NaN when λ_min is not resolved."""
        return 1.0 - 1.0 / self.condition_number


# What may differ when the same cell is computed again.
COSTS = ("kernel_seconds", "analysis_seconds", "pass_depths", "memory_bytes")


def _sheet(result: DepthStudy) -> Sheet:
    from fastntk.figures.depth_study import depth_study_sheet

    return depth_study_sheet(result)


@dataclass(frozen=True, eq=False)
class DepthStudy(Result, kind="depth study", sheet=_sheet, parts=(DepthResult,), costs=COSTS):
    """The result of `depth_study`.

    Attributes
    ----------
    results : tuple of DepthResult
        Ordered by architecture, activation, width, depth and seed.
    n_samples : int
    widths : tuple of int
        Widths of the networks, infinite width left out.
    batch_size : int or None
        Samples in a minibatch, if there are any.
    bounds : bool
        Whether κ was enclosed.
    limit_activations : tuple of str
        The activations of plain networks whose gradients are all at the same angle in the limit of
        infinite depth and width, `fastntk.infinite.limit_angle`: piecewise linear with a kink,
        where there are no biases and no two samples are parallel.
    equal_norms : bool
        Whether all samples have the same norm; κ of the kernels of `limit_activations` then has a
        limit as well, `fastntk.infinite.limit_condition_number`.
    own_architectures : tuple of str
        The architectures that functions of the user's describe: no setting below is theirs.
    seconds : float
        The time that this call took.
    stored : int
        How many of the results were in the store already.
    activation_scales : dict of str to float
        c_φ of each activation.
    weight_std, bias_std : float
    parametrization, dtype : str
        The settings of the networks.
    tolerance : float
        That of the kernels of infinite width.
    data : str or None
        What the samples are called, if that was said.

    Notes
    -----
    `plot` draws smallest angle and condition number against depth. Its panels are "smallest_angle"
    and "condition_number".
    """

    results: tuple[DepthResult, ...]
    n_samples: int
    widths: tuple[int, ...]
    batch_size: int | None
    bounds: bool
    limit_activations: tuple[str, ...]
    equal_norms: bool
    seconds: float
    stored: int
    activation_scales: Mapping[str, float]
    weight_std: float
    bias_std: float
    parametrization: str
    dtype: str
    tolerance: float
    data: str | None = None
    own_architectures: tuple[str, ...] = ()

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(result.activation for result in self.results))
        if self.has_architectures:
            kinds = dict.fromkeys(result.architecture for result in self.results)
            names = f"{', '.join(kinds)}; {names}"
        return (
            f"<DepthStudy: {counted(len(self.results), 'network')}, {names}; depths "
            f"{spans(result.depth for result in self.results)}; widths "
            f"{spans(result.width for result in self.results)}; {self.n_samples} samples>"
        )

    @property
    def has_architectures(self) -> bool:
        """Whether there are other networks than plain ones."""
        return any(result.architecture != "plain" for result in self.results)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of all networks, by the last columns of the table; see `to_frame`."""
        found: dict[str, Any] = {
            "weight_std": self.weight_std,
            "bias_std": self.bias_std,
            "parametrization": self.parametrization,
            "samples": self.n_samples,
        }
        if self.batch_size is not None:
            found["batch_size"] = self.batch_size
        if not all(math.isfinite(result.width) for result in self.results):
            found["tolerance"] = self.tolerance
        return found | named_data(self.data)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each network: activation, width, depth and seed.

        Returns
        -------
        DataFrame
            With the attributes of `DepthResult`; those of batches and bounds only if there are any,
            and those of architectures only if there are others than plain networks.
            The last columns are the settings of the network: ``activation_scale`` (c_φ),
            ``weight_std``, ``bias_std``, ``parametrization`` and ``dtype``, which is always float64
            at infinite width; and those of the study: ``samples``, how many there are,
            ``batch_size`` where there are batches, ``tolerance`` where infinite width is, and
            ``data``, what the samples are called, if that was said. The settings of
            `own_architectures` are NaN.
            Besides, ``worst_case_rate`` is 1 − 1/κ: gradient descent on the square loss at its best
            constant step multiplies the loss by no more than about this factor in each step [1]_.

        References
        ----------
        .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Equation 9.
        """
        import pandas as pd

        frame = pd.DataFrame([asdict(result) for result in self.results])
        rates = [result.worst_case_rate for result in self.results]
        _insert_after(frame, "condition_number", "worst_case_rate", rates)
        unasked = [] if self.batch_size is not None else list(_BATCH_COLUMNS)
        unasked += [] if self.bounds else list(_BOUND_COLUMNS)
        unasked += [] if self.has_architectures else list(_ARCHITECTURE_COLUMNS)
        frame = frame.drop(columns=unasked)
        own = np.array([result.architecture in self.own_architectures for result in self.results])
        scales = [self.activation_scales.get(result.activation, _NAN) for result in self.results]
        frame = frame.assign(activation_scale=scales, **self.settings)
        frame.loc[own, ["activation_scale", "weight_std", "bias_std"]] = _NAN
        dtypes = [self.dtype if math.isfinite(r.width) else "float64" for r in self.results]
        _insert_after(frame, "parametrization", "dtype", dtypes)
        return frame

    def summary(self) -> pd.DataFrame:
        """Return a table with a row for each activation, width and depth, over all seeds.

        Returns
        -------
        DataFrame
            With the column ``architecture`` if there are others than plain networks.
            ``smallest_angle`` (degrees), ``eigenvalue_min``, ``eigenvalue_max``,
            ``condition_number`` and, of batches, ``batch_condition_number`` are means over seeds,
            and ``…_std`` their standard deviations (NaN for a single seed); the mean of what is not
            resolved for some seed is NaN. ``worst_case_rate``, ``eigenvalue_min_bound``,
            ``batch_spread``, ``kernel_seconds`` and ``analysis_seconds`` are means as well.
            ``pair`` is the pair of samples with the smallest angle for most seeds, and
            ``pair_seeds`` for how many. ``angle_resolved`` says whether the smallest angle is
            resolved, and ``resolved`` whether λ_min is, for all seeds; ``rank``
            is the smallest one, ``noise_floor`` and ``memory_bytes`` the largest.
        """
        import pandas as pd

        spread = ["smallest_angle", "eigenvalue_min", "eigenvalue_max", "condition_number"]
        means = ["worst_case_rate", "eigenvalue_min_bound"]
        if self.batch_size is not None:
            spread.append("batch_condition_number")
            means.append("batch_spread")
        means += ["kernel_seconds", "analysis_seconds"]
        rows: list[dict[str, Any]] = []
        names = ["activation", "width", "depth"]
        if self.has_architectures:
            names.insert(0, "architecture")
        groups: Any = self.to_frame().groupby(names, sort=False)
        for found, cell in groups:
            row: dict[str, Any] = dict(zip(names, found, strict=True))
            for name in spread:
                row[name] = cell[name].mean(skipna=False)
                row[f"{name}_std"] = cell[name].std(skipna=False)
            row |= {name: cell[name].mean(skipna=False) for name in means}
            pairs = cell[["i", "j"]].value_counts()
            (i, j), count = pairs.index[0], int(pairs.iloc[0])
            row["pair"], row["pair_seeds"] = (int(i), int(j)), count
            row["seeds"] = len(cell)
            row["angle_resolved"] = bool(cell["angle_resolved"].all())
            row["resolved"] = bool(cell["resolved"].all())
            row["rank"] = int(cell["rank"].min())
            row["noise_floor"] = cell["noise_floor"].max()
            row["memory_bytes"] = int(cell["memory_bytes"].max())
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def limit_angle(self) -> float:
        """Smallest angle at infinite depth and width, in degrees; NaN without an activation of it.

        Numba is imported only here.
        """
        if not self.limit_activations:
            return _NAN
        from fastntk.infinite import limit_angle

        return math.degrees(limit_angle())

    @property
    def limit_condition_number(self) -> float:
        """κ at infinite depth and width, 1 + n/3; NaN where it is not known."""
        if not self.limit_activations or not self.equal_norms:
            return _NAN
        from fastntk.infinite import limit_condition_number

        return limit_condition_number(self.n_samples)


def _insert_after(frame: pd.DataFrame, column: str, name: str, values: Sequence[object]) -> None:
    at = frame.columns.tolist().index(column) + 1
    frame.insert(at, name, values)
