# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""NVIDIA GPUs: whether they can be used, or why not, and how they compute.

Nothing here needs a GPU, a driver or CuPy: the driver's library is opened when it is asked for.
After that, processes that need CUDA must be spawned, not forked.
"""

from fastntk.devices.driver import (
    Device,
    cublas_library,
    devices,
    dotted,
    is_available,
    runtime_version,
    too_old,
    why_not,
)
from fastntk.devices.options import Options, current_options, options

__all__ = [
    "Device",
    "Options",
    "cublas_library",
    "current_options",
    "devices",
    "dotted",
    "is_available",
    "options",
    "runtime_version",
    "too_old",
    "why_not",
]
