# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of arguments: each error names the argument, its value and what was expected."""

from __future__ import annotations

import inspect
import math
import numbers
import operator
import os
import reprlib
from collections.abc import Mapping, Set
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import FLOAT_DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike

    from fastntk._support.dtypes import FloatDType


# Seeds have up to 128 bits; no number of things has more than 64.
LARGEST_SEED = 2**128 - 1
_LARGEST_COUNT = 2**64 - 1

# More items than anybody means: those of an endless iterator, or of a view of a single number.
_MOST_ITEMS = 2**20

# Of factors between these, or between −LARGEST_SCALE and LARGEST_SCALE, the squares are in range.
SMALLEST_SCALE, LARGEST_SCALE = 1e-100, 1e100

# No network is so deep; and layers are listed one by one.
_LARGEST_DEPTH = 2**20


class _Short(reprlib.Repr):
    """Values as somebody would type them, NumPy's too: ``0.5``, not ``np.float64(0.5)``."""

    def repr1(self, x: Any, level: int) -> str:
        if type(x) is np.ndarray and x.ndim == 0:
            x = x[()]
        if isinstance(x, np.generic) and x.dtype.kind in "biufc":
            return str(x)
        if type(x) is np.ndarray and x.dtype.kind in "biufc" and x.ndim > 0:
            text = np.array2string(
                x, separator=", ", threshold=self.maxlist, formatter={"all": str}
            )
            text = " ".join(text.split()).replace("...", "…")
            return text if len(text) <= self.maxother else f"{text[: self.maxother]} …"
        return super().repr1(str(x) if isinstance(x, np.str_) else x, level)


_SHORT = _Short()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxfrozenset = _SHORT.maxdict = 20
_SHORT.maxstring = _SHORT.maxlong = 120
_SHORT.maxother = 400


def shown(value: object) -> str:
    """Return how a value is written, for errors: not at any length, and whatever it does itself."""
    try:
        return _SHORT.repr(value)
    except Exception:  # integers of more digits than Python writes out
        return f"<{type(value).__qualname__}>"


def has_items(value: object) -> bool:
    """Return whether a value has items, as sequences and other iterables have; text has none."""
    if isinstance(value, (str, bytes, bytearray, np.generic)):
        return False
    try:
        iter(value)  # type: ignore[call-overload]
    except Exception:  # TypeError where there are none; anything if it is somebody's own
        return False
    return True


def integer(value: object, name: str, *, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int of at least `minimum` and at most `maximum`, if there is one."""
    if type(value) is int and minimum <= value <= (_LARGEST_COUNT if maximum is None else maximum):
        return value  # as a rule: nothing else is to be asked
    expected = f"expected an integer of at least {minimum}"
    if maximum is not None:
        expected += f" and at most {maximum}"
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={shown(value)}: {expected}")
    try:
        result = operator.index(value)  # type: ignore[arg-type]
    except Exception as error:  # a TypeError, or that of a value of somebody's own
        cause = None if isinstance(error, TypeError) else error
        raise TypeError(f"{name}={shown(value)}: {expected}") from cause
    # Python does not write out integers of thousands of digits.
    bits = 64 if maximum is None else 128
    if result >= 2**bits:
        raise ValueError(f"{name} is above 2**{bits} - 1, the largest integer: {expected}")
    if result < minimum or (maximum is not None and result > maximum):
        raise ValueError(f"{name}={shown(value)}: {expected}")
    return result


def real(
    value: object,
    name: str,
    *,
    minimum: float,
    exclusive: bool = False,
    maximum: float = math.inf,
    infinite: bool = False,
) -> float:
    """Return `value` as a float of at least (or, `exclusive`, above) `minimum`.

    It has to be finite, unless `infinite`.
    """
    if type(value) is float and minimum <= value <= maximum and math.isfinite(value):  # noqa: SIM102
        if value > minimum or not exclusive:
            return value  # as a rule: nothing else is to be asked
    kind = "number, or inf," if infinite else "finite number"
    expected = f"expected a {kind} {'above' if exclusive else 'of at least'} {minimum:g}"
    if maximum < math.inf:
        expected += f" and at most {maximum:g}"
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    # NumPy's durations count as integers.
    if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={shown(value)}: {expected}")
    try:
        result = float(value)
    except OverflowError:  # an integer or fraction beyond the range of float64
        raise ValueError(f"{name} is beyond the range of float64: {expected}") from None
    except Exception as error:  # of a number of somebody's own
        raise TypeError(f"{name}={shown(value)}: {expected}") from error
    if math.isinf(result) and value != result:  # a long double beyond the range of float64
        raise ValueError(f"{name} is beyond the range of float64: {expected}")
    finite = infinite or math.isfinite(result)
    if not (finite and minimum <= result <= maximum) or (exclusive and result == minimum):
        raise ValueError(f"{name}={shown(value)}: {expected}")
    return result


def scale(value: object, name: str) -> float:
    """Return a factor of activations, whose square is in the range of float64."""
    return real(value, name, minimum=SMALLEST_SCALE, maximum=LARGEST_SCALE)


def tolerance(value: object) -> float:
    """Return a relative error that expectations may have: an error of 1 is no number at all."""
    return real(value, "tolerance", minimum=0.0, exclusive=True, maximum=1.0)


def integers(
    values: Iterable[int],
    name: str,
    *,
    minimum: int,
    maximum: int | None = None,
    in_order: bool = False,
) -> tuple[int, ...]:
    """Return a non-empty sequence of ints of at least `minimum` and at most `maximum`.

    Those of a set are taken in ascending order; refused where their order matters, `in_order`.
    """
    given = items(values, name, "integers", in_order=in_order)
    if not given:
        raise ValueError(f"{name}={shown(values)}: expected at least one integer")
    result = tuple(
        integer(v, f"{name}[{i}]", minimum=minimum, maximum=maximum) for i, v in enumerate(given)
    )
    return tuple(sorted(result)) if isinstance(values, Set) else result


def items(values: Any, name: str, what: str, *, in_order: bool = True) -> list[Any]:
    """Return the items of a sequence or any other iterable but text and mappings.

    Sets have no order: they are refused where that matters.
    """
    unordered = in_order and isinstance(values, Set)
    # The items of a table of pandas are the names of its columns.
    table = hasattr(type(values), "iterrows")
    if unordered or table or isinstance(values, Mapping) or not has_items(values):
        raise TypeError(f"{name}={shown(values)}: expected a sequence of {what}")
    try:
        # Not the items themselves, of which a view may have any number.
        given = range(len(values)) if isinstance(values, np.ndarray) else values
        result = list(islice(given, _MOST_ITEMS + 1))
    except Exception as error:  # of an iterator of somebody's own
        raise TypeError(f"{name}={shown(values)}: expected a sequence of {what}") from error
    if len(result) > _MOST_ITEMS:
        raise ValueError(
            f"{name} has more than {_MOST_ITEMS} items, or no end: expected a sequence of {what}"
        )
    return list(values) if isinstance(values, np.ndarray) else result


def path(value: Any, name: str, ending: str = "") -> str:
    """Return the path of a file, whose name must have the ending if there is one."""
    expected = f"expected a file that ends in {ending}" if ending else "expected the path of a file"
    try:
        result = os.fsdecode(value)
        os.fsencode(result)
    except UnicodeError as error:
        raise ValueError(f"{name}={value!r}: {expected}") from error
    except Exception as error:  # a TypeError, or that of a value of somebody's own
        cause = None if isinstance(error, TypeError) else error
        raise TypeError(f"{name}={shown(value)}: {expected}") from cause
    if not result or "\0" in result or not result.endswith(ending):
        raise ValueError(f"{name}={result!r}: {expected}")
    return result


def optional_path(value: Any, name: str) -> str | None:
    """Return the path of a file, or None."""
    return None if value is None else path(value, name)


def widths(values: Iterable[int], name: str = "widths") -> tuple[int, ...]:
    """Return widths of networks that are to be compared: each once, in the order given."""
    return tuple(dict.fromkeys(integers(values, name, minimum=1)))


def depth(value: object, name: str = "depth") -> int:
    """Return a number of hidden layers."""
    return integer(value, name, minimum=0, maximum=_LARGEST_DEPTH)


def depths(values: Iterable[int], name: str = "depths") -> tuple[int, ...]:
    """Return several numbers of hidden layers."""
    return integers(values, name, minimum=0, maximum=_LARGEST_DEPTH)


def seed(value: object, name: str = "seed") -> int:
    """Return `value` as the seed of a stream of random numbers."""
    return integer(value, name, minimum=0, maximum=LARGEST_SEED)


def seeds(values: int | Iterable[int], name: str = "seeds", *, least: int = 1) -> tuple[int, ...]:
    """Return seeds: 0, 1, … if their number is given, at least `least`, or those given.

    The same seed twice would be the same network twice.
    """
    if not has_items(values):
        return tuple(range(integer(values, name, minimum=least, maximum=_MOST_ITEMS)))
    given = integers(values, name, minimum=0, maximum=LARGEST_SEED)  # type: ignore[arg-type]
    if len(set(given)) < len(given):
        raise ValueError(f"{name}={shown(values)}: expected each seed only once")
    return given


def float_dtype(value: Any, name: str = "dtype") -> FloatDType:
    """Return float32 or float64 as a dtype."""
    dtype: FloatDType | None = None
    # NumPy takes anything that has an attribute dtype, such as an array, for its type.
    if value is None or isinstance(value, (str, type, np.dtype)):
        try:
            dtype = np.dtype(value)
        except (TypeError, ValueError, SyntaxError):  # of texts that are no names of types
            dtype = None
    if dtype is None or dtype not in FLOAT_DTYPES:
        raise ValueError(f"{name}={shown(value)}: expected 'float32' or 'float64'")
    return dtype


def flag(value: object, name: str) -> bool:
    """Return a truth value, of Python or NumPy; nothing else is taken for one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={shown(value)}: expected True or False")
    return bool(value)


def function(value: Any, name: str, called_with: str) -> Any:
    """Return a function of the user's, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}={shown(value)}: expected None or a function of {called_with}")
    return value


def choice(value: object, name: str, allowed: Sequence[str]) -> str:
    """Return that of the allowed names which `value` is."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}={shown(value)}: expected one of {', '.join(map(repr, allowed))}")
    return allowed[allowed.index(value)]


def text(value: object, name: str) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={shown(value)}: expected a string")
    return str(value)


def optional_label(value: object, name: str) -> str | None:
    """Return a text for tables, which are in UTF-8, or None.

    Names of files may hold bytes that are no text: there stand question marks.
    """
    if isinstance(value, str) and not value:
        raise ValueError(f"{name}='': expected a text that is not empty, or None")
    return None if value is None else text(value, name).encode(errors="replace").decode()


def like(value: object, name: str, protocol: type, expected: str) -> None:
    """Raise TypeError for an object without the attributes of a protocol."""
    wanted = [each for each in vars(protocol) if not each.startswith("_")]
    missing = object()
    if any(inspect.getattr_static(value, each, missing) is missing for each in wanted):
        given = shown(value)
        if isinstance(value, np.ndarray):
            given = f"<ndarray of shape {value.shape}>"
        raise TypeError(f"{name}={given}: expected {expected}")


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
    except Exception:  # rows of different lengths; or that of a value of somebody's own
        raise ValueError(f"{name}={shown(values)}: {expected}") from None
    if np.ma.is_masked(array):
        raise ValueError(f"{name}={shown(values)}: {expected}, and none masked")
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.shape not in {(layers,), (layers, 2)}:
        raise ValueError(f"{name}={shown(values)}: {expected}")
    rates = np.broadcast_to(array.reshape(layers, -1).astype(np.float64), (layers, 2))
    if not np.isfinite(rates).all() or (rates < 0).any() or not rates.any():
        raise ValueError(f"{name}={shown(values)}: {expected}")
    return rates
