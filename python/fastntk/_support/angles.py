# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The angle between two vectors, from what is known of them.

arccos(s) loses half of the digits near s = ±1, where 1 − s and 1 + s are all that counts. So
each function starts from the number that its caller knows best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def angle_from_cosine(cosines: Array) -> Array:
    """Return the angles of these cosines, in [−1, 1]; both ends keep the digits of the cosine.

    Examples
    --------
    >>> float(angle_from_cosine(np.array(0.0)).round(6))
    1.570796
    """
    angles: Array = 2 * np.arctan2(np.sqrt(1 - cosines), np.sqrt(1 + cosines))
    return angles


def angle_from_gap(gaps: Array) -> Array:
    """Return the angles whose cosine is 1 − gap, or −(1 + gap) for a gap with a negative sign.

    Where a recursion carries 1 − cos itself, or 1 + cos as a negative gap, angles near 0 and π keep
    all of its digits. A negative zero counts as zero, and what rounding has carried past 2 as the
    gap of opposite vectors.
    """
    sizes = np.abs(gaps)
    near, far = np.sqrt(sizes), np.sqrt(np.maximum(2 - sizes, 0.0))
    obtuse = gaps < 0
    angles: Array = 2 * np.arctan2(np.where(obtuse, far, near), np.where(obtuse, near, far))
    return angles


def angle_from_chord(chord: float) -> float:
    """Return the angle between two unit vectors at this distance from each other, at most 2.

    Where the vectors are at hand, their difference has the digits that their product lacks.
    """
    return float(2 * np.arcsin(min(1.0, chord / 2)))
