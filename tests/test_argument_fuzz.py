# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every parameter of every public call with every bad value: an error that names the parameter.

A sample of the cases by default, all of them where FASTNTK_LONG=1 is set in the environment.
"""

from __future__ import annotations

import inspect
import os
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from bad_values import CALLS, VALUES

import fastntk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

Case = tuple[str, str, str]  # call, parameter, value

_SAMPLE = 3000

# Counts that only patience limits.
_PATIENCE = {"epochs", "steps", "most_passes"}

_NUMBERS = [
    "weight_std",
    "bias_std",
    "activation_scale",
    "init_scale",
    "learning_rate",
    "feature_error",
    "kernel_error",
    "loss_target",
    "tolerance",
    "ridge",
    "time",
    "frequency",
    "phase",
    "slope",
    "offset",
    "gamma",
    "rate",
    "beta",
    "alpha",
    "negative",
    "positive",
    "grid",
    "theta",
    "breakpoints",
]
_FLAGS = [
    "drop_last",
    "bounds",
    "eigenvectors",
    "overwrite",
    "infinite",
    "shared",
    "inplace",
    "normalize",
    "covariance",
    "progress",
]

# What is no mistake, by parameter. None is none where it is the default.
CONVERSIONS: dict[str, set[str]] = {
    # Numbers are numbers; so are those of NumPy, and negative ones where the sign is free.
    **{name: {"1.5"} for name in _NUMBERS},
    **{name: {"True"} for name in _FLAGS},
}
for _name in ("phase", "offset", "negative", "positive", "alpha", "rate"):
    CONVERSIONS[_name] |= {"-1", "-1.5", "NumPy's -1"}
for _name, _values in {
    # A function is called with the progress, and None is no progress.
    "progress": {"function", "None"},
    "callback": {"function"},
    "derivative": {"function"},
    # The end of training; several times, in an array of any shape.
    "time": {"inf", "list of 1.5", "empty list", "empty tuple"}
    | {"matrix of no rows", "matrix of no columns"}
    | {"matrix of three dimensions", "matrix of other columns"},
    # Several rates, of any iterable.
    "grid": {"list of 1.5"},
    "breakpoints": {v for v in VALUES if v.startswith("empty") and "text" not in v}
    | {"list of 1.5", "list of -1", "set", "generator", "matrix of no rows"},
    # Scales layer by layer.
    "activation_scale": {"set", "list of 1.5", "list of None"},
    "biases": {"list of None"},
    # Angles of any shape; truth values are 0 and 1.
    "theta": {"True", "list of True", "list of 1.5", "empty list", "empty tuple"}
    | {"matrix of no rows", "matrix of no columns"}
    | {"matrix of three dimensions", "matrix of other columns"},
    # NumPy takes the type of what has one, and float64 for None.
    "dtype": {"None", "matrix sparse", "NumPy's NaN"},
    "network_dtype": {"None", "matrix sparse", "NumPy's NaN"},
    # Pairs of an empty sequence are none.
    "pairs": {"empty list", "empty tuple", "generator", "matrix of no rows"},
    # Any matrix of samples or targets will do.
    "X": {"matrix of other columns"},
    "y": {"matrix of other columns"},
    # Any name, of a file or of a function.
    "store": {"text", "text of a number", "bytes"},
    "name": {"text", "empty text", "text of a number"},
    "activation": {"activation"},
}.items():
    CONVERSIONS.setdefault(_name, set()).update(_values)


def _parameters(call: Any) -> Iterator[inspect.Parameter]:
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind not in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
            yield parameter


def cases() -> Iterator[tuple[Case, Any, dict[str, Any], Any]]:
    """Yield each case with what is called, arguments that work, and the parameter's default."""
    for name, call, arguments in CALLS:
        signed = fastntk.MLP.ntk_tiles if name == "MLP.ntk_tiles" else call
        for parameter in _parameters(signed):
            if parameter.name == "self":
                continue
            for label in VALUES:
                if label == "1e400" and parameter.name in _PATIENCE:
                    continue
                yield (name, parameter.name, label), call, arguments, parameter.default


def complaint(case: Case, call: Any, arguments: dict[str, Any], default: Any) -> str | None:
    """Return what is wrong with the answer to a bad value, or None."""
    _, parameter, label = case
    given = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    try:
        call(**{**given, parameter: VALUES[label]})
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        # An item of `activations` may be called by its own name, "activation".
        names = rf"\b({parameter}|{re.sub('(?<!s)s$', '', parameter)})\b"
        return None if re.search(names, str(error)) else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if label in CONVERSIONS.get(parameter, set()) or VALUES[label] is default:
        return None
    return "accepted"


def test_bad_values_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    every = list(cases())
    assert len({case for case, *_ in every}) == len(every) > 15_000
    if os.environ.get("FASTNTK_LONG") != "1":
        chosen = np.random.default_rng(14).permutation(len(every))[:_SAMPLE]
        every = [every[i] for i in chosen]
    failures = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case, *rest in every:
            found = complaint(case, *rest)
            if found is not None:
                failures[case] = found
    assert not failures, f"{len(failures)} bad values are not refused by the parameter's name"


def test_the_base_calls_work() -> None:
    for _, call, arguments in CALLS:
        call(**{k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()})
