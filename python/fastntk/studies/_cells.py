# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cells of a depth study: what is measured of one kernel, and what it cost."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.eigenvalues import conditioning
from fastntk.eigenvalues.minibatches import batch_conditioning
from fastntk.kernels.angles import (
    AnglePair,
    angle_bound,
    closest_pairs,
    kernel_angle_resolution,
    smallest_angle,
)
from fastntk.studies.results import DepthResult
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk.studies._families import Family

# Part of every key in a store: to be raised with each change of the numbers below.
_ALGORITHM = 1

# Below this angle (in radians) the one read off the kernel has lost half of its digits, and is
# computed again from the differences of the closest pairs, of which there may be so many.
_REFINE_BELOW = 1e-4
_REFINE_PAIRS = 32


def settings_of(
    family: Family, depth: int, *, samples: str, batches: int | None, bounds: bool
) -> dict[str, Any]:
    """Return all that decides the numbers of a cell, for a store; `samples` is their digest.

    What can only change their last bits, such as the BLAS and its threads, is left out.
    """
    return {
        "samples": samples,
        **family.settings(),
        "depth": depth,
        "batches": batches,
        "bounds": bounds,
        "algorithm": _ALGORITHM,
        "fastntk": version("fastntk"),
    }


def measure(
    X: FloatArray, family: Family, depths: Sequence[int], batches: int | None, bounds: bool
) -> Iterator[DepthResult]:
    """Yield what is measured of the kernels of some depths, which come from one pass."""
    started = time.perf_counter()
    kernels = family.kernels(X, depths)
    pass_seconds = time.perf_counter() - started
    pass_work = sum(family.work(X, depth) for depth in depths)
    # The factor of one of them is packed.
    memory = family.pass_bytes(X, depths) + 4 * len(X) * (len(X) + 1)
    for depth in depths:
        started = time.perf_counter()
        kernel = SymmetricMatrix.made(kernels.pop(depth))
        # First of all, as this finds a kernel that overflowed.
        extremes = conditioning(kernel, feature_error=family.feature_error(depth), bounds=bounds)
        pair = _closest_pair(X, kernel, family, depth)
        yield DepthResult(
            activation=family.label,
            width=family.width,
            depth=depth,
            seed=family.seed,
            smallest_angle=float(np.degrees(pair.angle)),
            i=pair.i,
            j=pair.j,
            **extremes.numbers,
            eigenvalue_min_bound=_bound(kernel, pair),
            **_batches(kernel, family, depth, batches),
            kernel_seconds=pass_seconds * family.work(X, depth) / pass_work,
            analysis_seconds=time.perf_counter() - started,
            pass_depths=len(depths),
            memory_bytes=memory,
        )


def _bound(kernel: SymmetricMatrix, pair: AnglePair) -> float:
    return angle_bound(kernel, pair) if pair.i >= 0 else float("nan")


def _batches(
    kernel: SymmetricMatrix, family: Family, depth: int, batch_size: int | None
) -> dict[str, Any]:
    if batch_size is None:
        return {}
    # Each network has a shuffle of its own, the same at all depths; as in the authors' code.
    found = batch_conditioning(
        kernel, batch_size, seed=max(family.seed, 0), feature_error=family.feature_error(depth)
    )
    return {
        "batch_condition_number": found.mean,
        "batch_spread": found.std,
        "batches": len(found.batches),
        "batches_resolved": found.resolved,
    }


def _closest_pair(X: FloatArray, kernel: SymmetricMatrix, family: Family, depth: int) -> AnglePair:
    # Zero samples have no gradient, nor have those for which all units of a layer are dead.
    present = np.flatnonzero(np.diagonal(kernel.array) > 0)
    if len(present) < 2:
        return AnglePair(np.nan, -1, -1, resolved=False)
    if len(present) < len(X):
        kernel = SymmetricMatrix.made(kernel.submatrix(present))
    closest = smallest_angle(kernel)
    if closest.angle < _REFINE_BELOW:
        resolution = kernel_angle_resolution(kernel.dtype)
        candidates = [
            pair
            for pair in closest_pairs(kernel, _REFINE_PAIRS)
            if pair.angle <= 2 * max(closest.angle, resolution)
        ]
        closest = family.closest(X[present], depth, candidates)
    return closest._replace(i=int(present[closest.i]), j=int(present[closest.j]))
