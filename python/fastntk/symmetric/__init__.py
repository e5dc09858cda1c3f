# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Symmetric matrices: packed storage, products, Cholesky factors, extreme eigenpairs."""
