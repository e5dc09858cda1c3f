# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""SciPy's LAPACK for what takes long: Ctrl-C is answered, and other threads of Python run.

SciPy's own functions keep the interpreter lock. The same routines are called here without it, each
in a thread of its own with one thread of BLAS: the same bits for any number of threads.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support.memory import require_memory
from fastntk._support.threads import in_own_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

# The parameters of each routine: characters, integers and real numbers.
_PARAMETERS = {
    "dgeqrf": "iirirrii",
    "dorgqr": "iiirirrii",
    "dpocon": "cirirrrii",
    "dpotrf": "cirii",
    "dpotrs": "ciiririi",
    "dpstrf": "ciriiirri",
    "dsyevd": "ccirirriiii",
}


@cache
def _routine(name: str) -> tuple[Any, NDArray[Any]]:
    """Return a routine, and an integer as it takes them."""
    parameters = _PARAMETERS[name]
    address, size = _core.lapack_routine(name, parameters)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(parameters))(address)
    return function, np.zeros(1, np.dtype(f"i{size}"))


class _Call:
    """A call of a routine, whose last argument says how it went."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self._function, self._integer = _routine(name)
        # All of LAPACK's arguments are addresses. What has them must live as long as the call.
        self._arguments = [self.argument(value) for value in (*arguments, 0)]

    def argument(self, value: Any) -> NDArray[Any]:
        """Return a character, number or array as the array whose address is handed over."""
        if isinstance(value, str):
            return np.frombuffer(value.encode(), np.uint8)
        if isinstance(value, int):
            return np.full(1, value, self._integer.dtype)
        if isinstance(value, float):
            return np.full(1, value)
        assert isinstance(value, np.ndarray)
        assert value.dtype in {np.dtype(np.float64), self._integer.dtype}
        return value

    def __call__(self) -> int:
        """Return what the routine says of its success: 0, or the number of what failed."""
        self._function(*[argument.ctypes.data for argument in self._arguments])
        info = int(self._arguments[-1][0])
        if info < 0:
            raise AssertionError(f"LAPACK was called with an illegal argument, number {-info}")
        return info


def _integers(name: str, count: int) -> NDArray[Any]:
    return np.zeros(count, _routine(name)[1].dtype)


def _in_columns(matrix: Matrix, *, overwrite: bool) -> Matrix:
    """Return a symmetric matrix in Fortran's order, in its place or in a copy."""
    # The transpose is the same matrix.
    columns = matrix.T if matrix.flags.c_contiguous else matrix
    if overwrite and columns.flags.f_contiguous and columns.flags.writeable:
        return columns
    return np.array(columns, order="F")


def eigenpairs(
    matrix: Matrix, *, vectors: bool = True, overwrite: bool = False
) -> tuple[Matrix, Matrix]:
    """Return all eigenvalues (n,) of a symmetric matrix, ascending, and the eigenvectors (n, n).

    By divide and conquer, which needs twice as much memory as the matrix, and half of the time of
    other methods. Without `vectors` the second array means nothing.

    Raises
    ------
    LinAlgError
        If the iteration does not converge, as where an element is not finite.
    MemoryError
    """
    n = len(matrix)
    require_memory(
        8 * n * n * (2 if overwrite else 3),
        f"all eigenvectors of a matrix of {n} × {n}",
        "take fewer samples",
    )
    columns = _in_columns(matrix, overwrite=overwrite)
    values = np.empty(n)

    def decompose(work: Matrix, integers: NDArray[Any], real: int, whole: int) -> int:
        job = "V" if vectors else "N"
        arguments = (job, "L", n, columns, n, values, work, real, integers, whole)
        return _Call("dsyevd", *arguments)()

    size, count = np.empty(1), _integers("dsyevd", 1)
    decompose(size, count, -1, -1)  # asks for the size of the workspace
    work, integers = np.empty(int(size[0])), _integers("dsyevd", int(count[0]))
    if in_own_thread(lambda: decompose(work, integers, len(work), len(integers))) != 0:
        raise np.linalg.LinAlgError("the eigenvalues of a symmetric matrix did not converge")
    return values, columns


def orthonormal_factor(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Return Q (n, k), which takes the place of a matrix with n ≥ k, and the triangle R: it is Q R.

    The columns of Q are orthonormal to rounding by Householder's reflections, whatever the rank.

    Parameters
    ----------
    matrix : ndarray (n, k)
        In Fortran's order.
    """
    n, k = matrix.shape
    assert matrix.flags.f_contiguous
    assert n >= k
    scales = np.empty(k)

    def run(name: str, sizes: tuple[int, ...]) -> None:
        work = np.empty(1)  # first it is asked how large the workspace should be
        _Call(name, *sizes, matrix, n, scales, work, -1)()
        work = np.empty(int(work[0]))
        in_own_thread(_Call(name, *sizes, matrix, n, scales, work, len(work)))

    run("dgeqrf", (n, k))
    triangle = np.triu(matrix[:k])
    run("dorgqr", (n, k, k))
    return matrix, triangle


def pivoted_rank(matrix: Matrix, floor: float, *, overwrite: bool = False) -> int:
    """Return how many steps a Cholesky decomposition with diagonal pivoting takes to `floor`."""
    n = len(matrix)
    if not overwrite:
        require_memory(
            8 * n * n, f"K: the rank of a kernel of {n} × {n}", "give overwrite=True, or fewer rows"
        )
    columns = _in_columns(matrix, overwrite=overwrite)
    rank = _integers("dpstrf", 1)
    pivots, work = _integers("dpstrf", n), np.empty(2 * n)
    in_own_thread(_Call("dpstrf", "L", n, columns, n, pivots, rank, float(floor), work))
    return int(rank[0])


class CholeskyFactor:
    """The factor L of a symmetric matrix (n, n), which takes its place if that is contiguous.

    Raises
    ------
    LinAlgError
        If the matrix is not positive definite.
    """

    def __init__(self, matrix: Matrix) -> None:
        self._factor = _in_columns(matrix, overwrite=True)
        self._n = len(matrix)
        pivot = in_own_thread(_Call("dpotrf", "L", self._n, self._factor, self._n))
        if pivot > 0:
            raise np.linalg.LinAlgError(f"not positive definite: pivot {pivot - 1} is not positive")

    def reciprocal_condition(self, norm: float) -> float:
        """Return an estimate of 1/(‖A⁻¹‖ ‖A‖) in the norm of sums of columns; norm is ‖A‖."""
        n, found = self._n, np.empty(1)
        work, integers = np.empty(3 * n), _integers("dpocon", n)
        in_own_thread(_Call("dpocon", "L", n, self._factor, n, float(norm), found, work, integers))
        return float(found[0])

    def solve(self, right: Matrix) -> Matrix:
        """Return A⁻¹ times the columns of `right` (n, k)."""
        solution = np.array(right, dtype=np.float64, order="F")
        n, k = solution.shape
        in_own_thread(_Call("dpotrs", "L", n, k, self._factor, n, solution, n))
        return solution
