# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks as data: layers, initial weights, files, PyTorch modules."""
