# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""fastntk beside its peers and beside the limit of the machine: ``python -m benchmarks.table``."""
