# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""`cupyx.errstate`: whether what cuSOLVER reports is looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_linalg = ["ignore"]


def get_config_linalg() -> str:
    """ "ignore", the default, or "raise"."""
    return _linalg[0]


@contextlib.contextmanager
def errstate(
    *,
    divide: None = None,
    over: None = None,
    under: None = None,
    invalid: None = None,
    linalg: str | None = None,
) -> Iterator[None]:
    """Only `linalg` is implemented, in CuPy too: "ignore" or "raise"."""
    if (divide, over, under, invalid) != (None,) * 4 or linalg not in {None, "ignore", "raise"}:
        raise NotImplementedError
    before = _linalg[0]
    _linalg[0] = linalg or before
    try:
        yield
    finally:
        _linalg[0] = before
