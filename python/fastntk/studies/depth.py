# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Smallest gradient angle and condition number against depth, with and without nonlinearity.

For each seed, architecture, activation and width (`depth_networks`) the kernels of all depths come
from one pass (`depth_families`; those of networks with blocks from `described_families`), in
float64, of all pairs of samples; then the smallest angle and the extreme eigenvalues of each kernel
are taken (`depth_cells`) and, if there is a file for them (`store`), kept there one by one
(`runner`).
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk._support.dask_workers import checked_client, workers_of
from fastntk._support.progress import monitored, require_progress
from fastntk.activations.activation import activation_label
from fastntk.activations.compiled import core_activation
from fastntk.devices import matrices
from fastntk.networks.initialization import PARAMETRIZATIONS, checked_scale
from fastntk.studies.depth_cells import DepthCell, Measurement
from fastntk.studies.depth_families import DEFAULT_TOLERANCE
from fastntk.studies.depth_networks import (
    NetworkSettings,
    checked_architectures,
    families_of,
)
from fastntk.studies.depth_results import DepthResult, DepthStudy
from fastntk.studies.runner import Runner, on_workers
from fastntk.studies.samples import examine
from fastntk.studies.store import StudyStore

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Sequence

    import numpy.typing as npt

    from fastntk._support.progress import Progress
    from fastntk.activations import Activation
    from fastntk.studies.depth_families import Family
    from fastntk.studies.depth_networks import AnyArchitecture
    from fastntk.studies.store import Values


def depth_study(
    X: npt.ArrayLike,
    *,
    architecture: AnyArchitecture | Sequence[AnyArchitecture] = "plain",
    residual_scale: float | str | Sequence[float | str] = 1.0,
    depths: Sequence[int] = range(11),
    width: int | Sequence[int] = 512,
    seeds: int | Sequence[int] = 5,
    activations: Sequence[str | Activation] = ("relu", "identity"),
    activation_scale: float | None = None,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    parametrization: str = "ntk",
    dtype: npt.DTypeLike = "float32",
    infinite: bool = False,
    tolerance: float = DEFAULT_TOLERANCE,
    batches: int | None = None,
    bounds: bool = False,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = True,
    client: Any = None,
    data: str | None = None,
) -> DepthStudy:
    """Measure the smallest gradient angle and the condition number of the NTK against depth.

    The experiment of Figure 3 of [1]_, on all samples at once.

    Parameters
    ----------
    X : array_like (n, d)
        Samples, one a row; at least two.
    architecture : str, Architecture or callable, or a sequence of these
        "plain", "residual", "prenorm" or "postnorm", see `fastntk.architectures.Architecture`; or
        a function of the depth alone that returns its `fastntk.Network`, to which the settings of
        layers below do not apply. Several are studied side by side.
    residual_scale : float or "1/sqrt(L)", or a sequence of these
        α of the blocks of architectures that are given by name; several are studied side by side.
    depths : sequence of int
        Numbers of hidden layers, or of blocks. Depth 0 of plain networks is the linear model: its
        kernel is the Gram matrix.
    width : int or sequence of int
        The width of every hidden layer; several widths are studied side by side.
    seeds : int or sequence of int
        So many seeds 0, 1, …, or the seeds themselves.
    activations : sequence of str or Activation
        See `fastntk.activations`; "identity" is the linear network, the baseline.
    activation_scale : float, optional
        c_φ of all activations, as for `fastntk.MLP`; by default that of each activation.
    weight_std, bias_std, parametrization
        As for `fastntk.MLP`; other networks than plain ones exist in the NTK parametrization only.
    dtype : {"float32", "float64"}
        Precision of the weights, to which networks of finite width round the samples, too: what
        differs by less than a relative 1e-7 becomes one in float32. They pass through the networks
        in float64, and the Gram matrices are in float64: float32 would drown a small λ_min.
    infinite : bool
        Whether to set the networks of infinite width beside the others, in rows of their own. They
        exist in the NTK parametrization only.
    tolerance : float
        With `infinite`: relative error allowed there to the dual of an activation without a closed
        form, see `fastntk.infinite.Network`.
    batches : int, optional
        Take κ of minibatches of so many samples as well, as the authors of [1]_ do, see
        `fastntk.batch_conditioning`; each seed has a shuffle of its own.
    bounds : bool
        Also enclose each κ in an interval that holds despite all rounding, that of the kernel
        included, see `fastntk.conditioning` and `MLP.ntk_errors`: from a depth of about 10 on,
        where nothing useful is proved, it is wide or has no end; with normalizations from half of
        that on, see `FiniteNetwork.ntk_errors`.
    store : path-like, optional
        An SQLite file in which each network is kept as soon as it is finished, and looked up
        before it is computed: a study that was killed goes on from there when it is started again.
        Several studies may share a file, and several processes: what both are at in the same
        moment is computed twice and kept once. Networks are recognized by their samples and
        settings, and by the version of fastntk.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each of the networks.
    client : distributed.Client, optional
        Compute on the workers of this cluster of Dask, the networks of one pass a task: those of a
        width, seed and activation, at as many depths as fit in memory (of networks with blocks of
        finite width, one). The numbers are the same;
        those of a worker that is lost are computed by another one. Only this process writes to
        `store`.
    data : str, optional
        What the samples are called, for the table: the `name` of a `fastntk.datasets.Dataset`, or
        any other.

    Returns
    -------
    DepthStudy

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense; if `store` is damaged, or not a store; if an activation
        or an architecture has no tangent kernel at infinite width.
    OSError
        If `store` cannot be written, or the scheduler of `client` is lost; what the store has
        already stays there.
    MemoryError
        If a kernel does not fit in the memory that is available.

    Warns
    -----
    UserWarning
        If samples are zero, or are multiples of each other, where that makes kernels singular; or
        if samples that differ do not in `dtype`.

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

    Residual networks of both scales, without a second row for each activation:

    >>> study = fastntk.depth_study(
    ...     X,
    ...     architecture="residual",
    ...     residual_scale=[1, "1/sqrt(L)"],
    ...     depths=[4],
    ...     width=64,
    ...     activations=["relu"],
    ... )
    >>> study.summary().architecture.tolist()
    ['residual', 'residual(1/sqrt(L))']
    """
    samples = matrices.samples(X, "X")
    if len(samples) < 2:
        raise ValueError(f"X has shape {samples.shape}: expected at least two samples")
    levels = tuple(sorted(set(arguments.depths(depths))))
    widths = _several(width, "width")
    numbers = tuple(sorted(arguments.seeds(seeds)))
    functions = _named_activations(activations)
    store = arguments.optional_path(store, "store")
    called = arguments.optional_label(data, "data")
    require_progress(progress)
    client = checked_client(client)
    measurement = Measurement(
        samples,
        batch_size=_batch_size(batches, len(samples)),
        bounds=arguments.flag(bounds, "bounds"),
    )
    with_limits = _validated_infinite(infinite, parametrization)
    settings = NetworkSettings(
        activations=functions,
        activation_scale=checked_scale(activation_scale),
        weight_std=arguments.real(weight_std, "weight_std", minimum=0.0, exclusive=True),
        bias_std=arguments.real(bias_std, "bias_std", minimum=0.0),
        parametrization=arguments.choice(parametrization, "parametrization", PARAMETRIZATIONS),
        dtype=arguments.float_dtype(dtype).name,
        tolerance=_validated_tolerance(tolerance, infinite=with_limits),
        infinite=with_limits,
    )
    kinds = checked_architectures(architecture, residual_scale, settings.parametrization)
    families = families_of(
        kinds, settings, inputs=samples.shape[1], depths=levels, widths=widths, seeds=numbers
    )
    findings = examine(samples, settings.dtype)
    biased = settings.bias_std > 0 and not any(callable(kind) for kind in kinds.values())
    for message in findings.warnings(biased=biased):
        warnings.warn(message, stacklevel=2)

    started = time.perf_counter()
    with (
        nullcontext() if store is None else StudyStore(store) as opened,
        monitored(progress, "depth study") as report,
    ):
        runner = Runner(opened, len(families) * len(levels), report)
        # In this process one family after the other is looked up: another process may have stored
        # its cells meanwhile. Workers are given all at once.
        results = [
            result
            for some in ([families] if client is not None else [[each] for each in families])
            for result in _results(runner, measurement, some, levels, client)
        ]
    order = list(kinds), [*functions, *(f.label for f in families)]
    results.sort(
        key=lambda r: (
            *(order[0].index(r.architecture), order[1].index(r.activation)),
            *(r.width, r.depth, r.seed),
        )
    )
    generic = findings.in_general_position and settings.bias_std == 0
    return DepthStudy(
        results=tuple(results),
        n_samples=len(samples),
        widths=tuple(sorted({int(f.width) for f in families if math.isfinite(f.width)})),
        batch_size=measurement.batch_size,
        bounds=measurement.bounds,
        limit_activations=tuple(
            label
            for label, phi in functions.items()
            if generic and "plain" in kinds and _has_limit_angle(phi)
        ),
        equal_norms=findings.equal_norms,
        seconds=time.perf_counter() - started,
        stored=runner.stored,
        activation_scales={
            label: phi.scale if settings.activation_scale is None else settings.activation_scale
            for label, phi in functions.items()
        },
        weight_std=settings.weight_std,
        bias_std=settings.bias_std,
        parametrization=settings.parametrization,
        dtype=settings.dtype,
        tolerance=settings.tolerance,
        data=called,
        own_architectures=tuple(name for name, kind in kinds.items() if callable(kind)),
    )


def _results(
    runner: Runner,
    measurement: Measurement,
    families: Sequence[Family],
    depths: Sequence[int],
    client: Any,
) -> list[DepthResult]:
    """Return the results of families at some depths."""

    def in_passes(cells: Sequence[DepthCell]) -> Generator[Values]:
        workers = workers_of(client)
        memory = None if workers.memory is None else workers.memory // workers.threads
        passes = [
            (family, group)
            for family, its in itertools.groupby(cells, key=lambda cell: cell.family)
            for group in family.passes(measurement.X, [cell.depth for cell in its], memory)
        ]
        if client is not None:
            yield from on_workers(client, Measurement.numbers, measurement, passes)
            return
        for family, group in passes:
            yield from measurement.numbers(family, group)

    cells = [measurement.cell(family, depth) for family in families for depth in depths]
    return [
        DepthResult(
            architecture=cell.family.architecture,
            residual_scale=cell.family.residual_scale(cell.depth),
            activation=cell.family.label,
            width=cell.family.width,
            depth=cell.depth,
            seed=cell.family.seed,
            **numbers,
        )
        for cell, numbers in zip(cells, runner.run(cells, in_passes), strict=True)
    ]


def _batch_size(batches: int | None, samples: int) -> int | None:
    if batches is None:
        return None
    return arguments.integer(batches, "batches", minimum=2, maximum=samples)


def _several(values: int | Sequence[int], name: str) -> tuple[int, ...]:
    if arguments.has_items(values):
        return tuple(sorted(set(arguments.integers(values, name, minimum=1))))  # type: ignore[arg-type]
    return (arguments.integer(values, name, minimum=1),)


def _validated_tolerance(tolerance: float, *, infinite: bool) -> float:
    allowed = arguments.tolerance(tolerance)
    if not infinite and allowed != DEFAULT_TOLERANCE:
        raise ValueError(
            f"tolerance={shown(tolerance)}: expected {DEFAULT_TOLERANCE:g} with infinite=False, it "
            "is that of networks of infinite width"
        )
    return allowed


def _validated_infinite(infinite: bool, parametrization: str) -> bool:
    if arguments.flag(infinite, "infinite") and parametrization != "ntk":
        raise ValueError(
            f"infinite=True with parametrization={shown(parametrization)}: expected 'ntk', because "
            "the kernel of the standard parametrization grows with the width"
        )
    return infinite


def _named_activations(chosen: Sequence[str | Activation]) -> dict[str, Activation]:
    chosen = arguments.items(chosen, "activations", "activations")
    result = {
        given if isinstance(given, str) else activation_label(phi): phi
        for given, phi in ((each, activations.get(each)) for each in chosen)
    }
    if not result or len(result) < len(chosen):
        raise ValueError(f"activations={shown(chosen)}: expected at least one, each only once")
    for activation in result.values():
        core_activation(activation)  # raises where there is none at finite width
    return result


def _has_limit_angle(activation: Activation) -> bool:
    """Return whether φ is linear on both sides of a kink, and not even: |x| has x and −x alike."""
    if activation.slopes is None:
        return False
    negative, positive = activation.slopes
    return abs(negative) != abs(positive)
