# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The libraries that are compared, each in a process of its own that takes the same requests."""
