# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The synthetic samples of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.datasets.dataset import RawSamples

if TYPE_CHECKING:
    from fastntk.datasets.options import ReadOptions

_N, _D = 2000, 5


def read_synthetic(options: ReadOptions) -> RawSamples:
    """Return n samples of the normal distribution N(0, I_d)."""
    options.require_only(("d", "seed"), "'synthetic'")
    n = _N if options.n is None else options.n
    d = _D if options.d is None else options.d
    seed = 0 if options.seed is None else options.seed
    require_memory(8 * n * d, f"n={n} samples of dimension d={d}", "take fewer")
    return RawSamples(
        name="synthetic",
        values=np.random.default_rng(seed).standard_normal((n, d)),
        source=f"{n} samples of the normal distribution N(0, I_{d}) by "
        f"numpy.random.default_rng({seed}); the paper has 2000 of N(0, I_5)",
    )
