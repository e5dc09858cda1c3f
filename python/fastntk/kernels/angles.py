# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Angles between gradients, from their kernel.

Their digits are limited by the rounding of the kernel that they come from, see
`kernel_angle_resolution`; those of `MLP.smallest_angle`, which has the samples themselves, are not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support import arguments
from fastntk._support.angles import angle_from_cosine
from fastntk._support.memory import require_memory
from fastntk.kernels.largest_cosines import LEFT_OUT, LargestCosines
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray

# Relative error of a kernel entry, in units of ε: the sums behind it have some thousand terms, and
# blocked summation keeps their error far below its worst case (tests/test_angles.py checks it).
_ENTRY_ERROR = 32


class AnglePair(NamedTuple):
    """The smallest angle of a set of vectors, and where it is.

    Attributes
    ----------
    angle : float
        In radians.
    i, j : int
        The two samples, i < j.
    resolved : bool
        An estimate, no proof: whether the angle is above what the rounding of its source hides as a
        rule. Of a kernel, whose entries are taken to be right to 32 ε of the precision that it came
        in, that is 2√(32 ε); of the passes through a network, 64 times the usual error of their
        features times the relative distance of the samples. If not, the true angle is as a rule
        between 0 and that resolution.
    """

    angle: float
    i: int
    j: int
    resolved: bool


def kernel_angle_resolution(epsilon: float) -> float:
    """Return the angle below which a kernel of this precision cannot tell two samples apart.

    With entries of relative error δ, 1 − cos φ ≈ φ²/2 has the absolute error 2δ, so that angles
    below 2√δ drown: 1.7e-7 in float64, 3.9e-3 in float32.
    """
    return 2 * math.sqrt(_ENTRY_ERROR * epsilon)


def _cosines(
    kernel: FloatArray, norms: npt.NDArray[np.float64], rows: slice
) -> npt.NDArray[np.float64]:
    cosines = kernel[rows].astype(np.float64)
    cosines /= norms[rows, np.newaxis] * norms  # symmetric to the last bit
    return np.clip(cosines, -1.0, 1.0, out=cosines)


def _norms(kernel: FloatArray) -> npt.NDArray[np.float64]:
    diagonal = np.diagonal(kernel).astype(np.float64)
    bad = np.flatnonzero(diagonal <= 0)
    if bad.size:
        i = int(bad[0])
        raise ValueError(
            f"K[{i}, {i}]={diagonal[i]}: expected a positive diagonal; the angle to a zero "
            f"gradient is not defined (so it is for {bad.size} of {diagonal.size} samples)"
        )
    return np.sqrt(diagonal)


def _row_slices(n: int) -> Iterator[slice]:
    # The working memory is a few blocks of this many entries, whatever the size of the kernel.
    step = max(1, 2**21 // n)
    for first in range(0, n, step):
        yield slice(first, min(n, first + step))


def gradient_angles(K: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the angles between all gradients, from their kernel.

    Parameters
    ----------
    K : array_like (n, n)
        A tangent kernel, or any other Gram matrix.

    Returns
    -------
    ndarray (n, n)
        φ_ij = ∠(∇f(x_i), ∇f(x_j)) in radians, with cos φ_ij = K_ij / √(K_ii K_jj) [1]_; 0 on the
        diagonal. Angles below 1.7e-7 (from a float32 kernel: 3.9e-3) drown in the rounding of K.

    Raises
    ------
    ValueError
        If K is not symmetric, or if a diagonal entry is not positive.

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, "Better NTK conditioning: a free lunch from (ReLU)
       nonlinear activation in wide neural networks", arXiv 2305.08813, Definition 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> np.degrees(fastntk.gradient_angles([[1.0, 1.0], [1.0, 2.0]])).round(6)
    array([[ 0., 45.],
           [45.,  0.]])
    """
    kernel = SymmetricMatrix.of(K, "K").array
    norms = _norms(kernel)
    require_memory(
        8 * kernel.size, f"K: the angles of a kernel of {len(kernel)} rows", "take fewer samples"
    )
    angles = np.empty(kernel.shape)
    for rows in _row_slices(len(kernel)):
        angles[rows] = angle_from_cosine(_cosines(kernel, norms, rows))
    np.fill_diagonal(angles, 0.0)
    return angles


def smallest_angle(K: npt.ArrayLike) -> AnglePair:
    """Return the smallest angle between two gradients, and which they are, from their kernel.

    Parameters
    ----------
    K : array_like (n, n)
        A tangent kernel, or any other Gram matrix, of n ≥ 2 samples.

    Returns
    -------
    AnglePair
        The angle in radians, the samples i < j, and whether the rounding of K leaves the angle
        visible. Of pairs with equal angles the first in the order of (i, j).

    Raises
    ------
    ValueError
        If K is not symmetric, has a single row, or if a diagonal entry is not positive.

    Examples
    --------
    >>> import fastntk
    >>> pair = fastntk.smallest_angle([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8], [0.6, 0.8, 1.0]])
    >>> pair.i, pair.j, round(pair.angle, 6)
    (1, 2, 0.643501)
    """
    return closest_pairs(K, 1)[0]


def angle_bound(K: npt.ArrayLike, pair: AnglePair | None = None) -> float:
    r"""Return a bound that λ_min cannot exceed, from the smallest angle between two gradients.

    λ_min of the whole kernel is at most that of the kernel of two samples. With the squared norms
    a and b of their gradients and the angle φ between them, that is

    .. math::

        λ_{\min}(K) \le \frac{ab \sin^2 φ}{(a + b)/2 + \sqrt{(a - b)^2/4 + ab \cos^2 φ}}
        \le 2 \max(a, b) \sin^2(φ/2) \approx \tfrac{1}{2} \max(a, b) \, φ^2

    and κ is at least λ_max over it: of the order of 1/φ² [1]_.

    Parameters
    ----------
    K : array_like (n, n)
        A tangent kernel, or any other Gram matrix, of n ≥ 2 samples.
    pair : AnglePair, optional
        Two samples and their angle, as `smallest_angle` finds them from K; those of
        `MLP.smallest_angle` have all their digits however small the angle.

    Returns
    -------
    float
        The first of the bounds above.

    Raises
    ------
    ValueError
        As `smallest_angle`; or if the pair is not one of two samples of K.

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Proposition 4.1.

    Examples
    --------
    >>> import fastntk
    >>> K = [[1.0, 0.0, 0.6], [0.0, 1.0, 0.8], [0.6, 0.8, 2.0]]
    >>> round(fastntk.angle_bound(K), 6)
    0.556602
    >>> fastntk.conditioning(K).eigenvalue_min <= 0.556602
    True
    """
    kernel = SymmetricMatrix.of(K, "K")
    if pair is None:
        pair = smallest_angle(kernel)
    elif not isinstance(pair, AnglePair):
        raise TypeError(
            f"pair={arguments.shown(pair)}: expected an AnglePair, as smallest_angle returns"
        )
    if not 0 <= pair.i < pair.j < kernel.n:
        raise ValueError(
            f"pair={arguments.shown(pair)}: expected samples i < j of the {kernel.n} of K"
        )
    squares = np.diagonal(kernel.array)  # of the norms
    return smallest_eigenvalue_of_pair(pair.angle, float(squares[pair.i]), float(squares[pair.j]))


def smallest_eigenvalue_of_pair(angle: float, a: float, b: float) -> float:
    """Return λ_min of the Gram matrix of two vectors of squared norms a and b.

    It is taken as the determinant over λ_max, in which nothing cancels.
    """
    largest = (a + b) / 2 + math.hypot((a - b) / 2, math.sqrt(a) * math.sqrt(b) * math.cos(angle))
    if largest == 0:
        return 0.0
    # a/λ_max ≤ 1: no product of two norms, which might overflow.
    return (a / largest) * b * math.sin(angle) ** 2


def closest_pairs(K: npt.ArrayLike, k: int) -> list[AnglePair]:
    """Return the k pairs with the smallest angles (all pairs, if there are fewer), in order.

    Parameters
    ----------
    K : array_like (n, n)
        A tangent kernel, or any other Gram matrix, of n ≥ 2 samples.
    k : int
        At least 1.

    Returns
    -------
    list of AnglePair
        By angle, those with equal angles in the order of (i, j).

    Raises
    ------
    ValueError
        As `smallest_angle`.
    """
    matrix = SymmetricMatrix.of(K, "K")
    kernel = matrix.array
    k = arguments.integer(k, "k", minimum=1)
    n = len(kernel)
    if n < 2:
        raise ValueError(f"K has shape {kernel.shape}: expected at least two samples")
    norms = _norms(kernel)
    found = LargestCosines(k)
    for rows in _row_slices(n):
        cosines = _cosines(kernel, norms, rows)
        # Pairs (i, j) with j ≤ i are left to their mirror images.
        cosines[np.arange(n) <= np.arange(rows.start, rows.stop)[:, np.newaxis]] = LEFT_OUT
        found.offer(cosines, rows, slice(0, n))
    resolution = kernel_angle_resolution(matrix.epsilon)
    return [
        AnglePair(float(angle), int(i), int(j), resolved=bool(angle > resolution))
        for angle, i, j in zip(angle_from_cosine(found.cosines), found.i, found.j, strict=True)
    ]
