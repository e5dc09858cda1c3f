# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Studies: what is measured of many networks, and the tables and figures made of it."""
