# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the layers make of an angle: between samples, and between gradients.

Liu, Bi, Hui, Liu, "Better NTK conditioning: a free lunch from (ReLU) nonlinear activation in wide
neural networks", arXiv 2305.08813.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support.angles import angle_from_gap
from fastntk.devices import matrices
from fastntk.infinite.architecture import Architecture
from fastntk.infinite.duals.base import ROUNDING
from fastntk.infinite.gap_bounds import RELATIVE_ERROR
from fastntk.infinite.gaps import UNDERFLOW, gaps_of_angles
from fastntk.infinite.layer_factors import NTK, require_nonzero
from fastntk.infinite.layered_bounds import bounded_gaps
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.several_depths import at_depth
from fastntk.infinite.tiles import Tile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastntk.infinite.several_depths import SeveralDepths

    Array = NDArray[np.float64]

_ANGLES_AT_ONCE = 2**12

# All terms of the compiled recursion are non-negative, for samples of one norm: relative errors of
# gaps do not grow, and the tests find no angle that is off by more than 1e-14.
_COMPILED_ERROR = 2.0**-44

# The gaps of angles from here on, θ²/2, are normal numbers, and so is what layers make of them.
_VANISHING = 2.0**-500


class Angles(NamedTuple):
    """Angles, and between which numbers their running error puts them.

    Attributes
    ----------
    angle, lower, upper : ndarray
    """

    angle: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @property
    def resolved(self) -> NDArray[np.bool_]:
        """Where the angles are known up to a relative 1e-3."""
        return np.asarray(self.upper - self.lower <= RELATIVE_ERROR * self.angle)


def angles_after_layers(
    network: SeveralDepths, theta: ArrayLike, *, gradient: bool, bounds: bool
) -> Angles:
    """Return the angle between gradients, or after the last layer, of samples at an angle θ.

    Parameters
    ----------
    network : SeveralDepths
        The network; for several depths, the result has a first axis for these.
    theta : array_like
        Angles of samples of norm √d, in [0, π].
    gradient : bool
        Whether the angle is that between the gradients of the output.
    bounds : bool
        Whether the caller looks at the bounds; otherwise, RuntimeWarning tells of angles that are
        not resolved.

    Returns
    -------
    Angles
        Of the shape of theta.
    """
    angles = matrices.host_array(theta, "theta")
    matrices.require_real(angles, "theta")
    angles = matrices.as_floats(angles, "theta", np.dtype(np.float64))
    bad = angles[~((angles >= 0) & (angles <= math.pi))]
    if bad.size:
        raise ValueError(f"theta={float(bad.flat[0])!r}: expected angles between 0 and π")
    if gradient:
        network.require_tangent_kernel()
        if isinstance(network, Architecture) and network.parametrization == "standard":
            raise ValueError(
                "parametrization='standard': expected 'ntk', because the weight of the first layer "
                "in the kernel then depends on the number of inputs, which angles do not tell"
            )
    flat = angles.ravel()
    result = np.empty((3, len(network.depths), flat.size))
    propagate = _compiled if network.piecewise_linear else _general
    for first in range(0, flat.size, _ANGLES_AT_ONCE):
        part = slice(first, first + _ANGLES_AT_ONCE)
        result[:, :, part] = propagate(network, flat[part], gradient=gradient)
    if _is_linear_map(network):
        result[:, 0] = flat  # no rounding at all, not even close to π
    result = result[:, [network.depths.index(depth) for depth in network.asked]]
    if not bounds:
        _warn_of_unresolved(network, flat, Angles(*result))
    depths = () if isinstance(network.depth, int) else (len(network.asked),)
    return Angles(*result.reshape(3, *depths, *angles.shape))


def _is_linear_map(network: SeveralDepths) -> bool:
    """Return whether the first of the depths has nothing but weights, which keep angles."""
    if not isinstance(network, Architecture) or network.depths[0] > 0:
        return False
    return network.layers.bias_std[0] == 0


def _keeps_unit_norms(network: SeveralDepths) -> bool:
    return isinstance(network, Architecture) and network.keeps_unit_norms


def _pairs(network: SeveralDepths, angles: int, *, gradient: bool) -> Pairs:
    """Return pairs of one sample with many others, all of the same norm."""
    one, many = Samples.of(np.ones((1, 1))), Samples.of(np.ones((angles, 1)))
    pairs = Pairs.of(one, many, network, unit_norms=_keeps_unit_norms(network))
    if gradient:
        require_nonzero(pairs.factors.zero[NTK], "theta", network)
    return pairs


def _compiled(network: SeveralDepths, theta: Array, *, gradient: bool) -> Array:
    """Return angles, which have nearly all digits, and their bounds: (3, depths, angles)."""
    vanished = (theta > 0) & (theta < _VANISHING)
    if vanished.any():
        found = _compiled(network, np.where(vanished, _VANISHING, theta), gradient=gradient)
        found[:, :, vanished] = _vanishing(network, theta[vanished], gradient=gradient)
        return found
    pairs = _pairs(network, theta.size, gradient=gradient)
    found = np.empty((len(network.depths), 1, theta.size))
    tile = Tile(slice(0, 1), slice(0, theta.size), diagonal=False)
    results = Results.of_gaps(found, 1, theta.size, gradient=gradient)
    pairs.propagate_gaps(gaps_of_angles(theta)[np.newaxis], tile, results, (0, 0))
    angle = angle_from_gap(found[:, 0])
    return np.stack([angle, angle * (1 - _COMPILED_ERROR), angle * (1 + _COMPILED_ERROR)])


def _vanishing(network: SeveralDepths, theta: Array, *, gradient: bool) -> Array:
    """Do as `_compiled` for angles so small that their gaps have lost digits.

    There all angles are multiples of a power of θ, but for a share of about √gap: of θ itself, or
    of √θ for gradients that turn where a unit switches.
    """
    both = _compiled(network, np.array([_VANISHING, 2 * _VANISHING]), gradient=gradient)[0]
    growth = np.divide(both[:, 1], both[:, 0], out=np.ones(len(both)), where=both[:, 0] > 0)
    power = np.rint(2 * np.log2(growth)) / 2
    angle = both[:, :1] * (theta / _VANISHING) ** power[:, np.newaxis]
    # What is below the smallest normal number is off by its last place.
    lower = np.nextafter(angle * (1 - _COMPILED_ERROR), 0.0)
    return np.stack([angle, lower, np.nextafter(angle * (1 + _COMPILED_ERROR), 1.0)])


def _general(network: SeveralDepths, theta: Array, *, gradient: bool) -> Array:
    """Return angles and their bounds: (3, depths, angles)."""
    pairs = _pairs(network, theta.size, gradient=gradient)
    rows, columns = slice(0, 1), slice(1, None)
    gaps = gaps_of_angles(theta)[np.newaxis]
    found = []
    error = np.where(theta > 0, ROUNDING * np.abs(gaps) + UNDERFLOW, 0.0)
    for both in bounded_gaps(pairs, rows, columns, gaps, error, tangent=gradient):
        bounded = both[gradient]
        found.append([bounded.gaps.angle[0], *(end[0] for end in bounded.angle_bounds)])
    return np.array(found).swapaxes(0, 1)


def _warn_of_unresolved(network: SeveralDepths, theta: Array, found: Angles) -> None:
    unresolved = np.argwhere(~found.resolved)
    if unresolved.size == 0:
        return
    k, i = unresolved[0]
    warnings.warn(
        f"theta={float(theta[i])!r}: the angle {at_depth(network, network.asked[k])} is between "
        f"{found.lower[k, i]:.4g} and {found.upper[k, i]:.4g}, no more is known "
        f"({len(unresolved)} such angles); expected larger angles, a smaller tolerance, or "
        "bounds=True, which returns both numbers",
        RuntimeWarning,
        stacklevel=4,
    )
