# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of finite networks.

`methods` are what users call. They make a `request`, which `block_loop` computes block by block,
from samples or `features`, in `block_sizes` that fit in memory, for one of the `destinations`.
"""
