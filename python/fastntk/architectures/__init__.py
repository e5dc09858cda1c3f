# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks that are described by their layers, and kinds of them for every depth."""

from fastntk.architectures.by_depth import Architecture

__all__ = ["Architecture"]


def __dir__() -> list[str]:
    """Return the public names, and not those of the files that they come from."""
    return sorted(__all__)
