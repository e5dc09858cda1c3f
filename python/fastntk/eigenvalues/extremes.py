# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How well a kernel is conditioned: λ_min, λ_max and κ, or that λ_min cannot be told from 0."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.progress import monitored, require_progress
from fastntk._support.rounding import UNIT
from fastntk._support.threads import core_threads
from fastntk.eigenvalues.ends import (
    Ends,
    ends_by_cholesky,
    ends_by_products,
    ends_of_all_eigenpairs,
    ends_of_eigenvalues,
    ends_of_zero,
)
from fastntk.eigenvalues.few_rows import ends_of_few_rows
from fastntk.eigenvalues.host_sources import Full
from fastntk.eigenvalues.noise import Noise
from fastntk.eigenvalues.result import Bounds, Conditioning, Interval
from fastntk.eigenvalues.sources import source_of
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.sparse.linalg import LinearOperator
    from typing_extensions import TypeIs

    from fastntk._support.progress import Monitor, Progress
    from fastntk.eigenvalues.measures import Measures
    from fastntk.eigenvalues.source import Source
    from fastntk.symmetric.block_lanczos import RitzPairs, Vectors
    from fastntk.symmetric.packed import PackedKernel

# Up to this size a reduction of the whole matrix costs less than the machinery that avoids it.
_DENSE_LIMIT = 512

# The same for all eigenvectors, which LAPACK computes.
_DENSE_LIMIT_OF_VECTORS = 256

_METHODS = ("auto", "dense", "cholesky", "operator")


def conditioning(
    K: npt.ArrayLike | PackedKernel | LinearOperator,
    *,
    bounds: bool = True,
    k: int = 1,
    eigenvectors: bool = False,
    feature_error: float = 0.0,
    kernel_error: float = 0.0,
    method: str = "auto",
    overwrite: bool = False,
    progress: Progress = False,
) -> Conditioning:
    """Return λ_min, λ_max and κ of a symmetric positive semidefinite matrix, and bounds of them.

    Parameters
    ----------
    K : array_like (n, n), PackedKernel, dask.array.Array or LinearOperator
        A kernel. What comes in float32 is worked on in float64, but keeps the noise floor of its
        own precision: float32 rounding has already decided what of it is lost. An array in the
        memory of a GPU, or one of Dask, is worked on there, see the notes.
    bounds : bool
        Also enclose λ_min, λ_max and κ in intervals that hold despite all rounding in this
        function, and despite the errors that are given below; it takes a second Cholesky
        decomposition. There are none for an operator.
    k : int
        How many of the smallest and of the largest eigenvalues to compute.
    eigenvectors : bool
        Keep the eigenvectors of these.
    feature_error : float
        Relative error δ of the features F of which K = F Fᵀ, or inf. Rounded features have full
        rank: where the true λ_min is 0 they make it about δ² tr K, which counts as noise. The
        bounds are those of the kernels of all features within ‖F‖_F δ of the given ones: certain if
        δ is a bound, as that of `MLP.ntk_errors` is, and a matter of experience if it is what
        rounding does as a rule, as `MLP.feature_error` says.
    kernel_error : float
        Spectral norm of what K itself may be off by, or inf. It counts as noise, and widens the
        bounds.
    method : {"auto", "dense", "cholesky", "operator"}
        - "dense": a reduction to tridiagonal form, or, for eigenvectors, all eigenpairs by LAPACK;
          the choice up to n = 512, or 256 with eigenvectors.
        - "cholesky": λ_max by the block Lanczos method; λ_min likewise for the inverse, after a
          Cholesky decomposition of n³/3 multiply-adds. The choice for all other matrices.
        - "operator": products only, LOBPCG with a Nyström preconditioner; the choice for an
          operator. Slow, and without success where small eigenvalues lie close together: then
          λ_min is not resolved.
    overwrite : bool
        K, an array or a PackedKernel in float64, may be overwritten: no more memory is needed. A
        packed kernel has no bounds then; one that is a memory map (`PackedKernel.load`) is read
        into memory instead and never needs `overwrite`.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)``.

    Returns
    -------
    Conditioning

    Raises
    ------
    ValueError
        If K is not symmetric, or has an eigenvalue so negative that rounding cannot explain it.
    MemoryError
        If a factor of K does not fit in the memory that is available.
    ImportError
        If K is in the memory of a GPU and CuPy is not installed.

    Notes
    -----
    A Ritz pair with residual r has an eigenvalue within r, but which one it does not say; that no
    eigenvalue is below a bound is proved by a Cholesky decomposition that runs to its end [1]_.

    An array in the memory of a GPU (of CuPy, or of another library that offers
    ``__cuda_array_interface__`` or DLPack, and then of float32 or float64 in C's order) is not
    copied to the host, nor on the GPU if it is in float64 and symmetric to the last bit. CuPy
    multiplies and decomposes it with cuBLAS and cuSOLVER, on its current stream. Beside K a factor
    takes as much memory again, with `overwrite` none; ``method="dense"`` three times as much.
    Numbers are returned as for any other K; eigenvectors are arrays of CuPy. The bounds are as
    certain and as narrow: instead of a theorem on the rounding of a decomposition, which cuSOLVER
    does not promise to satisfy, they take the difference of K and the product of its factors, by
    standard float64 arithmetic. Where cuBLAS is set to emulate that
    (``CUBLAS_EMULATE_DOUBLE_PRECISION``), bounds are refused.

    An array of Dask (`fastntk.distributed`) of more than 2048 rows is worked on in square tiles,
    wherever its computations take place; smaller ones as if they were in memory. What counts are
    the lower tiles. The numbers are the same for any number of workers, and the bounds as certain
    and as narrow as on one machine, by the same theorem. Workers keep the lower tiles of K where
    these and those of its factor fit into their memory, each into 0.3 of it, and otherwise have
    both in files: as much disk as K has bytes.

    References
    ----------
    .. [1] S. M. Rump, "Verification of positive definiteness", BIT 46 (2006).

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> result = fastntk.conditioning(np.diag([1.0, 2.0, 8.0]))
    >>> print(result.condition_number, 8.0 in result.bounds.condition_number)
    8.0 True
    >>> print(fastntk.conditioning(np.ones((5, 5))))
    λ_max = 5, λ_min unresolved (rank 1 of 5), κ ≥ 2.8e+14
    """
    arguments.choice(method, "method", _METHODS)
    request = _Request(
        bounds=arguments.flag(bounds, "bounds"),
        k=arguments.integer(k, "k", minimum=1),
        eigenvectors=arguments.flag(eigenvectors, "eigenvectors"),
        feature_error=arguments.real(feature_error, "feature_error", minimum=0.0, infinite=True),
        kernel_error=arguments.real(kernel_error, "kernel_error", minimum=0.0, infinite=True),
    )
    if _is_operator(K):
        _check_operator(K, method, request)
        with core_threads(), monitored(progress, "conditioning") as monitor:
            return _of_operator(K, request, monitor)
    overwrite = arguments.flag(overwrite, "overwrite")
    looked_at = None
    if not (request.eigenvectors or overwrite) and method in {"auto", "dense"}:
        looked_at = K.array if isinstance(K, SymmetricMatrix) else K
        require_progress(progress)  # there is none to tell of
        result = _of_few_rows(K, None, request)
        if result is not None:
            return result
    # Under single-threaded BLAS everywhere, which has the same bits for any number of threads, and
    # whose own threads would spin for a while after each small product.
    shape: tuple[int, ...] = getattr(K, "shape", ())
    if len(shape) == 2 and shape[0] == shape[1]:  # before the tiles of an array of Dask are made
        _require_as_many(shape[0], request.k)
    with core_threads():
        source = source_of(K, overwrite=overwrite)
        _require_as_many(source.n, request.k)
        if bounds:
            source.require_proofs()
        if method == "auto":
            limit = _DENSE_LIMIT if _values_alone(source, request) else _DENSE_LIMIT_OF_VECTORS
            method = "dense" if source.n <= limit else "cholesky"
        values_of_dense = method == "dense" and not request.eigenvectors
        if values_of_dense and isinstance(source, Full) and source.matrix is not looked_at:
            # The same bits in whatever form the matrix was given.
            result = _of_few_rows(source.matrix, source.epsilon, request)
            if result is not None:
                return result
        with source.device, monitored(progress, "conditioning") as monitor:
            return _of_matrix(source, method, request, monitor)


def _require_as_many(n: int, k: int) -> None:
    if n == 0:
        raise ValueError("K has shape (0, 0): expected at least one row and column")
    if k > n:
        raise ValueError(f"k={k}: expected at most {n}, the size of K")


@dataclass(frozen=True)
class _Request:
    """What `conditioning` was asked for, and told of the kernel."""

    bounds: bool
    k: int
    eigenvectors: bool
    feature_error: float
    kernel_error: float

    def noise(self, n: int, epsilon: float, trace: float) -> Noise:
        return Noise(n, epsilon, trace, self.feature_error, self.kernel_error)

    def noise_of(self, matrix: Measures) -> Noise:
        return self.noise(matrix.n, matrix.epsilon, matrix.trace)


def _of_few_rows(K: object, epsilon: float | None, request: _Request) -> Conditioning | None:
    """Return what one call of the core tells of a small matrix, if it is all."""
    few = ends_of_few_rows(K, epsilon, request.k, bounds=request.bounds)
    if few is None:
        return None
    measures, ends = few
    result = _result(ends, request, request.noise_of(measures), "dense")
    return result if result.resolved else None


def _of_matrix(
    source: Source, method: str, request: _Request, monitor: Monitor | None
) -> Conditioning:
    noise = request.noise_of(source)
    if source.frobenius_norm == 0:
        ends = ends_of_zero(source, request.k)
    elif method == "dense":
        ends = _of_all(source, request, noise)
    elif method == "cholesky":
        ends = ends_by_cholesky(source, request.k, noise, monitor, bounds=request.bounds)
    else:
        ends = ends_by_products(
            source.product_on_host,
            request.k,
            noise,
            monitor,
            product_error=2 * source.product_error,  # and that of the sums of a Rayleigh quotient
        )
        ends = replace(
            ends,
            smallest=_with_vectors_at(source, ends.smallest),
            largest=_with_vectors_at(source, ends.largest),
        )
    result = _result(ends, request, noise, method)
    if result.resolved:
        return result
    rank = source.rank(result.noise_floor)
    # All pivots may be above the noise floor where λ_min is not.
    return result if rank is None else replace(result, rank=min(rank, source.n - 1))


def _values_alone(source: Source, request: _Request) -> bool:
    """Return whether all can be told of a matrix without all of its eigenvectors."""
    return source.survives_factoring and not request.eigenvectors


def _of_all(source: Source, request: _Request, noise: Noise) -> Ends:
    """Return the ends of the whole spectrum, with eigenvectors only where they are needed."""
    if _values_alone(source, request):
        ends = ends_of_eigenvalues(source, request.k, noise, bounds=request.bounds)
        if ends is not None:
            return ends
    return ends_of_all_eigenpairs(source, request.k, noise, bounds=request.bounds)


def _with_vectors_at(source: Source, pairs: RitzPairs) -> RitzPairs:
    """Return the pairs with their vectors in the memory of the matrix."""
    return replace(pairs, vectors=source.xp.asarray(pairs.vectors))


def _of_operator(K: LinearOperator, request: _Request, monitor: Monitor | None) -> Conditioning:
    noise = request.noise(K.shape[0], float(np.finfo(K.dtype).eps), np.nan)

    def multiply(vectors: Vectors) -> Vectors:
        return np.asarray(K @ vectors, dtype=np.float64)

    ends = ends_by_products(multiply, request.k, noise, monitor)
    return _result(ends, request, noise, "operator")


def _result(ends: Ends, request: _Request, noise: Noise, method: str) -> Conditioning:
    """Say what both ends of the spectrum tell, beside the noise."""
    bottom, top = float(ends.smallest.values[0]), float(ends.largest.values[0])
    floor = noise.floor(top)
    if bottom < -noise.below_zero(floor):
        raise noise.indefinite()
    bounds = ends.bounds if request.bounds else None
    if bounds is not None:
        # What rounding left outside of what is proved is put back.
        bottom, top = bounds.eigenvalue_min.clip(bottom), bounds.eigenvalue_max.clip(top)
        bounds = bounds.widened(request.feature_error, noise.trace, request.kernel_error)
    known = Bounds(ends.around_smallest, Interval(ends.below_largest, top)).widened(
        request.feature_error, noise.trace, request.kernel_error
    )
    resolved = bottom > floor and ends.smallest.converged and noise.allows(known.eigenvalue_min)
    if not resolved and known.eigenvalue_max.lower > 0:
        # λ_min is below the floor then, and κ above λ_max/floor, which need be no more than 1.
        excess = top / known.eigenvalue_max.lower * (1 + 8 * UNIT)
        floor = min(max(floor, excess * known.eigenvalue_min.upper), max(floor, top))
    return Conditioning(
        eigenvalue_min=bottom if resolved else np.nan,
        eigenvalue_max=top,
        condition_number=top / bottom if resolved else np.nan,
        resolved=resolved,
        noise_floor=floor,
        rank=noise.n if resolved else None,
        n=noise.n,
        effective_rank=noise.trace / top if top > 0 else np.nan,
        method=method,
        bounds=bounds,
        smallest=ends.smallest.values,
        largest=ends.largest.values,
        smallest_vectors=ends.smallest.vectors if request.eigenvectors else None,
        largest_vectors=ends.largest.vectors if request.eigenvectors else None,
    )


def _is_operator(K: object) -> TypeIs[LinearOperator]:
    """Return whether K is an operator of SciPy.

    What makes one has imported them, which takes longer than all of NumPy.
    """
    module = sys.modules.get("scipy.sparse.linalg")
    return module is not None and isinstance(K, module.LinearOperator)


def _check_operator(K: LinearOperator, method: str, request: _Request) -> None:
    if method not in {"auto", "operator"}:
        raise ValueError(f"method={method!r}: expected 'operator', K is one and has no entries")
    if len(K.shape) != 2 or K.shape[0] != K.shape[1]:
        raise ValueError(f"K has shape {K.shape}: expected a square operator")
    if K.dtype is None or K.dtype.kind not in "f":
        raise ValueError(f"K has dtype {K.dtype}: expected float32 or float64")
    _require_as_many(K.shape[0], request.k)
    if request.feature_error > 0:
        raise ValueError(
            f"feature_error={request.feature_error}: expected 0 for an operator, whose trace is "
            "not known; give kernel_error"
        )
