# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The cells of a depth study: what is measured of one kernel, and what it cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

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
from fastntk.studies.identities import array_digest
from fastntk.studies.runner import Cell
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk.kernels.rounding import KernelErrors
    from fastntk.studies.depth_families import Family
    from fastntk.studies.store import Values

# Part of every key in a store: to be raised with each change of the numbers below.
_ALGORITHM = 3

# Below this angle (in radians) the one read off the kernel has lost half of its digits, and is
# computed again from the differences of the closest pairs, of which there may be so many.
_REFINE_BELOW = 1e-4
_REFINE_PAIRS = 32


@dataclass(frozen=True)
class DepthCell(Cell):
    """One kernel of a depth study: that of a family at a depth."""

    family: Family
    depth: int


@dataclass(frozen=True)
class Measurement:
    """What is measured of kernels: the same for all cells of a study.

    Attributes
    ----------
    X : ndarray (n, d)
    batch_size : int or None
        Samples in a minibatch, if κ of minibatches is taken as well.
    bounds : bool
        Whether κ is enclosed.
    """

    X: FloatArray
    batch_size: int | None
    bounds: bool

    @cached_property
    def _samples(self) -> str:
        return array_digest(self.X)

    def cell(self, family: Family, depth: int) -> DepthCell:
        """Return a cell of the study, with all that decides its numbers.

        What can only change their last bits, such as the BLAS and its threads, is left out.
        """
        settings = {
            "samples": self._samples,
            **family.settings(depth),
            "depth": depth,
            "batches": self.batch_size,
            "bounds": self.bounds,
            "algorithm": _ALGORITHM,
            "fastntk": version("fastntk"),
        }
        return DepthCell(family.name, settings, family, depth)

    def numbers(self, family: Family, depths: Sequence[int]) -> Iterator[Values]:
        """Yield what is measured of the kernels of some depths, which come from one pass."""
        X = self.X
        started = time.perf_counter()
        kernels = family.kernels(X, depths)
        pass_seconds = time.perf_counter() - started
        pass_work = sum(family.work(X, depth) for depth in depths)
        # The factor of one of them is packed.
        memory = family.pass_bytes(X, depths) + 4 * len(X) * (len(X) + 1)
        for depth in depths:
            started = time.perf_counter()
            kernel = SymmetricMatrix.made(kernels.pop(depth))
            errors = family.errors(X, depth, kernel)
            # First of all, as this finds a kernel that overflowed.
            spectrum = conditioning(kernel, **errors, bounds=self.bounds)
            if self.bounds:
                spectrum = spectrum.widened(**family.further_errors(X, depth))
            pair = _closest_pair(X, kernel, family, depth)
            yield {
                "smallest_angle": float(np.degrees(pair.angle)),
                "i": pair.i,
                "j": pair.j,
                "angle_resolved": pair.resolved,
                **spectrum.numbers,
                "eigenvalue_min_bound": angle_bound(kernel, pair) if pair.i >= 0 else np.nan,
                **_of_batches(kernel, self.batch_size, max(family.seed, 0), errors),
                "kernel_seconds": pass_seconds * family.work(X, depth) / pass_work,
                "analysis_seconds": time.perf_counter() - started,
                "pass_depths": len(depths),
                "memory_bytes": memory,
            }


def _of_batches(
    kernel: SymmetricMatrix, batch_size: int | None, seed: int, errors: KernelErrors
) -> Values:
    """Return κ of minibatches; each network has a shuffle of its own, the same at all depths."""
    if batch_size is None:
        return {
            "batch_condition_number": np.nan,
            "batch_spread": np.nan,
            "batches": 0,
            "batches_resolved": 0,
        }
    found = batch_conditioning(kernel, batch_size, seed=seed, **errors)
    return {
        "batch_condition_number": found.mean,
        "batch_spread": found.std,
        "batches": len(found.batches),
        "batches_resolved": found.resolved,
    }


def _closest_pair(X: FloatArray, kernel: SymmetricMatrix, family: Family, depth: int) -> AnglePair:
    # Zero samples have no gradient, and neither have those for which a layer is dead.
    present = np.flatnonzero(np.diagonal(kernel.array) > 0)
    if len(present) < 2:
        return AnglePair(np.nan, -1, -1, resolved=False)
    if len(present) < len(X):
        kernel = SymmetricMatrix.made(kernel.submatrix(present), epsilon=kernel.epsilon)
    closest = smallest_angle(kernel)
    if closest.angle < _REFINE_BELOW:
        resolution = kernel_angle_resolution(kernel.epsilon)
        candidates = [
            pair
            for pair in closest_pairs(kernel, _REFINE_PAIRS)
            if pair.angle <= 2 * max(closest.angle, resolution)
        ]
        closest = family.closest(X[present], depth, candidates)
    i, j = int(present[closest.i]), int(present[closest.j])
    return AnglePair(closest.angle, i, j, closest.resolved)
