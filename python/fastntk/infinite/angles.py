# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the layers make of an angle: between samples, and between gradients.

Liu, Bi, Hui, Liu, "Better NTK conditioning: a free lunch from (ReLU) nonlinear activation in wide
neural networks", arXiv 2305.08813.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.angles import angle_from_gap
from fastntk.devices import matrices
from fastntk.infinite.gaps import gaps_of_angles
from fastntk.infinite.kernel_matrices import require_nonzero
from fastntk.infinite.layer_factors import NTK
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import Tile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastntk.infinite.architecture import Architecture

_ANGLES_AT_ONCE = 2**16


def angles_after_layers(
    network: Architecture, theta: ArrayLike, *, gradient: bool
) -> NDArray[np.float64]:
    """Return the angle between gradients, or after the last layer, of samples at an angle θ.

    Parameters
    ----------
    network : Architecture
        The network; for several depths, the result has a first axis for these.
    theta : array_like
        Angles of samples of norm √d, in [0, π].
    gradient : bool
        Whether the angle is that between the gradients of the output.

    Returns
    -------
    ndarray, of the shape of theta
    """
    angles = matrices.host_array(theta, "theta")
    matrices.require_real(angles, "theta")
    angles = angles.astype(np.float64)
    bad = angles[~((angles >= 0) & (angles <= math.pi))]
    if bad.size:
        raise ValueError(f"theta={float(bad.flat[0])!r}: expected angles between 0 and π")
    if gradient:
        network.require_tangent_kernel()
        if network.parametrization == "standard":
            raise ValueError(
                "parametrization='standard': expected 'ntk', because the weight of the first layer "
                "in the kernel then depends on the number of inputs, which angles do not tell"
            )
    flat = angles.ravel()
    gaps = gaps_of_angles(flat)
    found = np.empty((len(network.depths), 1, flat.size))
    one = Samples.of(np.ones((1, 1)))
    for first in range(0, flat.size, _ANGLES_AT_ONCE):
        part = gaps[np.newaxis, first : first + _ANGLES_AT_ONCE].copy()
        many = Samples.of(np.ones((part.size, 1)))
        pairs = Pairs.of(one, many, network, unit_norms=network.keeps_unit_norms)
        if gradient:
            require_nonzero(pairs.factors.zero[NTK], "theta", network.depths)
        tile = Tile(slice(0, 1), slice(0, part.size), diagonal=False)
        results = Results.of_gaps(found, 1, part.size, gradient=gradient)
        pairs.propagate_gaps(part, tile, results, (0, first))
    result = angle_from_gap(found[:, 0])
    if network.depths[0] == 0 and network.layers.bias_std[0] == 0:
        result[0] = flat  # no rounding at all, not even close to π
    result = result[[network.depths.index(depth) for depth in network.asked]]
    depths = () if isinstance(network.depth, int) else (len(network.asked),)
    return result.reshape(depths + angles.shape)
