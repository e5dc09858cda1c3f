# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Random descriptions of networks, drawn by hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

import fastntk
from fastntk import layers

if TYPE_CHECKING:
    from fastntk.layers import Layer

RATES: Any = st.sampled_from([True, False, 0.5, (1.0, 0.0), (0.25, 2.0)])
WIDTHS: Any = st.integers(2, 6)
SCALES: Any = st.sampled_from([0.0, 0.25, 1.0])


def dense(width: int, draw: st.DrawFn) -> layers.Dense:
    return layers.Dense(
        width,
        weight_std=draw(st.sampled_from([0.5, 1.0, 1.5])),
        bias_std=draw(st.sampled_from([0.0, 0.3])),
        trained=draw(RATES),
    )


def norm(width: int, draw: st.DrawFn) -> Layer:
    kinds: list[Any] = [layers.RMSNorm, layers.Rescale]
    if width > 2:  # of two, a LayerNorm leaves a sign
        kinds.append(layers.LayerNorm)
    kind = draw(st.sampled_from(kinds))
    gain, shift = draw(st.booleans()), draw(st.booleans())
    if kind is layers.Rescale:
        return layers.Rescale(gain=gain, shift=shift or not gain, trained=draw(RATES))
    parts: Layer = kind(gain=gain, shift=shift, trained=draw(RATES))
    return parts


@st.composite
def networks(
    draw: st.DrawFn,
    activations: tuple[str, ...] = ("relu", "erf"),
    *,
    limit: bool = True,
    widths: Any = WIDTHS,
) -> fastntk.Network:
    """Networks that have a limit: what an activation takes comes from layers of weights.

    Without a limit, the inputs may be normalized too.
    """

    def activation() -> Layer:
        scale = draw(st.sampled_from([None, 1.0]))
        return layers.Activation(draw(st.sampled_from(activations)), scale=scale)

    def branch(before: int, after: int, depth: int) -> list[Layer]:
        inner = draw(widths)
        found = [norm(before, draw)] if draw(st.booleans()) else []
        found += [dense(inner, draw)]
        if depth > 0 and draw(st.booleans()):
            found += [block(inner, inner, depth - 1)]
        if draw(st.booleans()):
            found += [norm(inner, draw)]
        found += [activation(), dense(after, draw)]
        if draw(st.booleans()):
            found += [norm(after, draw)]
        return found

    def block(before: int, after: int, depth: int) -> Layer:
        projected = before != after or draw(st.booleans())
        return layers.Residual(
            branch(before, after, depth),
            scale=draw(SCALES),
            projection=dense(after, draw) if projected else None,
        )

    width, inputs = draw(widths), draw(st.integers(2, 5))
    found: list[Layer] = [] if limit or draw(st.booleans()) else [norm(inputs, draw)]
    found += [dense(width, draw)]
    narrowest = width  # what is behind all blocks may come after fewer of them
    for _ in range(draw(st.integers(0, 3))):
        narrowest = min(narrowest, width)
        what = draw(st.sampled_from(["block", "norm", "layer"]))
        if what == "block":
            after = draw(widths)
            found.append(block(width, after, 1))
            width = after
        elif what == "norm":
            found.append(norm(narrowest, draw))
        else:
            after = draw(widths)
            found += [activation(), dense(after, draw)]
            width = after
    found += [activation(), dense(draw(st.integers(1, 3)), draw)]
    return fastntk.Network(found, inputs=inputs)
