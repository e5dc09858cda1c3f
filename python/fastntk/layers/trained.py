# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which parameters of a layer are trained, and how fast: the argument `trained` of layers."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from fastntk._support import arguments
from fastntk._support.arguments import shown

Trained: TypeAlias = bool | float | tuple[float, float]


def checked_trained(value: object, of: str) -> Trained:
    """Return whether parameters are trained, or their learning rates ω.

    Parameters
    ----------
    value : object
        True, False, a number, or a pair of them.
    of : str
        What the numbers of a pair belong to, for errors: "weights and the bias".

    Returns
    -------
    bool, float or pair of float
        True and False in place of 1 and 0, and a single number in place of a pair of equal ones.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if not arguments.has_items(value):
        try:
            return _simple(arguments.real(value, "trained", minimum=0.0))
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"trained={shown(value)}: expected True, False, a learning rate of at least 0, or "
                f"a pair of these for the {of}"
            ) from None
    items = arguments.items(value, "trained", f"two learning rates, for the {of}")
    if len(items) != 2:
        raise ValueError(
            f"trained={shown(value)}: expected two learning rates, for the {of}, or a single one"
        )
    first, second = (
        arguments.real(
            float(rate) if isinstance(rate, (bool, np.bool_)) else rate,
            f"trained[{i}]",
            minimum=0.0,
        )
        for i, rate in enumerate(items)
    )
    return _simple(first) if first == second else (first, second)


def rates_of(trained: Trained) -> tuple[float, float]:
    """Return both learning rates."""
    return trained if isinstance(trained, tuple) else (float(trained), float(trained))


def _simple(rate: float) -> bool | float:
    return bool(rate) if rate in {0.0, 1.0} else rate
