# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What every public call says of a few bad values, word by word, as written down in refusals.json.

`test_argument_fuzz.py` demands that the parameter is named; what was expected of it is looked at
here. After a wanted change, ``python tests/test_refusals.py`` writes the file anew.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bad_values import VALUES

if TYPE_CHECKING:
    from collections.abc import Callable

WRITTEN = Path(__file__).with_name("refusals.json")
SAID: dict[str, dict[str, str]] = json.loads(WRITTEN.read_text(encoding="utf-8"))
NAMES = tuple(SAID)
BAD = ("object", "-1", "text")


def calls() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Return every public call with its arguments.

    To make these takes half a minute where nothing is compiled yet: it is not done while tests are
    collected, by every process that runs some.
    """
    from public_calls import CALLS

    return CALLS


def said(name: str, folder: Path) -> dict[str, str]:
    """Return the errors of a call, by its parameters and their values."""
    from public_calls import parameters

    call, arguments = calls()[name]
    found = {}
    for parameter in (parameter.name for parameter in parameters(call)):
        for label in BAD:
            copies = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
            try:
                with contextlib.chdir(folder):
                    call(**copies | {parameter: VALUES[label].make()})
            except Exception as error:
                text = re.sub(r" at 0x[0-9a-f]+", " at 0x…", f"{type(error).__name__}: {error}")
                found[f"{parameter}: {label}"] = text.replace(str(folder), "FOLDER")
    return found


def test_all_calls_are_in_it() -> None:
    assert set(NAMES) == set(calls())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said(name: str, tmp_path: Path) -> None:
    assert said(name, tmp_path) == SAID[name]


def main() -> None:
    found = {}
    for name in calls():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = said(name, Path(folder))
    text = json.dumps(found, indent=1, ensure_ascii=False)
    WRITTEN.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
