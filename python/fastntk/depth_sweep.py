# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of many depths in one pass, under the name by which they are documented.

Networks of different depth share the weights of their common hidden layers; those of `ntk_depths`
with ``shared=False`` have the seeds of `independent_seed`.
"""

from fastntk.kernels.depth_sweep import independent_seed, ntk_depths

__all__ = ["independent_seed", "ntk_depths"]
