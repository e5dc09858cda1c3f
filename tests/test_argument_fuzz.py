# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every parameter of every public call with every bad value: an error that names the parameter.

Or a conversion: what is accepted gives the same as the plain value for which it stands. In either
case there are no warnings, and where there is an error no files. A sample of the cases by default;
all of them are a long suite.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from bad_values import VALUES, Value, other_forms
from test_refusals import NAMES, calls

from fastntk.studies.depth_results import COSTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What a sample of the cases is.
_SAMPLE = 2500

# Counts that only patience limits.
_PATIENCE = {"epochs", "steps", "most_passes", "rate_steps", "search_epochs"}
# None is a default that asks for all of the paper.
_WHOLE = {"only"}

_NUMBER = {"number", "integer"}
_NUMBERS = {"numbers", "integers"}
_PATH = {"path", "text"}
_MATRIX = {"matrix"}

# The kinds of values that a parameter takes, by its name; the value must still be in its range.
# None is one where it is the default.
KINDS: dict[str, set[str]] = {
    **{
        name: {"integer"}
        for name in (
            *("batch_size", "seed", "seeds", "width", "depth", "depths", "k", "output", "outputs"),
            *("max_iterations", "preconditioner_rank"),
            *("epochs", "steps", "jobs", "subset", "rate_samples", "tile", "size", "i", "n"),
            *("most_passes", "callback_every", "probe_every", "degree", "search_epochs"),
            *("keep_every", "inputs"),
            *("rate_steps", "batches", "refinement", "d", "hop", "bottleneck", "hessian_samples"),
            *("chunks", "workers", "threads", "memory"),
        )
    },
    **dict.fromkeys(
        (
            *("weight_std", "bias_std", "activation_scale", "init_scale", "learning_rate"),
            *("feature_error", "kernel_error", "loss_target", "tolerance", "ridge", "frequency"),
            *("phase", "slope", "offset", "gamma", "rate", "beta", "alpha", "negative"),
            *("positive", "target", "momentum", "epsilon", "scale", "trained"),
        ),
        _NUMBER,
    ),
    **{
        name: {"flag"}
        for name in (
            *("drop_last", "bounds", "eigenvectors", "overwrite", "infinite", "shared", "inplace"),
            *("normalize", "covariance", "mmap", "verify", "keep_kernel", "eval_gradient", "full"),
            *("download", "different_labels"),
            *("gain", "shift", "trained"),
        )
    },
    **dict.fromkeys(("path", "store", "directory", "checkpoint", "out"), _PATH),
    **dict.fromkeys(("X", "Z", "Y", "K", "y", "u", "v", "direction"), _MATRIX),
}
for _name, _kinds in {
    "progress": {"flag", "function", "none"},
    "callback": {"function"},
    "each": {"function"},
    "function": {"function"},
    "derivative": {"function"},
    "curvature": {"function"},
    "net": {"network"},
    "network": {"network"},
    "name": {"text"},
    "data": {"text"},
    "activation": {"activation"},
    "output_activation": {"activation"},
    "grid": _NUMBERS,
    "breakpoints": _NUMBERS | {"empty", "empty matrix"},
    "depth": {"integers"},
    "depths": {"integers"},
    "blocks": {"integers", "integer"},
    "architecture": {"function"},
    "residual_scale": _NUMBER | _NUMBERS,
    "trained": {"flag", "number", "flags", "integer"} | _NUMBERS,
    "width": {"integers"},
    "widths": {"integers"},
    "weight_std": _NUMBERS,
    "bias_std": _NUMBERS,
    "layer_weights": _NUMBERS,
    "K": {"packed", "operator"},
    "out": {"matrix"},
    "biases": {"nones"},
    "init_scale": _NUMBERS,
    "parameters": {"empty", "empty matrix"} | _NUMBERS,
    "activation_scale": _NUMBERS | {"nones"},
    "losses": _NUMBERS | {"empty", "infinities", "nans", "flags"},
    "theta": _NUMBERS | _NUMBER | {"empty", "empty matrix", "cube", "matrix", "flag", "flags"},
    "time": _NUMBERS
    | _NUMBER
    | {"infinity", "infinities", "empty", "empty matrix", "cube", "matrix"},
    "steps": _NUMBERS | {"empty", "empty matrix", "cube", "matrix"},
    "pairs": {"empty", "empty matrix"},
    "dtype": {"none"},
    "network_dtype": {"none"},
    "y": _NUMBERS,
    "seed": {"number"},
    "random_state": {"integer", "number"},
    "limit": {"integer"},
    "weight_std_bounds": _NUMBERS | {"matrix"},
    "bias_std_bounds": _NUMBERS | {"matrix"},
    "u": _NUMBERS,
    "v": _NUMBERS,
    "direction": _NUMBERS,
    "coefficients": _NUMBERS | _NUMBER,
    "description": {"mapping"},
    "layer_rates": _NUMBERS,
    "vectors": _NUMBERS
    | {"matrix", "complex", "complex matrix", "infinities", "nans"}
    | {"matrix with NaN", "matrix with inf", "empty matrix"},
    "seeds": {"integers"},
    "indices": {"integers"},
    "number": {"integer"},
    "feature_error": {"infinity"},
    "kernel_error": {"infinity"},
}.items():
    KINDS[_name] = KINDS.get(_name, set()) | _kinds


class Case(NamedTuple):
    """A value for a parameter of a call, with what is equal to it (None: nothing is)."""

    call: str
    parameter: str
    label: str
    value: Value
    default: Any

    def __str__(self) -> str:
        return f"{self.call}({self.parameter}: {self.label})"


def cases(names: Iterable[str] = NAMES) -> Iterator[Case]:
    from public_calls import parameters

    for name in names:
        call, arguments = calls()[name]
        for parameter in parameters(call):
            where, default = parameter.name, parameter.default
            for label, value in VALUES.items():
                long = where in _PATIENCE and label in {"2**62", "list of 2**62"}
                if not long and not (where in _WHOLE and label == "None"):
                    yield Case(name, where, label, value, default)
            for label, make, plain in other_forms(arguments.get(where, default)):
                # A kernel's own precision counts, see `conditioning`.
                own = where == "K" and label == "float16"
                form = Value(make, "form", make() if own else plain)
                yield Case(name, where, f"good one as {label}", form, default)


def complaint(case: Case) -> str | None:
    """Return what is wrong with the answer to a bad value, or None."""
    call, arguments = calls()[case.call]
    kinds = KINDS.get(case.parameter, set())
    if "function" in kinds and case.parameter != "function" and callable(case.value.make()):
        return None  # it is taken, and what it raises when it is called is its own affair
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "X has .* rows", UserWarning)  # as documented
        try:
            found = call(**_given(arguments, case.parameter, case.value.make()))
        except (ValueError, TypeError, OverflowError, OSError, MemoryError) as error:
            return _of_error(case, error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        if not _takes(case):
            return "accepted"
        if case.parameter == "out" and isinstance(case.value.plain, str):
            with contextlib.suppress(OSError):  # it is a folder, or nothing
                Path(case.value.plain).unlink()  # what is there is not written over
        try:
            expected = call(**_given(arguments, case.parameter, case.value.plain))
        except Exception as error:
            return f"accepted, but the plain value is not: {error}"
    return None if same(found, expected) else "accepted, but not the same as the plain value"


def _given(arguments: dict[str, Any], parameter: str, value: Any) -> dict[str, Any]:
    copies = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    return copies | {parameter: value}


def _of_error(case: Case, error: Exception) -> str | None:
    # An item of `activations` may be called by its own name, "activation".
    names = rf"\b({case.parameter}|{re.sub('(?<!s)s$', '', case.parameter)})\b"
    # What infinite.predict says of singular kernels, whatever makes them so.
    if re.match("ridge=.*: the kernel of X is singular", str(error)):
        return None
    # A network that does not fit the samples may be found with these.
    others = "X has" if case.value.kind == "network" else names
    if not re.search(names, str(error)) and not re.search(others, str(error)):
        return f"{type(error).__name__}: {error}"
    # What is too large may be found out when something has been finished.
    late = isinstance(error, (OverflowError, MemoryError))
    left = [] if late else sorted(path.name for path in Path().iterdir())
    return f"{left} were written before the error" if left else None


def _takes(case: Case) -> bool:
    kind = case.value.kind
    if case.call.startswith("distributed.") and case.label == "limit":
        return case.call != "distributed.ntk_by_layer"
    if kind in KINDS.get(case.parameter, set()) | {"form"}:
        return True
    return (case.default is None and kind == "none") or case.value.plain is case.default


def same(a: Any, b: Any) -> bool:  # noqa: PLR0911
    """Return whether two results are equal, times and costs left out."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, pd.DataFrame):
        return bool(a.equals(b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a if "seconds" not in str(k))
    if dataclasses.is_dataclass(a):
        skipped = {"seconds", "stored", *COSTS}
        names = [f.name for f in dataclasses.fields(a) if f.compare and f.name not in skipped]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (str, bytes, bool, int, type(None))):
        return bool(a == b)
    if isinstance(a, float):
        return bool(a == b or (a != a and b != b))  # noqa: PLR0124
    return True  # figures, operators, functions


def complaints(chosen: Iterable[Case], folder: Path) -> dict[str, str]:
    """Return what is wrong with some cases, each of which begins in an empty folder."""
    found = {}
    with contextlib.chdir(folder):
        for case in chosen:
            problem = complaint(case)
            if problem is not None:
                found[str(case)] = problem
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return found


_NOTICED = {
    "text of a number": "ValueError: expected something else",
    "text of nan": "RuntimeWarning: steps is strange",
    "None": "['left'] were written before the error",
    "object": "accepted",
    "good one as int64": "accepted, but not the same as the plain value",
    "2": "",
}


def test_every_public_call_is_covered() -> None:
    from public_calls import CALLS, EXEMPT, public_calls

    public = set(public_calls())
    assert public - set(CALLS) - set(EXEMPT) == set()
    assert set(EXEMPT) <= public
    assert not set(EXEMPT) & set(CALLS)


def test_the_base_calls_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call, arguments in calls().values():
        call(**arguments)


def test_bad_answers_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(steps: Any = 1) -> Any:
        if steps == "1":
            raise ValueError("expected something else")
        if steps == "nan":
            warnings.warn("steps is strange", RuntimeWarning, stacklevel=1)
            raise ValueError("steps=nan")
        if steps is None:
            Path("left").touch()
            raise TypeError("steps=None")
        return type(steps).__name__

    monkeypatch.setitem(calls(), "call", (call, {}))
    found = complaints((c for c in cases(["call"]) if c.label in _NOTICED), tmp_path)
    assert found == {f"call(steps: {label})": text for label, text in _NOTICED.items() if text}


def test_bad_values_are_refused_by_name(tmp_path: Path) -> None:
    every = list(cases())
    assert len({str(case) for case in every}) == len(every) > 90_000
    assert len(VALUES) > 180
    chosen = np.random.default_rng(14).permutation(len(every))[:_SAMPLE]
    assert complaints([every[i] for i in chosen], tmp_path) == {}


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_all_bad_values_are_refused_by_name(name: str, tmp_path: Path) -> None:
    assert complaints(cases([name]), tmp_path) == {}
