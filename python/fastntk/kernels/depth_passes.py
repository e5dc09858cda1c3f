# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Depths in groups, so that the kernels of a group can be computed in one pass in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def pass_bytes(depths: Sequence[int], *, samples: int, input_width: int, width: int) -> int:
    """Return the bytes of the float64 features and kernels of a pass over `depths`.

    The features are those of `PlacedNetwork.feature_bytes`, stated here for networks that do not
    exist yet: H of the deepest network, and Δ of each.
    """
    activations_and_deltas = max(depths) + sum(depths)
    columns = input_width + width * activations_and_deltas + samples * len(depths)
    return samples * columns * np.float64().itemsize


def depth_groups(
    depths: Sequence[int], *, samples: int, input_width: int, width: int, memory: int | None
) -> list[tuple[int, ...]]:
    """Cut `depths` into runs whose passes take at most `memory` bytes.

    A run has at least one depth; that this one fits is checked when its kernel is asked for.
    """
    groups: list[tuple[int, ...]] = []
    for depth in depths:
        extended = (*groups[-1], depth) if groups else (depth,)
        needed = pass_bytes(extended, samples=samples, input_width=input_width, width=width)
        if groups and (memory is None or needed <= memory):
            groups[-1] = extended
        else:
            groups.append((depth,))
    return groups
