# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where computations run: the processor, GPUs, and the arrays that lie there."""
