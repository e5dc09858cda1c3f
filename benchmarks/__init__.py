# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Speed and memory, measured: ``pytest benchmarks``."""
