# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Angles between samples and between gradients at infinite width, and their limits.

Liu, Bi, Hui, Liu, "Better NTK conditioning: a free lunch from (ReLU) nonlinear activation in wide
neural networks", arXiv 2305.08813.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.angles import angle_from_gap
from fastntk.devices import matrices
from fastntk.eigenvalues import conditioning as _conditioning
from fastntk.infinite._architecture import Architecture, checked_depths
from fastntk.infinite._inputs import Samples
from fastntk.infinite._layers import NTK
from fastntk.infinite._propagation import Pairs, Target
from fastntk.infinite._recursion import TINY
from fastntk.infinite._tiles import Tile, for_each_tile
from fastntk.infinite.kernels import ntk, require_nonzero
from fastntk.kernels.angles import AnglePair
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.progress import Progress
    from fastntk.activations import Activation
    from fastntk.eigenvalues import Conditioning

_ANGLES_AT_ONCE = 2**16


def angle_map(theta: ArrayLike) -> NDArray[np.float64]:
    r"""Return the angle of two samples after one ReLU layer.

    .. math:: g(θ) = \arccos\left((1 - θ/π) \cos θ + \sin θ / π\right)

    to nearly all digits, from the smallest angles on [1]_.

    Parameters
    ----------
    theta : array_like
        Angles in [0, π].

    Returns
    -------
    ndarray, of the shape of theta
        At most θ, and equal to it only at 0.

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Lemma 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> infinite.angle_map([0.0, 1e-12, 1.0, np.pi]).round(4)
    array([0.    , 0.    , 0.8813, 1.5708])
    """
    return embedding_angle(theta, 1)


def embedding_angle(
    theta: ArrayLike, depth: int | Sequence[int] = 3, activation: str | Activation = "relu"
) -> NDArray[np.float64]:
    """Return the angle of two samples after some layers: for ReLU, g applied `depth` times.

    Parameters
    ----------
    theta : array_like
        Angles of samples of norm √d, in [0, π].
    depth : int or sequence of int
        Number of layers.
    activation : str or Activation
        φ; activations that are not homogeneous take their default scale, so that all layers keep
        the norm √d.

    Returns
    -------
    ndarray, of the shape of theta; for a sequence of depths, with a first axis for these

    Examples
    --------
    >>> from fastntk import infinite
    >>> infinite.embedding_angle(1.0, [0, 1, 10]).round(4)
    array([1.    , 0.8813, 0.4487])
    """
    return _angles(theta, depth, activation, gradient=False)


def gradient_angle(
    theta: ArrayLike, depth: int | Sequence[int] = 3, activation: str | Activation = "relu"
) -> NDArray[np.float64]:
    r"""Return the angle between the gradients of the output at two samples.

    For ReLU, with θ^l = g^l(θ),

    .. math:: \cos φ_L = \frac{1}{L + 1} \sum_{l=0}^{L} \cos θ^l \prod_{j=l}^{L-1} (1 - θ^j/π) .

    Parameters
    ----------
    theta : array_like
        Angles of samples of norm √d, in [0, π].
    depth : int or sequence of int
        L, the number of hidden layers.
    activation : str or Activation
        φ, see `embedding_angle`.

    Returns
    -------
    ndarray, of the shape of theta; for a sequence of depths, with a first axis for these

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Lemma 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> np.degrees(infinite.gradient_angle(0.05, [1, 3, 6])).round(5)
    array([ 7.7741 , 12.74962, 17.60961])
    >>> float(infinite.gradient_angle(1e-10, 1).round(8))
    5.64e-06
    """
    return _angles(theta, depth, activation, gradient=True)


def _angles(
    theta: ArrayLike,
    depth: int | Sequence[int],
    activation: str | Activation,
    *,
    gradient: bool,
) -> NDArray[np.float64]:
    angles = np.asarray(theta)
    if angles.dtype.kind not in "biuf":
        raise TypeError(f"theta has dtype {angles.dtype}: expected real numbers")
    angles = angles.astype(np.float64)
    bad = angles[~((angles >= 0) & (angles <= math.pi))]
    if bad.size:
        raise ValueError(f"theta={float(bad.flat[0])!r}: expected angles between 0 and π")
    asked = checked_depths(depth)
    network = Architecture.checked(
        depth, 1, activation=activation, tangent=gradient, unit_norms=True
    )
    flat = angles.ravel()
    acute = flat <= math.pi / 2
    gaps = np.where(acute, 2 * np.sin(flat / 2) ** 2, -np.maximum(2 * np.cos(flat / 2) ** 2, TINY))
    found = np.empty((len(network.depths), 1, flat.size))
    one = Samples.of(np.ones((1, 1)))
    for first in range(0, flat.size, _ANGLES_AT_ONCE):
        part = gaps[np.newaxis, first : first + _ANGLES_AT_ONCE].copy()
        many = Samples.of(np.ones((part.size, 1)))
        target = _gap_target(found, 1, part.size)
        unwanted = _gap_target(found[:0], 1, part.size)
        both = (unwanted, target) if gradient else (target, unwanted)
        tile = Tile(slice(0, 1), slice(0, part.size), diagonal=False)
        Pairs.of(one, many, network).propagate_gaps(part, tile, 0.0, *both, (0, first))
    result = angle_from_gap(found[:, 0])
    for k, each in enumerate(network.depths):
        if each == 0:  # no rounding at all, not even close to π
            result[k] = flat
    result = result[[network.depths.index(each) for each in asked]]
    return result.reshape(np.shape(depth) + angles.shape)


def _gap_target(out: NDArray[np.float64], rows: int, columns: int) -> Target:
    depths = len(out)
    return Target(out, np.full((depths, rows), -1.0), np.ones((depths, columns)))


def smallest_angle(
    X: ArrayLike,
    depth: int = 3,
    activation: str | Activation = "relu",
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    *,
    progress: Progress = False,
) -> AnglePair:
    """Return the smallest angle between the gradients of two samples, and which they are.

    No kernel is formed; small angles keep their digits.

    Parameters
    ----------
    X : array_like (n, d)
        At least two samples, one a row.
    depth, activation, weight_std, bias_std, progress
        As for `ntk`.

    Returns
    -------
    AnglePair
        The first pair of those at the smallest angle. For piecewise linear activations it is always
        resolved; for those with a closed form from about 1e-6 on; for all others, whose Hermite
        series have a relative error of 1e-10, from about 1e-4 on.

    Examples
    --------
    >>> from fastntk import infinite
    >>> pair = infinite.smallest_angle([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-9]], depth=2)
    >>> pair.i, pair.j, round(pair.angle, 9)
    (0, 2, 2.5231e-05)
    """
    samples = Samples.of(matrices.samples(X, "X"))
    n = len(samples)
    if n < 2:
        raise ValueError(f"X has shape {samples.rows.shape}: expected at least two samples")
    network = Architecture.checked(
        arguments.integer(depth, "depth", minimum=0),
        samples.norms.dimension,
        activation=activation,
        weight_std=weight_std,
        bias_std=bias_std,
    )
    pairs = Pairs.of(samples, None, network)
    require_nonzero(pairs.factors.zero[NTK], "X", network.depths)

    def work(tile: Tile) -> tuple[float, int, int]:
        rows, columns = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
        gaps = np.full((1, rows, columns), np.inf)  # stays so left of the diagonal
        scales = np.ones((1, n))
        pairs.propagate(
            tile,
            0.0,
            Target(gaps[:0], scales[:0], scales[:0]),
            Target(gaps, -scales, scales),
            (0, 0),
        )
        if tile.diagonal:
            gaps[0][np.tril_indices(rows, 0, columns)] = np.inf
        i, j = np.unravel_index(int(gaps.argmin()), (rows, columns))
        return float(gaps[0, i, j]), tile.rows.start + int(i), tile.columns.start + int(j)

    gap, i, j = min(for_each_tile(work, pairs.tiles(), progress, "smallest angle"))
    # Each of the L + 1 terms has the errors of up to L gaps, and of their product.
    error = 2 * network.dual.gap_error * (network.depths[0] + 1) ** 2
    return AnglePair(float(angle_from_gap(np.array(gap))), i, j, error == 0 or gap > error)


def limit_angle() -> float:
    """Return the angle between gradients at infinite depth: arccos(1/4) = 75.52°.

    For ReLU and all other piecewise linear activations with a kink, without biases, whatever the
    angle of the samples, unless they are parallel.

    Returns
    -------
    float

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Theorem 3.5.

    Examples
    --------
    >>> import math
    >>> from fastntk import infinite
    >>> round(math.degrees(infinite.limit_angle()), 4)
    75.5225
    """
    return math.acos(0.25)


def limit_kernel(n: int) -> NDArray[np.float64]:
    """Return the normalized kernel of n samples at infinite depth: 1, and 1/4 off the diagonal.

    Parameters
    ----------
    n : int
        Number of samples, no two of them parallel.

    Returns
    -------
    ndarray (n, n)

    Examples
    --------
    >>> from fastntk import infinite
    >>> infinite.limit_kernel(2)
    array([[1.  , 0.25],
           [0.25, 1.  ]])
    """
    n = arguments.integer(n, "n", minimum=1)
    result = np.full((n, n), 0.25)
    np.fill_diagonal(result, 1.0)
    return result


def limit_condition_number(n: int) -> float:
    """Return the condition number of `limit_kernel`: 1 + n/3, or 1 for a single sample.

    Parameters
    ----------
    n : int
        Number of samples, no two of them parallel.

    Returns
    -------
    float

    Examples
    --------
    >>> from fastntk import infinite
    >>> infinite.limit_condition_number(300)
    101.0
    """
    n = arguments.integer(n, "n", minimum=1)
    return 1.0 if n == 1 else 1 + n / 3


def conditioning(
    X: ArrayLike,
    depths: int | Sequence[int],
    activation: str | Activation = "relu",
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    *,
    layer_weights: ArrayLike | None = None,
    normalize: bool = False,
    progress: Progress = False,
) -> tuple[Conditioning, ...]:
    """Return λ_min, λ_max and κ of the tangent kernel at each depth.

    One kernel at a time is held, in float64 whatever the dtype of X.

    Parameters
    ----------
    X : array_like (n, d)
        Samples, one a row.
    depths : int or sequence of int
        Numbers of hidden layers.
    activation, weight_std, bias_std, normalize, progress
        As for `ntk`.
    layer_weights : array_like, optional
        As for `ntk`, for the deepest network; others take the first of them.

    Returns
    -------
    tuple of Conditioning
        One for each depth, in the order given.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.random.default_rng(0).standard_normal((100, 20))
    >>> [round(c.condition_number, 1) for c in infinite.conditioning(X, [1, 3, 10])]
    [189.7, 139.3, 127.1]
    """
    asked = checked_depths(depths)
    samples = matrices.samples(X, "X", np.dtype(np.float64))
    weights = None
    if layer_weights is not None:
        Architecture.checked(asked, samples.shape[1], layer_weights=layer_weights)
        weights = np.asarray(layer_weights)
    return tuple(
        _conditioning(
            SymmetricMatrix.made(
                ntk(
                    samples,
                    depth=depth,
                    activation=activation,
                    weight_std=weight_std,
                    bias_std=bias_std,
                    layer_weights=None if weights is None else weights[: depth + 1],
                    normalize=normalize,
                    progress=progress,
                )
            )
        )
        for depth in asked
    )
