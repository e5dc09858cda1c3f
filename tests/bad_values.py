# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Values that are no arguments of anything, or of few parameters; and other forms of good ones."""

from __future__ import annotations

import array
import datetime
import io
import itertools
import os
import tempfile
from collections import deque
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

import fastntk
from fastntk import activations, infinite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Value(NamedTuple):
    """A value to be tried.

    Attributes
    ----------
    make : callable
        Returns it anew: some are used up, or written to.
    kind : str
        What it may stand for; a parameter that takes this kind may accept it. "" for nothing.
    plain : object
        What it must then be equal to.
    """

    make: Callable[[], Any]
    kind: str = ""
    plain: Any = None


class _Raises:
    """Something whose special methods raise."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _with_methods(**methods: Any) -> Any:
    return type("Custom", (), methods)()


def _raise(*_: Any, **__: Any) -> Any:
    raise KeyError("of somebody's own")


def _nested(depth: int) -> Any:
    result: Any = []
    for _ in range(depth):
        result = [result]
    return result


def _within_itself() -> Any:
    result: list[Any] = [1]
    result.append(result)
    return result


def _failing() -> Iterator[int]:
    yield 1
    raise KeyError("of somebody's own")


class _Number(float):
    """A float of somebody's own."""


class _Text(str):
    """A text of somebody's own."""

    __slots__ = ()


class _Choice(IntEnum):
    """An integer with a name."""

    TWO = 2


_X = np.random.default_rng(0).standard_normal((5, 3))
_Y = _X[:, 0].copy()
_NET = fastntk.MLP([3, 4, 1])

# Things in the file system that are no files of fastntk.
_FOLDER = Path(tempfile.mkdtemp(prefix="fastntk-bad-values-"))
(_FOLDER / "folder.npz").mkdir()
(_FOLDER / "folder.npy").mkdir()
(_FOLDER / "empty.npz").touch()
(_FOLDER / "text.npy").write_text("no array")
(_FOLDER / "link.npy").symlink_to(_FOLDER / "nowhere.npy")
if hasattr(os, "mkfifo"):
    os.mkfifo(_FOLDER / "pipe.npz")
    os.mkfifo(_FOLDER / "pipe.npy")

_ONE = np.array(1.0)

# Kinds: "none", "flag", "integer", "number" (an integer is one), "text", "path", "function",
# "integers", "numbers" (of any length), "matrix" and "vector" (of 5 real numbers).
_SIMPLE: dict[str, tuple[Any, str]] = {
    "None": (None, "none"),
    "True": (True, "flag"),
    "False": (False, "flag"),
    # Numbers.
    "0": (0, "integer"),
    "-1": (-1, "integer"),
    "2": (2, "integer"),
    "2**62": (2**62, "integer"),
    "2**64": (2**64, "number"),
    "2**128": (2**128, "number"),
    "1e400": (10**400, ""),
    "-1e400": (-(10**400), ""),
    "10**5000": (10**5000, ""),
    "1e400/3": (Fraction(10**400, 3), ""),
    "0.0": (0.0, "number"),
    "1.5": (1.5, "number"),
    "-1.5": (-1.5, "number"),
    "1e308": (1e308, "number"),
    "5e-324": (5e-324, "number"),
    "NaN": (float("nan"), ""),
    "inf": (float("inf"), "infinity"),
    "-inf": (float("-inf"), ""),
    "complex": (1j, ""),
    "complex without imaginary part": (complex(1, 0), ""),
    "Decimal": (Decimal("1.5"), ""),
    "Decimal NaN": (Decimal("NaN"), ""),
    "NumPy's NaN": (np.float32("nan"), ""),
    "NumPy's inf": (np.float64("inf"), "infinity"),
    "NumPy's -inf": (np.float64("-inf"), ""),
    "NumPy's complex": (np.complex64(1), ""),
    "NumPy's void": (np.void(b"12345678"), ""),
    "long double out of range": (np.longdouble("1e400"), "infinity"),
    # Times.
    "duration": (np.timedelta64(1, "s"), ""),
    "moment": (np.datetime64("2020-01-01"), ""),
    "no moment": (np.datetime64("NaT", "s"), ""),
    "date": (datetime.date(2020, 1, 1), ""),
    "datetime": (datetime.datetime(2020, 1, 1), ""),
    "timedelta": (datetime.timedelta(1), ""),
    "pandas moment": (pd.Timestamp("2020-01-01"), ""),
    "pandas NaT": (pd.NaT, ""),
    "pandas NA": (pd.NA, ""),
    # Texts.
    "text": ("text", "text"),
    "empty text": ("", "text"),
    "text of a number": ("1", "text"),
    "text of nan": ("nan", "text"),
    "text with a zero byte": ("a\0b", "text"),
    "text of two lines": ("relu\n", "text"),
    "text of digits of another script": ("١", "text"),
    "surrogate": ("\ud800", "text"),
    "long text": ("x" * 100_000, "text"),
    "bytes": (b"bytes", "path"),
    "empty bytes": (b"", ""),
    "bytearray": (bytearray(b"1"), ""),
    "memoryview": (memoryview(b"\x02"), "integers"),
    # Files.
    "folder": (str(_FOLDER), "text"),
    "Path of a folder": (_FOLDER, "path"),
    "folder.npz": (str(_FOLDER / "folder.npz"), "text"),
    "folder.npy": (str(_FOLDER / "folder.npy"), "text"),
    "empty.npz": (str(_FOLDER / "empty.npz"), "text"),
    "text.npy": (str(_FOLDER / "text.npy"), "text"),
    "link to nothing": (str(_FOLDER / "link.npy"), "text"),
    "pipe.npz": (str(_FOLDER / "pipe.npz"), "text"),
    "pipe.npy": (str(_FOLDER / "pipe.npy"), "text"),
    "file in a file": (str(_FOLDER / "text.npy" / "file.npy"), "text"),
    "name too long": ("x" * 300 + ".npz", "text"),
    "path of a device": ("/dev/null", "text"),
    # Objects.
    "object": (object(), ""),
    "function": (lambda *_: None, "function"),
    "function of nothing": (lambda: None, "function"),
    "class": (int, ""),
    "class of networks": (fastntk.MLP, "function"),
    "module": (np, ""),
    "NotImplemented": (NotImplemented, ""),
    "ellipsis": (..., ""),
    "exception": (ValueError("text"), ""),
    "slice": (slice(None), ""),
    "slice with a step": (slice(0, 2, 2), ""),
    "slice of texts": (slice("a", "b"), ""),
    "dtype of integers": (np.dtype("int32"), ""),
    "float16": (np.float16, "function"),
    "limit": (infinite.Network(depth=1), ""),
    "network": (_NET, "network"),
    "network of other inputs": (fastntk.MLP([7, 1]), "network"),
    "activation": (activations.relu(), "activation"),
    "packed kernel": (fastntk.PackedKernel.from_dense(np.eye(5)), "packed"),
    "Series of text": (pd.Series(["a"] * 5), ""),
    "Series with NA": (pd.Series([1, None, 3, 4, 5], dtype="Int64"), ""),
    "Series of categories": (pd.Series(list("abcde"), dtype="category"), ""),
    "table with a text column": (pd.DataFrame(_X).assign(a="x"), ""),
    "table with NA": (pd.DataFrame(_X).mask(np.eye(5, 3) > 0).convert_dtypes(), ""),
    "table of moments": (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"] * 5)}), ""),
    "empty table": (pd.DataFrame(), "empty matrix"),
    "index": (pd.Index(["a", "b"]), ""),
    "operator": (aslinearoperator(np.eye(3)), "operator"),
    # Containers.
    "empty list": ([], "empty"),
    "empty tuple": ((), "empty"),
    "empty dict": ({}, "mapping"),
    "empty set": (set(), "empty"),
    "empty range": (range(0), "empty"),
    "dict": ({"a": 1}, "mapping"),
    "dict of integers": ({0: 1, 1: 2}, "mapping"),
    "set": ({1.5}, "numbers"),
    "set of what cannot be sorted": ({1, "a"}, ""),
    "ragged": ([[1.0, 2.0, 3.0], [1.0]], ""),
    "nested deeply": (_nested(100), ""),
    "within itself": (_within_itself(), ""),
    "list of None": ([None], "nones"),
    "list of text": (["x"], ""),
    "list of empty text": ([""], ""),
    "list of NaN": ([float("nan")], "nans"),
    "list of inf": ([float("inf")], "infinities"),
    "list of -1": ([-1], "integers"),
    "list of 2**62": ([2**62], "integers"),
    "list of 1.5": ([1.5], "numbers"),
    "list of True": ([True], "flags"),
    "list of 1e400": ([10**400], ""),
    "list of complex": ([1j], ""),
    "list of objects": ([object()], ""),
    "list of functions": ([lambda: None], ""),
    "list of empty lists": ([[], []], "empty matrix"),
    "list of bytes": ([b"1"], ""),
    "list of mixed": ([1, "a"], ""),
    "pair": ((1, 2), "integers"),
    "pair of texts": (("a", "b"), ""),
    "pair of None": ((None, None), ""),
    "triple": ((_X, _Y, _Y), ""),
    "list of arrays": ([_X, _Y], ""),
    "range to the end of time": (range(2**62), ""),
    # Arrays.
    "array of no dimension": (np.array("x"), ""),
    "array of None": (np.array(None), ""),
    "array of no dimension of NaN": (np.array(np.nan), ""),
    "empty vector": (np.ones(0), "empty"),
    "empty array of Python's": (array.array("b"), "empty"),
    "vector of NaN": (np.full(5, np.nan), "nans"),
    "vector of inf": (np.full(5, np.inf), "infinities"),
    "vector of -1": (np.full(5, -1), "integers"),
    "vector of 1.5": (np.full(5, 1.5), "numbers"),
    "masked vector": (np.ma.masked_less(_Y, 10.0), ""),
    "masked": (np.ma.masked, ""),
    "complex vector": (_Y + 1j, "complex"),
    "vector of objects": (np.full(5, None), ""),
    "vector of Decimals": (np.array([Decimal(1)] * 5), ""),
    "vector of texts": (np.full(5, "1"), ""),
    "vector of moments": (np.zeros(5, "M8[s]"), ""),
    "vector of labels beyond all classes": (np.full(5, 2**62), "integers"),
    "matrix with NaN": (np.where(np.eye(5, 3) > 0, np.nan, _X), "matrix with NaN"),
    "matrix with inf": (np.where(np.eye(5, 3) > 0, np.inf, _X), "matrix with inf"),
    "matrix masked": (np.ma.masked_less(_X, 0.0), ""),
    "matrix complex": (_X + 1j, "complex matrix"),
    "matrix of times": (np.zeros((5, 3), "M8[s]"), ""),
    "matrix of durations": (np.zeros((5, 3), "m8[s]"), ""),
    "matrix of texts": (np.full((5, 3), "1"), ""),
    "matrix of bytes": (np.full((5, 3), b"1"), ""),
    "matrix of objects": (np.full((5, 3), None), ""),
    "matrix of Fractions": (np.full((5, 3), Fraction(1, 3)), ""),
    "matrix of no rows": (np.ones((0, 3)), "empty matrix"),
    "matrix of no columns": (np.ones((5, 0)), "empty matrix"),
    "matrix of three dimensions": (np.ones((5, 3, 2)), "cube"),
    "matrix of other columns": (np.ones((5, 7)), "matrix"),
    "matrix of 1e300": (1e300 * _X, "matrix"),
    "matrix beyond float32": (1e200 * _X, "matrix"),
    "matrix of a long double": (np.full((5, 3), np.longdouble("1e400")), ""),
    "matrix not symmetric": (np.arange(25.0).reshape(5, 5), "matrix"),
    "matrix larger than all memory": (np.broadcast_to(_ONE, (2**33, 2**20)), ""),
    "vector larger than all memory": (np.broadcast_to(_ONE, 2**55), ""),
    "matrix structured": (np.zeros((5, 3), [("a", "f8")]), ""),
    "sparse array": (sparse.csr_array(_X), ""),
    "sparse matrix": (sparse.coo_matrix(_X), ""),
}

_MADE: dict[str, Callable[[], Any]] = {
    "generator without end": itertools.count,
    "generator of objects": lambda: (object() for _ in range(3)),
    "generator that fails": _failing,
    "stream": lambda: io.BytesIO(b"x"),
    "deque": lambda: deque([object()]),
    "object without repr": _Raises,
    "fails as array": lambda: _with_methods(__array__=_raise),
    "no array as array": lambda: _with_methods(__array__=lambda *_, **__: 3),
    "fails as array and repr": type("Custom", (_Raises,), {"__array__": _raise}),
    "fails at len": lambda: _with_methods(__len__=_raise, __getitem__=_raise),
    "fails at iteration": lambda: _with_methods(__iter__=_raise),
    "negative length": lambda: _with_methods(__len__=lambda _: -1, __iter__=lambda _: iter(())),
    "fails as index": lambda: _with_methods(__index__=_raise),
    "no integer as index": lambda: _with_methods(__index__=lambda _: "1"),
    "fails as float": lambda: _with_methods(__float__=_raise),
    "fails as bool": lambda: _with_methods(__bool__=_raise),
    "fails at comparison": lambda: _with_methods(__eq__=_raise, __hash__=None),
    "fails as path": lambda: _with_methods(__fspath__=_raise),
    "no path as path": lambda: _with_methods(__fspath__=lambda _: 3),
    "fails at DLPack": lambda: _with_methods(__dlpack__=_raise, __dlpack_device__=lambda _: (1, 0)),
    "wrong array interface": lambda: _with_methods(__array_interface__={"version": 3}),
}


def _bare(value: Any) -> Callable[[], Any]:
    return (
        value.copy
        if isinstance(value, np.ndarray) and value.strides != (0,) * value.ndim
        else (lambda: value)
    )


VALUES: dict[str, Value] = {
    **{label: Value(_bare(value), kind, value) for label, (value, kind) in _SIMPLE.items()},
    **{label: Value(make) for label, make in _MADE.items()},
}
VALUES["generator"] = Value(lambda: iter(()), "empty", ())
VALUES["map of nothing"] = Value(lambda: map(str, ()), "empty", ())
VALUES["negative length"] = VALUES["generator"] = Value(lambda: iter(()), "empty", ())
VALUES["map of nothing"] = Value(lambda: map(str, ()), "empty", ())
VALUES["negative length"]._replace(kind="empty", plain=())
VALUES["fails when called"] = Value(lambda: _raise, "function")


def other_forms(value: Any) -> Iterator[tuple[str, Callable[[], Any], Any]]:
    """Yield (label, function that makes it, plain value) for what may stand for a good argument.

    Each is either refused by the name of the parameter, or does what the plain value does.
    """
    if isinstance(value, bool):
        yield "NumPy's truth value", lambda: np.bool_(value), value
    elif isinstance(value, int):
        for kind in (np.int16, np.uint64, np.int64):
            yield f"{kind.__name__}", partial(kind, value), value
        yield "integer of no dimension", lambda: np.array(value), value
        yield "index", lambda: _with_methods(__index__=lambda _: value), value
        yield "choice", lambda: _Choice.TWO, 2
        yield "float", lambda: float(value), value
    elif isinstance(value, float):
        for real in (np.float32, np.float64, np.longdouble):
            yield f"{real.__name__}", partial(real, value), float(real(value))
        yield "fraction", lambda: Fraction(1, 4), 0.25
        yield "number of no dimension", lambda: np.array(value), value
        yield "number of somebody's own", lambda: _Number(value), value
    elif isinstance(value, str):
        yield "NumPy's text", lambda: np.str_(value), value
        yield "text of somebody's own", lambda: _Text(value), value
        yield "Path", lambda: Path(value), value
        yield "bytes of it", value.encode, value
    elif isinstance(value, np.ndarray):
        yield from _other_arrays(value)
    elif isinstance(value, list):
        yield "tuple of it", lambda: tuple(value), value
        yield "generator of it", lambda: (item for item in value), value
        yield "deque of it", lambda: deque(value), value
        if all(isinstance(item, (int, float)) for item in value):
            yield "array of it", lambda: np.array(value), value
            yield "Series of it", lambda: pd.Series(value), value
            yield "set of it", lambda: set(value), value


def _other_arrays(value: Any) -> Iterator[tuple[str, Callable[[], Any], Any]]:
    yield "lists of it", value.tolist, value
    yield "read-only", lambda: _read_only(value), value
    yield "columns first", lambda: np.asfortranarray(value), value
    yield "big-endian", lambda: value.astype(value.dtype.newbyteorder(">")), value
    yield "every second", lambda: np.repeat(value, 2, axis=-1)[..., ::2], value
    yield "backwards", lambda: value[::-1].copy()[::-1], value
    yield "nothing masked", lambda: np.ma.masked_array(value), value
    yield "objects", lambda: value.astype(object), value
    yield "buffer", lambda: memoryview(value.copy()), value
    yield "float16", lambda: value.astype(np.float16), value.astype(np.float16).astype(float)
    yield "int8", lambda: value.astype(np.int8), value.astype(np.int8).astype(np.int64)
    yield "truth values", lambda: value > 0, (value > 0).astype(np.float64)
    yield "not aligned", lambda: _not_aligned(value), value
    if value.ndim == 2:
        yield "table", lambda: pd.DataFrame(value), value
        yield "nullable table", lambda: pd.DataFrame(value).convert_dtypes(), value
        yield "NumPy's matrix", lambda: value.view(np.matrix), value
    if value.ndim == 1:
        yield "Series", lambda: pd.Series(value), value
        yield "nullable Series", lambda: pd.Series(value).convert_dtypes(), value


def _read_only(value: Any) -> Any:
    result = value.copy()
    result.flags.writeable = False
    return result


def _not_aligned(value: Any) -> Any:
    memory = np.zeros(value.nbytes + 1, np.uint8)[1:]
    result = memory.view(value.dtype).reshape(value.shape)
    result[...] = value
    return result
