# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Libraries that only some data sets need."""

from __future__ import annotations

import importlib
from typing import Any


def library(module: str, needed_for: str, install: str = "fastntk[data]") -> Any:
    """Return a module; ModuleNotFoundError with what to install where it is not there."""
    try:
        return importlib.import_module(module)
    # OSError: the module is there, but not the shared library that it stands on.
    except (ImportError, OSError) as error:
        raise ModuleNotFoundError(
            f"{needed_for} needs {module}, which cannot be imported ({error}): "
            f"pip install '{install}'",
            name=module,
        ) from error
