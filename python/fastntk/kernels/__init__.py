# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of finite networks: what is asked, features, blocks, destinations, angles."""
