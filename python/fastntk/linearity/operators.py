# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Symmetric linear operators, which SciPy's solvers take, made of a product with several vectors.

Kernels and Hessians say how they multiply (`Products`); what vectors may be, and on which side of
the bus they lie, is the same for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.sparse.linalg import LinearOperator

from fastntk._support import arguments
from fastntk.devices import matrices

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.devices.place import Place


class Products(Protocol):
    """How a symmetric matrix A multiplies."""

    @property
    def place(self) -> Place:
        """Where the vectors lie."""

    @property
    def dtype(self) -> FloatDType:
        """The precision of the products."""

    @property
    def rows(self) -> int:
        """The number of rows of A."""

    def __call__(self, V: Any) -> Any:
        """Return A V for a real matrix V of columns."""


class KernelElements(Products, Protocol):
    """A kernel that multiplies, and of which diagonal and columns are known."""

    def diagonal(self) -> FloatArray:
        """Return the diagonal (n,)."""

    def columns(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return the columns (n, m) of checked indices."""


def operator_of(products: Products, host: type[HostOperator] | None = None) -> LinearOperator:
    """Return the operator of these products.

    Parameters
    ----------
    products : Products
    host : type, optional
        The operator for arrays of NumPy, by default a `HostOperator`.

    Returns
    -------
    LinearOperator or DeviceOperator
        The latter for arrays of CuPy, which SciPy's operator would convert to NumPy.
    """
    if products.place.xp is np:
        return (host or HostOperator)(products)
    operator: Any = DeviceOperator(products)
    return operator  # type: ignore[no-any-return]


class HostOperator(LinearOperator):
    """The products for arrays of NumPy, wherever they are computed.

    Vectors may be complex; what else NumPy would convert to numbers by dropping something, as masks
    and units of time, is refused before SciPy's operator converts it.
    """

    def __init__(self, products: Products) -> None:
        self._products = products
        # SciPy's stubs do not show the constructor to subclasses.
        super().__init__(products.dtype, (products.rows, products.rows))  # type: ignore[call-arg]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._products,)

    def dot(self, x: Any) -> Any:
        """Return A x for an array, or the product with a number or an operator."""
        return super().dot(_operand(x, "x"))

    def matvec(self, x: Any) -> Any:
        """Return A x for a vector (n,) or (n, 1)."""
        return super().matvec(_operand(x, "x"))

    def matmat(self, X: Any) -> Any:
        """Return A X for a matrix (n, k)."""
        return super().matmat(_operand(X, "X"))

    rmatvec = matvec
    rmatmat = matmat

    def __rmul__(self, x: Any) -> Any:
        return super().__rmul__(_operand(x, "x"))

    def _matmat(self, X: npt.NDArray[Any]) -> FloatArray:
        return np.asarray(matrices.of_parts(self._products, X))

    def _matvec(self, x: npt.NDArray[Any]) -> FloatArray:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _adjoint(self) -> LinearOperator:
        return self

    def _transpose(self) -> LinearOperator:
        return self


class KernelOperator(HostOperator):
    """A kernel that is not formed: its products, and those elements that are asked for.

    Attributes
    ----------
    shape : (int, int)
    dtype : dtype
    """

    def __init__(self, kernel: KernelElements) -> None:
        super().__init__(kernel)
        self._kernel = kernel

    def diagonal(self) -> FloatArray:
        """Return the diagonal (n,): that of the kernel but for rounding."""
        return self._kernel.diagonal()

    def columns(self, indices: Any) -> FloatArray:
        """Return some columns (n, m): those of the kernel but for rounding.

        Parameters
        ----------
        indices : sequence of int (m,)
            Which ones.

        Raises
        ------
        MemoryError
            If they do not fit in the memory that is available.
        """
        last = self._kernel.rows - 1
        chosen = arguments.integers(indices, "indices", minimum=0, maximum=last, in_order=True)
        return self._kernel.columns(np.array(chosen))


def _operand(x: Any, name: str) -> Any:
    """Return an array of numbers; numbers and operators, which SciPy composes, as they are."""
    if isinstance(x, LinearOperator) or np.isscalar(x):
        return x
    array = matrices.operand(x, name)
    return array.view(np.matrix) if isinstance(x, np.matrix) else array


class DeviceOperator:
    """A symmetric matrix that multiplies arrays of CuPy without being formed.

    ``cupyx.scipy.sparse.linalg.aslinearoperator`` takes it, and what takes linear operators there.

    Attributes
    ----------
    shape : (int, int)
    dtype : dtype
    """

    def __init__(self, products: Products) -> None:
        self._products = products
        self.shape = (products.rows, products.rows)
        self.dtype = products.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return DeviceOperator, (self._products,)

    def matmat(self, V: Any) -> Any:
        """Return A V for an array of CuPy (n, k)."""
        place = self._products.place
        array = place.array(V, "V")
        if array.ndim != 2 or len(array) != self.shape[0]:
            raise ValueError(f"V has shape {array.shape}: expected ({self.shape[0]}, k)")
        matrices.require_numbers(array, "V")
        return matrices.of_parts(self._products, array, place.xp)

    def matvec(self, v: Any) -> Any:
        """Return K v for an array of CuPy (n,) or (n, 1)."""
        array = self._products.place.array(v, "v")
        return self.matmat(array.reshape(-1, 1)).reshape(array.shape)

    rmatvec = matvec
    rmatmat = matmat

    def __matmul__(self, V: Any) -> Any:
        array = self._products.place.array(V, "V")
        return self.matvec(array) if array.ndim == 1 else self.matmat(array)
