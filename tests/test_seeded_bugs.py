# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The bugs that `seed_bugs.py` seeds are what they say, and what is explained is still there."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from seed_bugs import Modules
from small_bugs import bugs_of

import fastntk

MODULE = '''
"""Left alone."""
import math

LABEL = "angle (degrees)"

def distance(a: float, b: float, *, scale: float = 2.0) -> float:
    """Left alone as well."""
    if a < b and not math.isnan(b):
        raise ValueError(f"a={a}: expected more than {b + 1}")
    result = {"difference": math.sqrt(max(a - b, 0.0))}
    result["scaled"] = scale * result["difference"]
    return divide(result["scaled"], by=scale)

def is_side(a: object) -> bool:
    return isinstance(a, (bytes, str)) and a in ("left", "right")
'''
FOUND = {
    ("comparison", "if a <= b and (not math.isnan(b)):"),
    ("comparison", "if a > b and (not math.isnan(b)):"),
    ("and, or", "if a < b or not math.isnan(b):"),
    ("sign or negation left out", "if a < b and math.isnan(b):"),
    ("condition", "if not (a < b and (not math.isnan(b))):"),
    ("error left out", "pass"),
    ("constant", "LABEL = 'angle (degrees)_'"),
    ("constant", "def distance(a: float, b: float, *, scale: float=4.0) -> float:"),
    ("arithmetic", "result = {'difference': math.sqrt(max(a + b, 0.0))}"),
    ("arithmetic", "result['scaled'] = scale / result['difference']"),
    ("another of a pair", "result = {'difference': math.sqrt(min(a - b, 0.0))}"),
    ("function left out", "result = {'difference': max(a - b, 0.0)}"),
    ("entry left out", "result = {}"),
    ("statement left out", "pass"),
    ("argument left out", "return divide(result['scaled'])"),
    ("constant", "return isinstance(a, (bytes, str)) and a in ('left_', 'right')"),
}


def test_bugs_of_a_module() -> None:
    tree = ast.parse(MODULE)
    found = {(bug.kind, bug.difference(tree)[1]) for bug in bugs_of("module.py", tree)}
    assert found >= FOUND, FOUND - found
    assert not any("alone" in line or "expected" in line or "import" in line for _, line in found)
    # It does not matter in which order they stand.
    assert not any("(str, bytes)" in line or "('right', 'left')" in line for _, line in found)
    for bug in bugs_of("module.py", tree):
        source = bug.applied(tree)
        compile(source, "module.py", "exec")
        assert source != ast.unparse(tree) + "\n", bug.kind


with Path(__file__).with_name("explained_bugs.toml").open("rb") as file:
    EXPLAINED = tomllib.load(file)["bug"]


@pytest.mark.parametrize("entry", EXPLAINED, ids=lambda entry: entry["path"])
def test_explained_bugs_are_still_possible(entry: dict[str, str]) -> None:
    path = Path(fastntk.__file__).parent / entry["path"]
    lines = [line.strip() for line in ast.unparse(ast.parse(path.read_text("utf-8"))).splitlines()]
    assert all(line in lines for line in entry["old"].splitlines())
    assert entry["new"] != entry["old"]
    assert entry["reason"]


def test_loops_are_compiled_with_what_they_call() -> None:
    affected = Modules([""], []).compiled_with("infinite/duals/vectorized.py")
    assert {f"infinite/duals/{name}.py" for name in ("vectorized", "waves", "gelu")} <= affected
    assert "infinite/network.py" not in affected
