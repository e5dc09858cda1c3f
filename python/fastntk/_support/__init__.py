# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What every part of the package stands on: arguments, memory, threads, progress, files."""
