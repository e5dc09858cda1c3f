# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A symmetric matrix in the memory of a GPU, where CuPy, cuBLAS and cuSOLVER compute.

What the bounds of eigenvalues need of a GPU is float64 arithmetic that rounds each operation
correctly: sums in any order, and multiplications fused with additions, are as good as any. Products
of matrices, and elementwise operations, are such; for what cuSOLVER does, see `gpu_cholesky`.
cuBLAS can be told to emulate float64 with integers, which is not: then there are no bounds.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.rounding import UNIT, gamma
from fastntk.eigenvalues.source import Source
from fastntk.symmetric import gpu_cholesky, gpu_matrix

if TYPE_CHECKING:
    from fastntk._support.progress import Progress
    from fastntk.symmetric.block_lanczos import Vectors

# The variable of the environment that cuBLAS reads, and the mode of cublasMath_t that is called
# CUBLAS_FP64_EMULATED_FIXEDPOINT_MATH.
_EMULATION = "CUBLAS_EMULATE_DOUBLE_PRECISION"
_EMULATED_MATH = 8


class GpuSource(Source):
    """A symmetric matrix A in float64 on a GPU; a factor is beside it or in its lower triangle."""

    def __init__(self, matrix: Any, epsilon: float, *, in_place: bool) -> None:
        import cupy

        self._array = matrix
        self._upper = gpu_cholesky.UpperTriangle(matrix, matrix.diagonal().copy())
        self._target = matrix if in_place else None
        self._intact = True
        self.device = matrix.device
        self.xp = cupy
        self._diagonal = self._upper.diagonal.get()
        super().__init__(self._diagonal, gpu_matrix.frobenius_norm(matrix), epsilon)

    def product(self, vectors: Any) -> Any:
        """Return A V of an array of CuPy."""
        return self._whole() @ vectors

    def product_on_host(self, vectors: Vectors) -> Vectors:
        """Return A V of an array of NumPy."""
        result: Vectors = self.product(self.xp.asarray(vectors)).get()
        return result

    def factor(
        self, shift: float, *, sign: int = 1, progress: Progress = False
    ) -> gpu_cholesky.GpuCholesky:
        """Return the Cholesky factor of sign · A + shift · I; it replaces the one before."""
        target = self._room()
        self._intact = target is not self._array
        return gpu_cholesky.GpuCholesky(
            self._upper, target, shift=shift, sign=sign, progress=progress
        )

    def decomposition_error(self, shift: float, *, sign: int = 1, factor: Any = None) -> float:
        """Bound ‖L Lᵀ − (sign · A + shift · I)‖; without the factor, a guess of it.

        The elements of the difference E are off by γ_n |L||Lᵀ|, whose norm is at most ‖L‖_F², and
        by the rounding of the shifted diagonal d; ‖L‖_F² = tr L Lᵀ ≤ (Σ|d| + √n ‖E‖_F)/(1 − γ_n).
        """
        if factor is None:
            return super().decomposition_error(shift, sign=sign)
        n = self.n
        # Rounded up like the norm of the matrix.
        residual = factor.residual_norm() * (1 + (n * n + 8) * UNIT)
        diagonal = math.fsum(abs(sign * entry + shift) for entry in self._diagonal.tolist())
        squares = (diagonal + math.sqrt(n) * residual) / (1 - gamma(n)) * (1 + 8 * UNIT)
        rounding = 4 * UNIT * (self.largest_diagonal + abs(shift))
        error = residual + gamma(n) * squares + rounding
        return error if math.isfinite(error) else math.inf

    def extreme_eigenvalues(self, k: int) -> tuple[Vectors, Vectors]:
        """Return the k smallest eigenvalues, ascending, and the k largest, descending, on the host.

        CuPy computes all of them.
        """
        import cupy
        import cupyx

        self._require_memory_of_all()
        with cupyx.errstate(linalg="raise"):
            values: Vectors = cupy.linalg.eigvalsh(self._whole()).get()
        return values[:k], values[: -k - 1 : -1]

    def eigenpairs(self) -> tuple[Vectors, Any]:
        """Return all eigenvalues, ascending, on the host, and their eigenvectors on the GPU."""
        import cupy
        import cupyx

        self._require_memory_of_all()
        with cupyx.errstate(linalg="raise"):
            values, vectors = cupy.linalg.eigh(self._whole())
        return values.get(), vectors

    def _require_memory_of_all(self) -> None:
        gpu_matrix.require_gpu_memory(
            3 * 8 * self.n**2,
            f"K: all eigenvalues of a kernel of {self.n} × {self.n}",
            "method='cholesky' takes less",
        )

    def rank(self, floor: float) -> int:
        """Return how many steps a pivoted decomposition takes down to `floor`."""
        work, whole = self._room(), self._whole()
        if work is not whole:
            work[...] = whole
        return gpu_cholesky.rank(work, floor)

    def require_proofs(self) -> None:
        """Raise ValueError where cuBLAS is set to emulate float64."""
        from cupy.cuda import cublas, get_cublas_handle

        variable = os.environ.get(_EMULATION, "")
        with self.device:
            mode = cublas.getMathMode(get_cublas_handle())
        if variable not in {"", "0"} or mode & _EMULATED_MATH:
            raise ValueError(
                f"bounds=True: cuBLAS is set to emulate float64 (by {_EMULATION}={variable!r}, or "
                f"math mode {mode}), and how that rounds is not known: expected standard "
                "arithmetic, or bounds=False"
            )

    def _whole(self) -> Any:
        """Return the matrix, both triangles; it replaces a factor in its place."""
        if not self._intact:
            self._upper.mirror()
            self._intact = True
        return self._array

    def _room(self) -> Any:
        """Return the array whose lower triangle a factor may overwrite."""
        if self._target is None:
            self._target = self.xp.empty_like(self._array)
        return self._target


def source_on_gpu(K: Any, *, overwrite: bool) -> GpuSource:
    """Return the given matrix on a GPU, checked, and copied where it must be.

    Raises
    ------
    ValueError, TypeError, MemoryError, ImportError
        What `fastntk.conditioning` says.
    """
    given, device = gpu_matrix.as_cupy(K, writable=overwrite)
    with device:
        gpu_matrix.require_square_matrix(given)
        n = len(given)
        copied = given.dtype != np.float64 or not given.flags.c_contiguous
        # Beside it: blocks of columns of a factor, and a basis of Lanczos vectors and its images.
        gpu_matrix.require_gpu_memory(
            8 * n * (n * (copied or not overwrite) + 4 * min(n, gpu_cholesky.BLOCK)),
            f"factorizing a kernel of {n} × {n}",
            "give overwrite=True, or fewer samples",
        )
        floats, exact = gpu_matrix.symmetric_floats(given)
        copied = copied or not (exact or overwrite)
        matrix = floats.astype(np.float64, order="C", copy=copied and floats is given)
        if not exact:
            # Which of the triangles counts is a matter of rounding: as on the host, the lower one.
            gpu_cholesky.UpperTriangle(matrix.T, matrix.diagonal().copy()).mirror()
        epsilon = float(np.finfo(floats.dtype).eps)
        return GpuSource(matrix, epsilon, in_place=copied or overwrite)
