# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Symmetric matrices in the memory of a GPU, where CuPy, cuBLAS and cuSOLVER compute.

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

from fastntk._support.dtypes import FLOAT_DTYPES
from fastntk._support.memory import require_of
from fastntk.devices import gpu_arrays, matrices
from fastntk.eigenvalues.enclosures import gamma
from fastntk.eigenvalues.gpu_cholesky import BLOCK, GpuCholesky, UpperTriangle, blocks, rank
from fastntk.eigenvalues.sources import Source, check_scale

if TYPE_CHECKING:
    from fastntk._support.progress import Progress
    from fastntk.symmetric.block_lanczos import Vectors

_UNIT = 2.0**-53

# Elements of the rows that are looked at together: what is made of them takes some of these.
_ELEMENTS = 2**26

# Of the environment, read by cuBLAS; and of cublasMath_t, CUBLAS_FP64_EMULATED_FIXEDPOINT_MATH.
_EMULATION = "CUBLAS_EMULATE_DOUBLE_PRECISION"
_EMULATED_MATH = 8


class GpuSource(Source):
    """A symmetric matrix A in float64 on a GPU; a factor is beside it or in its lower triangle."""

    def __init__(self, matrix: Any, epsilon: float, *, in_place: bool) -> None:
        import cupy

        norms = [float(cupy.linalg.norm(matrix[rows].reshape(-1))) for rows in _strips(len(matrix))]
        self._array = matrix
        self._upper = UpperTriangle(matrix, matrix.diagonal().copy())
        self._target = matrix if in_place else None
        self._intact = True
        self.device = matrix.device
        self.xp = cupy
        self._diagonal = self._upper.diagonal.get()
        self._describe(self._diagonal, math.hypot(*norms), epsilon)

    def product(self, vectors: Any) -> Any:
        """Return A V of an array of CuPy."""
        return self._whole() @ vectors

    def product_on_host(self, vectors: Vectors) -> Vectors:
        """Return A V of an array of NumPy."""
        result: Vectors = self.product(self.xp.asarray(vectors)).get()
        return result

    def factor(  # type: ignore[override]
        self, shift: float, *, sign: int = 1, progress: Progress = False
    ) -> GpuCholesky:
        """Return the Cholesky factor of sign · A + shift · I; it replaces the one before."""
        target = self._room()
        self._intact = target is not self._array
        return GpuCholesky(self._upper, target, shift=shift, sign=sign, progress=progress)

    def decomposition_error(self, shift: float, *, sign: int = 1, factor: Any = None) -> float:
        """Bound ‖L Lᵀ − (sign · A + shift · I)‖; without the factor, a guess of it.

        The elements of the difference E are off by γ_n |L||Lᵀ|, whose norm is at most ‖L‖_F², and
        by the rounding of the shifted diagonal d; ‖L‖_F² = tr L Lᵀ ≤ (Σ|d| + √n ‖E‖_F)/(1 − γ_n).
        """
        if factor is None:
            return super().decomposition_error(shift, sign=sign)
        n = self.n
        # Rounded up like the norm of the matrix.
        residual = factor.residual_norm() * (1 + (n * n + 8) * _UNIT)
        diagonal = math.fsum(abs(sign * entry + shift) for entry in self._diagonal.tolist())
        squares = (diagonal + math.sqrt(n) * residual) / (1 - gamma(n)) * (1 + 8 * _UNIT)
        rounding = 4 * _UNIT * (self.largest_diagonal + abs(shift))
        error = residual + gamma(n) * squares + rounding
        return error if math.isfinite(error) else math.inf

    def eigenpairs(self) -> tuple[Vectors, Any]:
        """Return all eigenvalues, ascending, on the host, and their eigenvectors on the GPU."""
        import cupy
        import cupyx

        _require(
            3 * 8 * self.n**2,
            f"all eigenvalues of a kernel of {self.n} × {self.n}",
            "method='cholesky' takes less",
        )
        with cupyx.errstate(linalg="raise"):
            values, vectors = cupy.linalg.eigh(self._whole())
        return values.get(), vectors

    def rank(self, floor: float) -> int:
        """Return how many steps a pivoted decomposition takes down to `floor`."""
        work, whole = self._room(), self._whole()
        if work is not whole:
            work[...] = whole
        return rank(work, floor)

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


def open_source(K: Any, *, overwrite: bool) -> Source:
    """Return the given matrix on a GPU, checked; see `sources.open_source`."""
    given, device = _as_cupy(K, writable=overwrite)
    with device:
        matrices.require_real_matrix(given, "K")
        matrices.require_square(given, "K")
        n = len(given)
        copied = given.dtype != np.float64 or not given.flags.c_contiguous
        # Beside it: blocks of columns of a factor, and a basis of Lanczos vectors and its images.
        _require(
            8 * n * (n * (copied or not overwrite) + 4 * min(n, BLOCK)),
            f"factorizing a kernel of {n} × {n}",
            "give overwrite=True, or fewer samples",
        )
        floats, exact = _symmetric(given)
        copied = copied or not (exact or overwrite)
        matrix = floats.astype(np.float64, order="C", copy=copied and floats is given)
        if not exact:
            # Which of the triangles counts is a matter of rounding: as on the host, the lower one.
            UpperTriangle(matrix.T, matrix.diagonal().copy()).mirror()
        epsilon = float(np.finfo(floats.dtype).eps)
        source = GpuSource(matrix, epsilon, in_place=copied or overwrite)
    check_scale(source)
    return source


def spectrum(K: Any) -> Vectors:
    """Return all eigenvalues of a matrix on a GPU, ascending; see `fastntk.spectrum`."""
    given, device = _as_cupy(K, writable=False)
    import cupy
    import cupyx

    with device, cupyx.errstate(linalg="raise"):
        matrices.require_real_matrix(given, "K")
        matrices.require_square(given, "K")
        n = len(given)
        _require(
            (2 if given.dtype == np.float64 else 3) * 8 * n * n,
            f"all eigenvalues of a kernel of {n} × {n}",
            "fastntk.conditioning finds the extreme ones in less",
        )
        floats, _ = _symmetric(given)
        values: Vectors = cupy.linalg.eigvalsh(floats.astype(np.float64, copy=False)).get()
    return values


def _as_cupy(K: Any, *, writable: bool) -> tuple[Any, Any]:
    """Return an array of CuPy in the memory of K, and the device to make current."""
    try:
        import cupy
        import cupyx.scipy.linalg  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"K is a {type(K).__module__}.{type(K).__qualname__} in the memory of a GPU, whose "
            f"eigenvalues CuPy would compute there, but it cannot be imported ({error}): pip "
            "install 'cupy-cuda13x[ctk]'. Or hand over a copy in the memory of the host, such as "
            "K.cpu() of PyTorch"
        ) from error
    if isinstance(K, cupy.ndarray):
        return K, K.device
    # CuPy copies what lies on another GPU than the current one, and writes what is read-only.
    with cupy.cuda.Device(gpu_arrays.gpu_number(K)):
        gpu_arrays.device_matrix(K, "K", writable=writable)
        by_interface = hasattr(K, "__cuda_array_interface__")
        array = cupy.asarray(K) if by_interface else cupy.from_dlpack(K)
    return array, array.device


def _symmetric(given: Any) -> tuple[Any, bool]:
    """Return a symmetric matrix as floats, not copied if it is that, and if it is so to the bit."""
    floats = given.astype(given.dtype if given.dtype in FLOAT_DTYPES else np.float64, copy=False)
    largest = _largest(floats)
    difference, (i, j) = _asymmetry(floats)
    if difference > matrices.SYMMETRY_ROUNDINGS * float(np.finfo(floats.dtype).eps) * largest:
        raise ValueError(
            f"K is not symmetric: K[{i}, {j}]={floats[i, j].get()[()]!r} but "
            f"K[{j}, {i}]={floats[j, i].get()[()]!r}"
        )
    return floats, difference == 0


def _largest(floats: Any) -> float:
    """Return the largest absolute value; refuse what is not finite."""
    import cupy

    largest, bad, first = 0.0, 0, None
    for rows in _strips(len(floats)):
        finite = cupy.isfinite(floats[rows])
        if bool(finite.all()):
            largest = max(largest, float(abs(floats[rows]).max()))
            continue
        bad += int((~finite).sum())
        if first is None:
            i, j = (int(index) for index in cupy.argwhere(~finite)[0].get())
            first = rows.start + i, j
    if first is not None:
        raise ValueError(
            f"K[{first[0]}, {first[1]}]={floats[first].get()[()]!r}: expected numbers that are "
            f"finite in {floats.dtype} ({bad} of {floats.size} are not)"
        )
    return largest


def _asymmetry(floats: Any) -> tuple[float, tuple[int, int]]:
    """Return the largest difference of an element to its mirror image, and where it is."""
    worst, at = 0.0, (0, 0)
    for rows in _strips(len(floats)):
        difference = abs(floats[rows] - floats[:, rows].T)
        most = float(difference.max())
        if most > worst:
            i, j = divmod(int(difference.argmax()), len(floats))
            worst, at = most, (rows.start + i, j)
    return worst, at


def _strips(n: int) -> Any:
    """Yield strips of rows that are few enough for copies of them."""
    return blocks(n, size=max(1, _ELEMENTS // n))


def _require(needed: int, what: str, instead: str) -> None:
    """Raise MemoryError, before any work, if so much of the GPU's memory is not to be had."""
    import cupy

    pool = cupy.get_default_memory_pool()
    if cupy.cuda.get_allocator() != pool.malloc:
        return  # another library has what is free, and cannot be asked: CuPy will say when it ends
    available, _ = cupy.cuda.Device().mem_info
    available += pool.free_bytes()
    if pool.get_limit() > 0:
        available = min(available, pool.get_limit() - pool.used_bytes())
    require_of(available, needed, what, instead, "the GPU's ")
