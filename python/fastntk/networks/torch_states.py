# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The affine maps of a state_dict, in the order in which they stand there.

A state_dict names numbers; it does not say what is computed with them. What can be seen to be
something else than a chain of affine maps is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastntk.networks.torch_tensors import AffineMap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 6


def maps_of_state(state: Mapping[Any, Any], *, checked: bool) -> list[AffineMap]:
    """Return the affine maps; with `checked`, somebody will compare outputs afterwards.

    Raises
    ------
    ValueError
        If there are entries besides weights and biases, or if the order of the entries is not that
        of the layers.
    """
    names = list(state)
    prefixes = [name[: -len("weight")] for name in names if _ends_with(name, "weight")]
    known = {prefix + end for prefix in prefixes for end in ("weight", "bias")}
    others = [name for name in names if name not in known]
    if not prefixes or others:
        shown = ", ".join(map(repr, (others or names)[:_SHOWN]))
        more = len(others or names) - _SHOWN
        raise ValueError(
            f"module has the entries {shown or 'of an empty mapping'}"
            f"{f' and {more} more' if more > 0 else ''}: "
            "expected a weight and perhaps a bias for each Linear ('0.weight', '0.bias', …), and "
            "nothing else; other modules, normalizations, masks and parametrizations are another "
            "network, whose module fastntk.from_torch may know"
        )
    numbered = _numbers(prefixes)
    if numbered is not None and numbered != sorted(numbered):
        raise ValueError(
            f"module has the layers {', '.join(map(repr, prefixes[:_SHOWN]))}, …, in this order, "
            "which is not that of their numbers: expected the layers in the order in which they "
            "are applied"
        )
    early = [
        prefix + "bias"
        for prefix in prefixes
        if prefix + "bias" in state
        and names.index(prefix + "bias") < names.index(prefix + "weight")
    ]
    if early and numbered is None and not checked:
        raise ValueError(
            f"module has {early[0]!r} before its weight: expected the order of a state_dict; "
            "entries that were sorted by name do not say in which order the layers are applied: "
            "put them into that order, or give check=(X, outputs)"
        )
    return [
        AffineMap(
            (f"module[{prefix + 'weight'!r}]", f"module[{prefix + 'bias'!r}]"),
            state[prefix + "weight"],
            state.get(prefix + "bias"),
        )
        for prefix in prefixes
    ]


def _ends_with(name: Any, end: str) -> bool:
    return isinstance(name, str) and (name == end or name.endswith("." + end))


def _numbers(prefixes: Sequence[str]) -> list[list[int]] | None:
    """Return the numbers in the names of layers; None if the names differ by more than these."""
    if len({re.sub(r"\d+", "0", prefix) for prefix in prefixes}) > 1:
        return None
    return [[int(digits) for digits in re.findall(r"\d+", prefix)] for prefix in prefixes]
