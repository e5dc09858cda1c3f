# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Smallest gradient angle and condition number against depth, with and without nonlinearity.

For each seed and activation the kernels of all depths come from one pass (`depth_sweep`), in
float64, of all pairs of samples; then each kernel's smallest angle (`angles`) and extreme
eigenvalues (`spectrum`) are taken.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import _progress, _validation, activations
from fastntk._atomic import replacing
from fastntk._memory import available_memory
from fastntk.angles import (
    AnglePair,
    closest_pairs,
    kernel_angle_resolution,
    smallest_angle,
)
from fastntk.depth_sweep import depth_groups, ntk_depths
from fastntk.eigenvalues import conditioning
from fastntk.mlp import MLP

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    import matplotlib.figure
    import numpy.typing as npt
    import pandas as pd

    from fastntk._progress import Progress
    from fastntk._typing import FloatArray
    from fastntk.activations import Activation

# Share of the available memory that the kernels of one pass may take; the rest is for factorizing
# them, and for others.
_MEMORY_SHARE = 0.4

# Below this angle (in radians) the one read off the kernel has lost half of its digits, and is
# computed again from the differences of the closest pairs, of which there may be so many.
_REFINE_BELOW = 1e-4
_REFINE_PAIRS = 32

# Two directions that agree to so many decimals count as parallel.
_PARALLEL_DIGITS = 12


@dataclass(frozen=True)
class DepthResult:
    """One cell of a study: one network, all pairs of samples.

    Attributes
    ----------
    activation : str
    depth : int
        The number of hidden layers.
    seed : int
    smallest_angle : float
        The smallest angle between the gradients of two samples, in degrees; NaN if fewer than two
        samples have a gradient.
    i, j : int
        These two samples; −1 if there are none.
    eigenvalue_min, eigenvalue_max, condition_number, resolved, noise_floor, rank
        Of the kernel, as in `fastntk.Conditioning`.
    """

    activation: str
    depth: int
    seed: int
    smallest_angle: float
    i: int
    j: int
    eigenvalue_min: float
    eigenvalue_max: float
    condition_number: float
    resolved: bool
    noise_floor: float
    rank: int


@dataclass(frozen=True)
class DepthStudy:
    """The result of `depth_study`.

    Attributes
    ----------
    results : tuple of DepthResult
    n_samples : int
    width : int
        Of every hidden layer.
    seconds : float
        The time that the study took.
    """

    results: tuple[DepthResult, ...]
    n_samples: int
    width: int
    seconds: float

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each network: activation, depth and seed."""
        import pandas as pd

        return pd.DataFrame([asdict(result) for result in self.results])

    def summary(self) -> pd.DataFrame:
        """Return a table with a row for each activation and depth, over all seeds.

        Returns
        -------
        DataFrame
            ``smallest_angle`` (degrees), ``eigenvalue_min``, ``eigenvalue_max`` and
            ``condition_number`` are means over seeds, and ``…_std`` their standard deviations (NaN
            for a single seed); the mean of what is not resolved for some seed is NaN. ``pair`` is
            the pair of samples with the smallest angle for most seeds, and ``pair_seeds`` for how
            many. ``resolved`` says whether λ_min is, for all seeds; ``rank`` is the smallest one.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for (activation, depth), cell in self.to_frame().groupby(
            ["activation", "depth"], sort=False
        ):
            row: dict[str, Any] = {"activation": activation, "depth": depth}
            for name in ("smallest_angle", "eigenvalue_min", "eigenvalue_max", "condition_number"):
                row[name] = cell[name].mean(skipna=False)
                row[f"{name}_std"] = cell[name].std(skipna=False)
            pairs = cell[["i", "j"]].value_counts()
            (i, j), count = pairs.index[0], int(pairs.iloc[0])
            row["pair"], row["pair_seeds"] = (int(i), int(j)), count
            row["seeds"] = len(cell)
            row["resolved"] = bool(cell["resolved"].all())
            row["rank"] = int(cell["rank"].min())
            row["noise_floor"] = cell["noise_floor"].max()
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self) -> matplotlib.figure.Figure:
        """Return a figure: smallest angle (left) and condition number (right) against depth."""
        from fastntk.figures import plot_depth_study

        return plot_depth_study(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table of `to_frame` to a CSV file, completely or not at all."""
        with replacing(path) as temporary:
            self.to_frame().to_csv(temporary, index=False)


def depth_study(
    X: npt.ArrayLike,
    *,
    depths: Sequence[int] = range(11),
    width: int = 512,
    seeds: int | Sequence[int] = 5,
    activations: Sequence[str | Activation] = ("relu", "identity"),
    dtype: npt.DTypeLike = "float32",
    progress: Progress = True,
) -> DepthStudy:
    """Measure the smallest gradient angle and the condition number of the NTK against depth.

    The experiment of Figure 3 of [1]_, on all samples at once.

    Parameters
    ----------
    X : array_like (n, d)
        Samples, one a row; at least two.
    depths : sequence of int
        Numbers of hidden layers. Depth 0 is the linear model: its kernel is the Gram matrix.
    width : int
        Of every hidden layer.
    seeds : int or sequence of int
        So many seeds 0, 1, …, or the seeds themselves.
    activations : sequence of str or Activation
        See `fastntk.activations`; "identity" is the linear network, the baseline.
    dtype : {"float32", "float64"}
        Precision of the networks. The Gram matrices are always in float64: a float32 network has
        the exact kernel of slightly rounded features, which moves a small λ_min by a relative 1e-5
        or so, whereas float32 Gram matrices would drown it. What such rounding can make of a λ_min
        that is 0 counts as noise.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each of the networks.

    Returns
    -------
    DepthStudy

    Warns
    -----
    UserWarning
        If samples are zero, or are multiples of each other: their kernels are singular.

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, "Better NTK conditioning: a free lunch from (ReLU)
       nonlinear activation in wide neural networks", arXiv 2305.08813.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((40, 5))
    >>> study = fastntk.depth_study(X, depths=[0, 4], width=256, seeds=2)
    >>> table = study.summary().set_index(["activation", "depth"])
    >>> bool(table.smallest_angle["relu", 4] > table.smallest_angle["relu", 0])
    True
    >>> table.resolved.tolist(), table["rank"].tolist()
    ([False, True, False, False], [5, 40, 5, 5])
    """
    samples = _validation.samples(X, "X")
    if len(samples) < 2:
        raise ValueError(f"X has shape {samples.shape}: expected at least two samples")
    plan = _Plan(
        depths=tuple(sorted(set(_validation.integers(depths, "depths", minimum=0)))),
        width=_validation.integer(width, "width", minimum=1),
        dtype=_validation.float_dtype(dtype).name,
    )
    if isinstance(seeds, int):
        seeds = range(_validation.integer(seeds, "seeds", minimum=1))
    seeds = _validation.integers(seeds, "seeds", minimum=0)
    functions = _named_activations(activations)
    _warn_of_singular_kernels(samples)

    started = time.perf_counter()
    results: list[DepthResult] = []
    total = len(seeds) * len(functions) * len(plan.depths)
    with _progress.monitor(progress, "depth study") as monitor:
        for seed in seeds:
            for name, phi in functions.items():
                for result in plan.run(samples, name, phi, seed):
                    results.append(result)
                    if monitor is not None:
                        monitor(f"{name}, seed {seed}", len(results), total)
    order = {name: position for position, name in enumerate(functions)}
    results.sort(key=lambda r: (order[r.activation], r.depth, r.seed))
    return DepthStudy(
        tuple(results), len(samples), plan.width, seconds=time.perf_counter() - started
    )


@dataclass(frozen=True)
class _Plan:
    depths: tuple[int, ...]
    width: int
    dtype: str

    def run(
        self, X: FloatArray, name: str, activation: Activation, seed: int
    ) -> Iterator[DepthResult]:
        """Yield the result of each depth."""
        memory = available_memory()
        groups = depth_groups(
            self.depths,
            samples=len(X),
            input_width=X.shape[1],
            width=self.width,
            memory=None if memory is None else int(_MEMORY_SHARE * memory),
        )
        for group in groups:
            kernels = ntk_depths(
                X,
                group,
                width=self.width,
                activation=activation,
                seed=seed,
                network_dtype=self.dtype,
                dtype="float64",
                # Lets Ctrl-C through; the study has a bar of its own.
                progress=False,
            )
            for depth in group:
                kernel = kernels.pop(depth)
                pair = self._closest_pair(X, kernel, activation, depth, seed)
                spectrum = conditioning(kernel, feature_error=self._feature_error(depth))
                yield DepthResult(
                    activation=name,
                    depth=depth,
                    seed=seed,
                    smallest_angle=float(np.degrees(pair.angle)),
                    i=pair.i,
                    j=pair.j,
                    eigenvalue_min=spectrum.eigenvalue_min,
                    eigenvalue_max=spectrum.eigenvalue_max,
                    condition_number=spectrum.condition_number,
                    resolved=spectrum.resolved,
                    noise_floor=spectrum.noise_floor,
                    rank=spectrum.rank,
                )

    def _feature_error(self, depth: int) -> float:
        # Roundings of the layers add up like independent ones. Measured on linear networks, where
        # the rank is known: √(0.3 depth) ε at most.
        return float(np.sqrt(depth + 1) * np.finfo(self.dtype).eps)

    def _closest_pair(
        self, X: FloatArray, kernel: FloatArray, activation: Activation, depth: int, seed: int
    ) -> AnglePair:
        # Zero samples have no gradient, nor have those for which all units of a layer are dead.
        present = np.flatnonzero(np.diagonal(kernel) > 0)
        if len(present) < 2:
            return AnglePair(np.nan, -1, -1, resolved=False)
        if len(present) < len(X):
            kernel = kernel[np.ix_(present, present)]
        closest = smallest_angle(kernel)
        if closest.angle < _REFINE_BELOW:
            net = MLP([X.shape[1], *[self.width] * depth, 1], activation=activation, seed=seed)
            resolution = kernel_angle_resolution(kernel.dtype)
            candidates = [
                pair
                for pair in closest_pairs(kernel, _REFINE_PAIRS)
                if pair.angle <= 2 * max(closest.angle, resolution)
            ]
            closest = min(net.pair_angles(X[present], [(p.i, p.j) for p in candidates]))
        return closest._replace(i=int(present[closest.i]), j=int(present[closest.j]))


def _named_activations(chosen: Sequence[str | Activation]) -> dict[str, Activation]:
    if isinstance(chosen, str):
        raise TypeError(f"activations={chosen!r}: expected a sequence of activations")
    result = {
        given if isinstance(given, str) else repr(given): activations.get(given) for given in chosen
    }
    if not result or len(result) < len(chosen):
        raise ValueError(f"activations={chosen!r}: expected at least one, each only once")
    return result


def _warn_of_singular_kernels(X: FloatArray) -> None:
    """Name the samples that make the kernel singular at every depth."""
    sizes = np.abs(X).max(axis=1)
    zero = np.flatnonzero(sizes == 0)
    if zero.size:
        warnings.warn(
            f"X has {zero.size} zero rows ({_listed(zero)}): their gradients are zero, so that κ "
            "is infinite; they are left out of the smallest angle",
            stacklevel=3,
        )
    present = np.flatnonzero(sizes > 0)
    # Rows that are positive multiples of each other, up to rounding, have parallel gradients.
    directions = (X[present] / sizes[present, np.newaxis]).round(_PARALLEL_DIGITS)
    _, first, inverse = np.unique(directions, axis=0, return_index=True, return_inverse=True)
    twins = np.flatnonzero(first[inverse] != np.arange(len(present)))
    if twins.size:
        pairs = np.column_stack([present[first[inverse[twins]]], present[twins]])
        warnings.warn(
            f"X has {twins.size} rows that repeat another, or a multiple of it (rows "
            f"{_listed(map(tuple, pairs.tolist()))}): the smallest angle is 0 and κ infinite",
            stacklevel=3,
        )


def _listed(items: Iterable[object], most: int = 5) -> str:
    listed = [str(item) for item in items]
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")
