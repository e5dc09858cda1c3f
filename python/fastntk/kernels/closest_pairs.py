# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The pairs of samples with the smallest angles between their gradients, and these angles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import fastntk._core as _core
from fastntk._support.progress import monitored
from fastntk._support.threads import core_threads
from fastntk.activations.outputs import in_core
from fastntk.kernels.angles import AnglePair
from fastntk.kernels.block_sizes import row_slices, samples_that_fit
from fastntk.kernels.existence import wired_passes
from fastntk.kernels.features import Features
from fastntk.kernels.largest_cosines import LargestCosines
from fastntk.kernels.rounding import feature_error, network_error
from fastntk.networks.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.kernels.request import KernelRequest
    from fastntk.networks.any_network import AnyNetwork

# So many pairs more than were asked for are looked at again with exact angles: the rounding of the
# kernel cannot order pairs whose angles are nearly the same.
CANDIDATES = 32

# So many of the usual errors of features what is subtracted may be off by. Some tens of them were
# measured (tests/test_angles.py); where gates turn, and in chaotic networks, more.
_ANGLE_ERRORS = 64

# The samples of so many pairs are laid side by side.
_PAIRS_AT_A_TIME = 1024


def closest_pairs(request: KernelRequest, count: int, progress: Progress) -> list[tuple[int, int]]:
    """Return the pairs (i, j) of samples with the largest cosines, of those with a gradient."""
    fit = samples_that_fit(request)
    if fit == request.samples:
        features = Features(request.network, request.X, request.outputs, request.dtype, progress)
        return [(i, j) for _, i, j in features.closest_pairs(count, progress)]
    found = LargestCosines(count)
    blocks = row_slices(request.samples, max(1, fit // 2))
    total = len(blocks) * (len(blocks) + 1) // 2
    with monitored(progress, "closest pairs") as monitor:
        for k, rows in enumerate(blocks):
            x = _features(request, rows)
            for m, columns in enumerate(blocks[: k + 1]):
                z = x if m == k else _features(request, columns)
                offer_tile(found, x, z, rows, columns)
                del z  # before there are others
                if monitor is not None:
                    monitor("blocks", k * (k + 1) // 2 + m + 1, total)
            del x
    return found.pairs


def _features(request: KernelRequest, rows: slice) -> Features:
    return Features(request.network, request.X[rows], request.outputs, request.dtype)


def offer_tile(
    found: LargestCosines, x: Features, z: Features, rows: slice, columns: slice
) -> None:
    """Offer all pairs of samples of two blocks, or of one.

    Parameters
    ----------
    found : LargestCosines
        Those that were found before, and takes the others.
    x, z : Features
        Of the samples in `rows`, and of those in `columns`: the same, or others that come before.
    rows, columns : slice
        Which of all samples these are.
    """
    others = None if rows == columns else z
    pairs = x.closest_pairs(found.count, False, others)
    if pairs:
        cosines, i, j = (np.array(each) for each in zip(*pairs, strict=True))
        found.take(cosines, i + columns.start, j + rows.start)


def pair_angles(
    network: AnyNetwork, X: FloatArray, pairs: Sequence[tuple[int, int]]
) -> list[AnglePair]:
    """Return the angles between the gradients at pairs of samples, in float64.

    They come from the differences of the samples, and keep their digits however small these are.
    Where a small angle is between samples that are not close, as those of which one is nearly a
    multiple of the other, it is told from the rounding of what is subtracted.
    """
    exact = network.with_dtype(np.dtype(np.float64))
    samples = X.astype(np.float64, copy=False)
    handle, found = exact.handle(), []
    with core_threads() as threads:
        for first in range(0, len(pairs), _PAIRS_AT_A_TIME):
            some = pairs[first : first + _PAIRS_AT_A_TIME]
            both = samples[np.array(some, dtype=np.intp)]  # (k, 2, d)
            if _is_homogeneous(network):
                both = _of_like_size(both)
            outputs, places = (0, network.n_outputs), [(2 * k, 2 * k + 1) for k in range(len(some))]
            rows = both.reshape(-1, X.shape[1])
            angles = _core.pair_angles(handle, outputs, rows, places, threads, None)
            found += [
                AnglePair(angle, i, j, resolved=bool(angle > least))
                for angle, (i, j), least in zip(angles, some, _resolution(exact, both), strict=True)
            ]
    return found


def _resolution(network: AnyNetwork, both: FloatArray) -> FloatArray:
    """Return what rounding hides of the angles of pairs of samples (k, 2, d)."""
    error = _ANGLE_ERRORS * network_error(network, network.dtype)
    # An activation that the core does not have, it knows no digits of a difference of but those of
    # the values.
    known = all(phi.in_core for _, phi in network.activations)
    if isinstance(network, Network):
        known = known and in_core(network.output_activation)
        # That of outputs is passed, too.
        passed = len(network.layers) - (1 if network.has_linear_outputs else 0)
        error = _ANGLE_ERRORS * feature_error(passed, network.dtype)
        grown: float | FloatArray = 1.0
    else:
        grown = wired_passes(network).cancellation(both)
    apart = _relative_differences(both) if known else np.ones(len(both))
    resolution: FloatArray = error * apart * grown
    return resolution


def _is_homogeneous(network: AnyNetwork) -> bool:
    """Return whether all gradients at a multiple of a sample are that multiple of those at it."""
    if not isinstance(network, Network):
        return False
    biases = any(layer.bias is not None for layer in network.layers)
    return network.activation.slopes is not None and network.has_linear_outputs and not biases


def _of_like_size(both: FloatArray) -> FloatArray:
    """Return pairs (k, 2, d) with the second times the power of two that brings it to the first.

    A power of two changes no digit; the difference is then as small as it can be.
    """
    exponents = np.frexp(np.abs(both).max(axis=2))[1]
    norms = np.linalg.norm(np.ldexp(both, -exponents[:, :, np.newaxis]), axis=2)
    present = norms.all(axis=1)
    ratios = norms[present, 1] / norms[present, 0]
    powers = np.zeros(len(both), dtype=np.intp)
    powers[present] = np.rint(np.log2(ratios) + np.diff(exponents[present], axis=1)[:, 0])
    result = both.copy()
    result[:, 1] = np.ldexp(both[:, 1], -powers[:, np.newaxis])
    # Nothing is won where that leaves the range of normal numbers.
    kept = np.ldexp(result[:, 1], powers[:, np.newaxis]) == both[:, 1]
    return np.where(kept.all(axis=1)[:, np.newaxis, np.newaxis], result, both)


def _relative_differences(both: FloatArray) -> FloatArray:
    """Return ‖x − z‖/max(‖x‖, ‖z‖) of pairs (k, 2, d)."""
    largest = np.abs(both).max(axis=(1, 2))
    scaled = np.ldexp(both, -np.frexp(largest)[1][:, np.newaxis, np.newaxis])
    norms = np.linalg.norm(scaled, axis=2).max(axis=1)
    # Squares of small differences would vanish.
    apart = np.hypot.reduce(scaled[:, 1] - scaled[:, 0], axis=1)
    relative: FloatArray = np.divide(apart, norms, out=np.zeros_like(norms), where=norms > 0)
    return relative
