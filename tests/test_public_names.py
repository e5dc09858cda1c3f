# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every public name with its arguments and their defaults, as written down in public_names.json.

What leaves the list, or takes other arguments, breaks programs: see docs/stability.md. After a
wanted change, look at the difference that ``python tests/test_public_names.py`` makes in the list,
and commit that as well.
"""

from __future__ import annotations

import importlib
import inspect
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from test_structure import PUBLIC

WRITTEN = Path(__file__).with_name("public_names.json")
CALLED = {"__call__", "__getitem__", "__len__", "__matmul__", "__rmatmul__"}


def signature(function: Any) -> str:
    """Return the arguments with their defaults; annotations may become more exact at any time."""
    found = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return str(inspect.Signature(bare))


def members(kind: type) -> dict[str, str]:
    """Return the attributes of a class that it does not have from elsewhere."""
    own = [base for base in reversed(kind.__mro__) if base.__module__.startswith("fastntk")]
    names = {name for base in own for name in vars(base)}
    if is_dataclass(kind):
        names |= {field.name for field in fields(kind)}
    # Requests of metadata are methods that scikit-learn makes, as its version has them.
    names = {name for name in names if not name.endswith("_request")}
    public = sorted(name for name in names if not name.startswith("_") or name in CALLED)
    found = {}
    for name in public:
        value = getattr(kind, name, None)
        is_method = inspect.isfunction(value) or inspect.ismethod(value)
        found[name] = signature(value) if is_method else "attribute"
    return found


def described(value: Any) -> Any:
    if inspect.isclass(value):
        return {"()": signature(value), **members(value)}
    if inspect.ismodule(value):
        return "module"
    return signature(value) if inspect.isfunction(value) else "a value"


def public_names() -> dict[str, Any]:
    return {
        f"{module}.{name}": described(getattr(importlib.import_module(module), name))
        for module, names in PUBLIC.items()
        for name in names
    }


def test_public_names_and_their_arguments() -> None:
    written = json.loads(WRITTEN.read_text(encoding="utf-8"))
    found = public_names()
    assert set(found) == set(written)
    assert {name: found[name] for name in found if found[name] != written[name]} == {}


def test_the_list_is_the_same_everywhere() -> None:
    """No addresses, which differ from run to run."""
    text = WRITTEN.read_text(encoding="utf-8")
    assert " at 0x" not in text
    assert text == written_as(json.loads(text))


def written_as(names: dict[str, Any]) -> str:
    return json.dumps(names, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    WRITTEN.write_text(written_as(public_names()), encoding="utf-8")


if __name__ == "__main__":
    main()
