# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Beyond one machine: runs on one and two workers, rates, and what large ones would take."""
