# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Symmetric matrices: checked or made here, packed, factored, and their extreme eigenpairs.

=================== ====================================================================
matrix              a full matrix that is known to be symmetric and finite
packed              a kernel of which one half is stored, in memory or in a file
products            products with vectors, full or packed
cholesky            Cholesky factors and solutions with them
conjugate_gradients kernel regression with products of the kernel alone
preconditioners     approximate inverses made of a few columns
block_lanczos       the largest eigenpairs of anything that multiplies vectors
lobpcg              the smallest eigenpairs of it
gpu_matrix          a matrix in the memory of a GPU, as an array of CuPy
gpu_cholesky        its Cholesky factors
arrays              small arrays of NumPy or CuPy, on the host
=================== ====================================================================
"""
