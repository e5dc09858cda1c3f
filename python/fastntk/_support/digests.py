# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Digests of texts and arrays: files are checked by them, cells of studies are known by them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray


def sha256(*parts: str | FloatArray) -> str:
    """Return the SHA-256 of texts, in UTF-8, and of the bytes of arrays, in C order.

    Parts follow each other without anything between them. An array adds neither its shape nor its
    precision: where these are not known otherwise, the caller puts a label in front of it.
    """
    result = hashlib.sha256()
    for part in parts:
        result.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).data)
    return result.hexdigest()
