# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of arguments: each error names the argument, its value and what was expected."""

from __future__ import annotations

import math
import numbers
import operator
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import FLOAT_DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from fastntk._support.dtypes import FloatDType


# Seeds have up to 128 bits; no number of things has more than 64.
LARGEST_SEED = 2**128 - 1


def integer(value: object, name: str, *, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int of at least `minimum` and at most `maximum`, if there is one."""
    expected = f"expected an integer of at least {minimum}"
    if maximum is not None:
        expected += f" and at most {maximum}"
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: {expected}")
    try:
        result = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}={value!r}: {expected}") from None
    # Python does not write out integers of thousands of digits.
    bits = 64 if maximum is None else 128
    if result >= 2**bits:
        raise ValueError(f"{name} is above 2**{bits} - 1, the largest integer: {expected}")
    if result < minimum or (maximum is not None and result > maximum):
        raise ValueError(f"{name}={value!r}: {expected}")
    return result


def real(value: object, name: str, *, minimum: float, exclusive: bool = False) -> float:
    """Return `value` as a finite float of at least (or, `exclusive`, above) `minimum`."""
    expected = f"expected a finite number {'above' if exclusive else 'of at least'} {minimum:g}"
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    # NumPy's durations count as integers.
    if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={value!r}: {expected}")
    try:
        result = float(value)
    except OverflowError:  # an integer or fraction beyond the range of float64
        raise ValueError(f"{name} is beyond the range of float64: {expected}") from None
    if not math.isfinite(result) or result < minimum or (exclusive and result == minimum):
        raise ValueError(f"{name}={value!r}: {expected}")
    return result


def integers(
    values: Sequence[int], name: str, *, minimum: int, maximum: int | None = None
) -> tuple[int, ...]:
    """Return a non-empty sequence of ints of at least `minimum` and at most `maximum`."""
    given = items(values, name, "integers")
    if not given:
        raise ValueError(f"{name}={values!r}: expected at least one integer")
    return tuple(
        integer(v, f"{name}[{i}]", minimum=minimum, maximum=maximum) for i, v in enumerate(given)
    )


def items(values: Any, name: str, what: str) -> list[Any]:
    """Return the items of a sequence or any other iterable but text."""
    if isinstance(values, (str, bytes)) or not np.iterable(values):
        raise TypeError(f"{name}={values!r}: expected a sequence of {what}")
    return list(values)


def path(value: Any, name: str) -> str | None:
    """Return the name of a file, or None."""
    if value is None:
        return None
    try:
        return os.fsdecode(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}: expected None or the path of a file") from None


def seed(value: object, name: str = "seed") -> int:
    """Return `value` as the seed of a stream of random numbers."""
    return integer(value, name, minimum=0, maximum=LARGEST_SEED)


def seeds(values: int | Sequence[int], name: str = "seeds") -> tuple[int, ...]:
    """Return seeds: 0, 1, … if their number is given, or those given."""
    if isinstance(values, (int, np.integer)):
        values = range(integer(values, name, minimum=1))
    return integers(values, name, minimum=0, maximum=LARGEST_SEED)


def float_dtype(value: Any, name: str = "dtype") -> FloatDType:
    """Return float32 or float64 as a dtype."""
    dtype: FloatDType | None
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype not in FLOAT_DTYPES:
        raise ValueError(f"{name}={value!r}: expected 'float32' or 'float64'")
    return dtype


def flag(value: object, name: str) -> bool:
    """Return a truth value, of Python or NumPy; nothing else is taken for one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: expected True or False")
    return bool(value)


def function(value: Any, name: str, called_with: str) -> Any:
    """Return a function of the user's, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}={value!r}: expected None or a function of {called_with}")
    return value


def choice(value: object, name: str, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of the allowed names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}")
    return value


def layer_weights(
    values: ArrayLike, layers: int, name: str = "layer_weights"
) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return ω of the weights and of the bias of each layer: (layers, 2), not negative."""
    expected = (
        f"expected {layers} numbers, one for each layer, or {layers} pairs of them for its weights "
        "and its bias; non-negative, finite and not all 0"
    )
    try:
        array = np.asanyarray(values)
    except ValueError:  # rows of different lengths
        raise ValueError(f"{name}={values!r}: {expected}") from None
    if np.ma.is_masked(array):
        raise ValueError(f"{name}={values!r}: {expected}, and none masked")
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.shape not in {(layers,), (layers, 2)}:
        raise ValueError(f"{name}={values!r}: {expected}")
    rates = np.broadcast_to(array.reshape(layers, -1).astype(np.float64), (layers, 2))
    if not np.isfinite(rates).all() or (rates < 0).any() or not rates.any():
        raise ValueError(f"{name}={values!r}: {expected}")
    return rates
