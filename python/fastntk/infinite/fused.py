# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""a b + c in compiled code, rounded once: one instruction, and the same bits in every loop.

Where a compiler is free to contract products and sums, it does so as suits each loop.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


def _generate(context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


fused: Any = intrinsic(_generate)
