# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The double of `cupyx`; see that of `cupy`."""

from cupyx._ufunc_config import errstate

__all__ = ["errstate"]
