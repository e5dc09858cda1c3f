# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""`cupy.cuda.cublas`: the way in which cuBLAS computes."""

CUBLAS_DEFAULT_MATH = 0

_modes: dict[int, int] = {}


def getMathMode(handle: int) -> int:  # noqa: N802
    """The bits of cublasMath_t of a handle."""
    return _modes.get(handle, CUBLAS_DEFAULT_MATH)


def setMathMode(handle: int, mode: int) -> None:  # noqa: N802
    """Set the bits of cublasMath_t of a handle."""
    _modes[handle] = mode
