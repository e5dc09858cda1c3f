# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How well a kernel is conditioned: λ_min, λ_max and κ, or that λ_min cannot be told from 0."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import LinearOperator

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk._support.progress import monitored
from fastntk._support.threads import core_threads
from fastntk.devices import gpu_arrays, matrices
from fastntk.eigenvalues.enclosures import (
    cholesky_bound,
    largest_interval,
    smallest_lower,
    smallest_upper,
)
from fastntk.eigenvalues.result import Bounds, Conditioning, Interval
from fastntk.eigenvalues.sources import Source, open_source
from fastntk.symmetric import lobpcg
from fastntk.symmetric.block_lanczos import RitzPairs, largest_eigenpairs
from fastntk.symmetric.cholesky import NotPositiveDefinite
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from fastntk._support.progress import Monitor, Progress
    from fastntk.symmetric.block_lanczos import Vectors
    from fastntk.symmetric.cholesky import Cholesky

# Up to this size all eigenvalues cost less than the machinery that avoids them.
_DENSE_LIMIT = 256

# The error of a Ritz value is at most its residual, and of the order of its square where it is not
# in a cluster; within a cluster it is that of a value that has settled, a thousandth of the
# tolerance. Products are cheap; solutions are not, and 1e-10 is enough for λ_min.
_PRODUCT_TOLERANCE = 1e-7
_SOLUTION_TOLERANCE = 1e-5
_MOST_PASSES = 1000

# Even in the smallest matrices so many roundings of λ_max add up.
_FEWEST_ROUNDINGS = 16

# Rounding makes a positive semidefinite kernel indefinite by about the noise floor. What is below
# zero by this many floors was never a kernel.
_INDEFINITE_FLOORS = 1e3

# A shift by so little of the noise floor changes nothing that is resolved, and keeps the inverse of
# a singular matrix finite.
_LEAST_SHIFT = 1e-6

# Passes for the bottom of a singular matrix, which only serves as an upper bound of λ_min.
_PASSES_IN_NOISE = 6

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
    K : array_like (n, n), PackedKernel or LinearOperator
        A kernel. What comes in float32 is worked on in float64, but keeps the noise floor of its
        own precision: float32 rounding has already decided what of it is lost. An array in the
        memory of a GPU is worked on there, see the notes.
    bounds : bool
        Also enclose λ_min, λ_max and κ in intervals that hold despite all rounding; it takes a
        second Cholesky decomposition. There are none for an operator.
    k : int
        How many of the smallest and of the largest eigenvalues to compute.
    eigenvectors : bool
        Keep the eigenvectors of these.
    feature_error : float
        Relative error δ of the features F of which K = F Fᵀ. Rounded features have full rank: where
        the true λ_min is 0 they make it about δ² tr K, which counts as noise. For a float64 kernel
        of a float32 network of depth L about √(L + 1) ε = √(L + 1) · 1.2e-7. The bounds are those
        of the kernel of all features within ‖F‖_F δ of the given ones.
    kernel_error : float
        Spectral norm of what K itself may be off by. It counts as noise, and widens the bounds.
    method : {"auto", "dense", "cholesky", "operator"}
        - "dense": all eigenvalues, by LAPACK; the choice up to n = 256.
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
    options = _Options(
        bounds=bounds,
        k=arguments.integer(k, "k", minimum=1),
        eigenvectors=eigenvectors,
        feature_error=arguments.real(feature_error, "feature_error", minimum=0.0),
        kernel_error=arguments.real(kernel_error, "kernel_error", minimum=0.0),
    )
    if isinstance(K, LinearOperator):
        _check_operator(K, method, options)
        with monitored(progress, "conditioning") as monitor:
            return _of_operator(K, options, _Watch(monitor))
    source = open_source(K, overwrite=overwrite)
    if options.k > source.n:
        raise ValueError(f"k={options.k}: expected at most {source.n}, the size of K")
    if bounds and not source.lasting:
        raise ValueError(
            "overwrite=True: bounds need a packed kernel twice; give a memory map of its file "
            "(PackedKernel.load), or bounds=False"
        )
    if bounds:
        source.require_proofs()
    if method == "auto":
        method = "dense" if source.n <= _DENSE_LIMIT else "cholesky"
    with source.device, monitored(progress, "conditioning") as monitor:
        return _of_matrix(source, method, options, _Watch(monitor))


def spectrum(K: npt.ArrayLike | PackedKernel) -> Vectors:
    """Return all eigenvalues of a symmetric matrix, ascending.

    Parameters
    ----------
    K : array_like (n, n) or PackedKernel
        A kernel; worked on in float64, and on the GPU if it is in the memory of one, as by
        `conditioning`.

    Returns
    -------
    ndarray (n,)
        In the memory of the host. Each is off by a small multiple of n ε λ_max: those below it are
        noise.

    Raises
    ------
    ValueError
        If K is not symmetric.
    MemoryError
        If two copies of K do not fit in the memory that is available.
    ImportError
        If K is in the memory of a GPU and CuPy is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> fastntk.spectrum(np.diag([3.0, 1.0, 2.0]))
    array([1., 2., 3.])
    """
    if gpu_arrays.on_gpu(K):
        from fastntk.eigenvalues import gpu

        return gpu.spectrum(K)
    n = K.n if isinstance(K, PackedKernel) else len(np.asarray(K))
    require_memory(
        2 * 8 * n * n,
        f"all eigenvalues of a kernel of {n} × {n}",
        "fastntk.conditioning finds the extreme ones in less",
    )
    full = K.to_dense() if isinstance(K, PackedKernel) else K
    kernel = matrices.symmetric_matrix(full, "K")
    return np.asarray(eigvalsh(kernel.astype(np.float64, copy=False)), np.float64)


@dataclass(frozen=True)
class _Options:
    bounds: bool
    k: int
    eigenvectors: bool
    feature_error: float
    kernel_error: float

    def noise_floor(self, n: int, epsilon: float, largest: float, trace: float = 0.0) -> float:
        return (
            max(n, _FEWEST_ROUNDINGS) * epsilon * max(largest, 0.0)
            + self.feature_error**2 * max(trace, 0.0)
            + self.kernel_error
        )


@dataclass(frozen=True)
class _Watch:
    """Reports what is done to a monitor, which may also interrupt it."""

    monitor: Monitor | None

    def counted(
        self, stage: str, multiply: Callable[[Vectors], Vectors]
    ) -> Callable[[Vectors], Vectors]:
        passes = 0

        def watched(vectors: Vectors) -> Vectors:
            nonlocal passes
            # How many there will be is not known.
            self(stage, passes, passes + 1)
            passes += 1
            return multiply(vectors)

        return watched

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.monitor is not None:
            self.monitor(stage, done, total)


@dataclass(frozen=True)
class _Ends:
    """Both ends of a spectrum, from the outside in."""

    smallest: RitzPairs
    largest: RitzPairs
    bounds: Bounds | None


def _of_matrix(source: Source, method: str, options: _Options, watch: _Watch) -> Conditioning:

    def floor_of(largest: float) -> float:
        return options.noise_floor(source.n, source.epsilon, largest, source.trace)

    if source.frobenius_norm == 0:
        zeros, vectors = np.zeros(options.k), source.xp.eye(source.n, options.k)
        nothing = RitzPairs(zeros, vectors, zeros)
        ends = _Ends(nothing, nothing, Bounds(Interval(0.0, 0.0), Interval(0.0, 0.0)))
    elif method == "dense":
        ends = _all_eigenvalues(source, options)
    elif method == "cholesky":
        with core_threads():  # or BLAS's own would spin for a while after each small product
            ends = _lanczos(source, options, floor_of, watch)
    else:
        ends = _by_products(source.product_on_host, source.n, options.k, floor_of, watch)
        ends = replace(
            ends, smallest=_placed(ends.smallest, source), largest=_placed(ends.largest, source)
        )
    floor = floor_of(float(ends.largest.values[0]))
    if ends.smallest.values[0] < -_INDEFINITE_FLOORS * floor:
        raise _indefinite(source.n)
    result = _conclude(ends, options, source.n, floor, method, source.trace)
    if result.resolved:
        return result
    return replace(result, rank=source.rank(floor))


def _placed(pairs: RitzPairs, source: Source) -> RitzPairs:
    return replace(pairs, vectors=source.xp.asarray(pairs.vectors))


def _conclude(
    ends: _Ends, options: _Options, n: int, floor: float, method: str, trace: float
) -> Conditioning:
    bottom, top = float(ends.smallest.values[0]), float(ends.largest.values[0])
    bounds = ends.bounds if options.bounds else None
    if bounds is not None:
        # What rounding left outside of what is proved is put back.
        bottom, top = bounds.eigenvalue_min.clip(bottom), bounds.eigenvalue_max.clip(top)
        bounds = bounds.widened(options.feature_error, trace, options.kernel_error)
    resolved = bottom > floor and ends.smallest.converged
    return Conditioning(
        eigenvalue_min=bottom if resolved else np.nan,
        eigenvalue_max=top,
        condition_number=top / bottom if resolved else np.nan,
        resolved=resolved,
        noise_floor=floor,
        rank=n if resolved else None,
        n=n,
        effective_rank=trace / top if top > 0 else np.nan,
        method=method,
        bounds=bounds,
        smallest=ends.smallest.values,
        largest=ends.largest.values,
        smallest_vectors=ends.smallest.vectors if options.eigenvectors else None,
        largest_vectors=ends.largest.vectors if options.eigenvectors else None,
    )


def _all_eigenvalues(source: Source, options: _Options) -> _Ends:
    values, vectors = source.eigenpairs()
    k, exact = options.k, np.zeros(options.k)
    smallest = RitzPairs(values[:k], vectors[:, :k], exact)
    largest = RitzPairs(values[: -k - 1 : -1], vectors[:, : -k - 1 : -1], exact)
    if not options.bounds:
        return _Ends(smallest, largest, None)
    top = largest_interval(source, largest)
    upper = smallest_upper(source, smallest.vectors)
    lower = smallest_lower(source, float(values[0]), source.product_error, -np.inf)
    return _Ends(smallest, largest, Bounds(Interval(lower, upper), top))


def _lanczos(
    source: Source, options: _Options, floor_of: Callable[[float], float], watch: _Watch
) -> _Ends:
    n, k = source.n, options.k
    largest = largest_eigenpairs(
        watch.counted("λ_max", source.product), n, k, tolerance=_PRODUCT_TOLERANCE, xp=source.xp
    )
    # Now, before the factor that λ_min needs takes the place of the matrix.
    top = largest_interval(source, largest) if options.bounds else None
    factor, shift, regular = _factor(source, floor_of(float(largest.values[0])), watch)
    inverse = largest_eigenpairs(
        watch.counted("λ_min", factor.solve),
        n,
        k,
        tolerance=_SOLUTION_TOLERANCE,
        most_passes=_MOST_PASSES if regular else _PASSES_IN_NOISE,
        xp=source.xp,
    )
    known = cholesky_bound(source, shift, factor) if options.bounds else -np.inf
    del factor  # its memory is needed again
    values = 1 / inverse.values - shift
    smallest = RitzPairs(
        values, inverse.vectors, inverse.residuals / inverse.values**2, inverse.converged
    )
    if top is None:
        return _Ends(smallest, largest, None)
    upper = smallest_upper(source, smallest.vectors)
    lower = smallest_lower(
        source,
        min(float(values[0]), upper),
        _doubt(inverse) / float(inverse.values[0]) ** 2,
        known,
        watch.monitor or False,
    )
    return _Ends(smallest, largest, Bounds(Interval(lower, upper), top))


def _doubt(pairs: RitzPairs) -> float:
    """Return how far beyond its first Ritz value a spectrum may well reach.

    The residual, or its square over the distance to the next value, with a margin: a guess, which
    saves most of the width of the bounds, and which a Cholesky decomposition has to confirm.
    """
    residual = float(pairs.residuals[0])
    following = float(pairs.values[1]) if len(pairs.values) > 1 else pairs.following
    distance = 0.0 if following is None else float(pairs.values[0]) - following
    return 100 * residual**2 / distance if distance > 100 * residual else residual


def _factor(source: Source, floor: float, watch: _Watch) -> tuple[Cholesky, float, bool]:
    """Return the Cholesky factor of the matrix plus a shift, the shift, and if it was the least.

    The least one changes nothing, unless rounding makes zero eigenvalues negative.
    """
    progress = watch.monitor or False
    least = shift = _LEAST_SHIFT * floor
    while True:
        try:
            return source.factor(shift, progress=progress), shift, shift == least
        except NotPositiveDefinite:
            if shift > _INDEFINITE_FLOORS * floor:
                raise _indefinite(source.n) from None
            shift = max(8 * shift, floor, -4 * cholesky_bound(source, 0.0))


def _by_products(
    multiply: Callable[[Vectors], Vectors],
    n: int,
    k: int,
    floor_of: Callable[[float], float],
    watch: _Watch,
) -> _Ends:
    largest = largest_eigenpairs(
        watch.counted("λ_max", multiply), n, k, tolerance=_PRODUCT_TOLERANCE
    )
    try:
        smallest = lobpcg.smallest_eigenpairs(
            watch.counted("λ_min", multiply), n, k, floor=floor_of(float(largest.values[0]))
        )
    except np.linalg.LinAlgError:
        raise _indefinite(n) from None
    return _Ends(smallest, largest, None)


def _of_operator(K: LinearOperator, options: _Options, watch: _Watch) -> Conditioning:
    n = K.shape[0]
    epsilon = float(np.finfo(K.dtype).eps)

    def multiply(vectors: Vectors) -> Vectors:
        return np.asarray(K @ vectors, dtype=np.float64)

    def floor_of(largest: float) -> float:
        return options.noise_floor(n, epsilon, largest)

    ends = _by_products(multiply, n, options.k, floor_of, watch)
    floor = floor_of(float(ends.largest.values[0]))
    if ends.smallest.values[0] < -_INDEFINITE_FLOORS * floor:
        raise _indefinite(n)
    return _conclude(ends, options, n, floor, "operator", np.nan)


def _check_operator(K: LinearOperator, method: str, options: _Options) -> None:
    if method not in {"auto", "operator"}:
        raise ValueError(f"method={method!r}: expected 'operator', K is one and has no entries")
    if len(K.shape) != 2 or K.shape[0] != K.shape[1] or K.shape[0] == 0:
        raise ValueError(f"K has shape {K.shape}: expected a square operator")
    if K.dtype is None or K.dtype.kind not in "f":
        raise ValueError(f"K has dtype {K.dtype}: expected float32 or float64")
    if options.k > K.shape[0]:
        raise ValueError(f"k={options.k}: expected at most {K.shape[0]}, the size of K")
    if options.feature_error > 0:
        raise ValueError(
            f"feature_error={options.feature_error}: expected 0 for an operator, whose trace is "
            "not known; give kernel_error"
        )


def _indefinite(n: int) -> ValueError:
    return ValueError(
        f"K of shape ({n}, {n}) has a negative eigenvalue far beyond rounding: expected a positive "
        "semidefinite matrix"
    )
