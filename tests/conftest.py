# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Settings and fixtures for all tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Machines are shared and noisy: a slow example is no failure.
settings.register_profile("fastntk", deadline=None, max_examples=40)
settings.load_profile("fastntk")


@pytest.fixture(scope="module")
def cupy() -> Iterator[Any]:
    """The test double of CuPy, which `import cupy` finds until the module's tests are done."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] in {"cupy", "cupyx"}]:
            patch.delitem(sys.modules, name)
        patch.syspath_prepend(Path(__file__).parent / "cupy_on_host")
        import cupy

        yield cupy
        for name in [name for name in sys.modules if name.split(".")[0] in {"cupy", "cupyx"}]:
            del sys.modules[name]
