# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""One module a figure or table: it computes, says what is drawn, and judges what the paper says."""
