# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Depths in groups, so that the kernels of a group can be computed in one pass in little memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk.layers.steps import GainShift, Linear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastntk.layers.steps import Steps


def pass_bytes(depths: Sequence[int], *, samples: int, input_width: int, width: int) -> int:
    """Return the bytes of the float64 features and kernels of a pass over `depths`.

    The features are those of `PlacedNetwork.feature_bytes`, stated here for networks that do not
    exist yet: H of the deepest network, and Δ of each.
    """
    activations_and_deltas = max(depths) + sum(depths)
    columns = input_width + width * activations_and_deltas + samples * len(depths)
    return samples * columns * np.float64().itemsize


def feature_columns(steps: Steps) -> int:
    """Return the columns of the features of described networks, for all of their outputs.

    As in `pass_bytes`: H, of which each matrix is there once, and Δ of each of several networks.
    """
    sources = {step.source for step in steps.steps if isinstance(step, Linear)}
    deltas = 0
    for top in steps.outputs:
        for step in steps.leading_to(top):
            if isinstance(step, GainShift):
                deltas += step.n_parameters
            elif isinstance(step, Linear) and step.target != top:  # Δ of the outputs is known
                deltas += step.outputs
    return sum(steps.widths[node] for node in sources) + deltas * steps.widths[-1]


def depth_groups(
    depths: Sequence[int], needed: Callable[[Sequence[int]], int], memory: int | None
) -> list[tuple[int, ...]]:
    """Cut `depths` into runs whose passes take at most `memory` bytes, by what each has `needed`.

    A run has at least one depth; that this one fits is checked when its kernel is asked for.
    """
    groups: list[tuple[int, ...]] = []
    for depth in depths:
        extended = (*groups[-1], depth) if groups else (depth,)
        if groups and (memory is None or needed(extended) <= memory):
            groups[-1] = extended
        else:
            groups.append((depth,))
    return groups
