# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of networks that have a name, by which every depth of them is described."""

# Without blocks, and with skip connections: as they are, with a normalization at the beginning of
# each branch, and with one after each sum. `fastntk.architectures.Architecture` has the layers.
KINDS = ("plain", "residual", "prenorm", "postnorm")
