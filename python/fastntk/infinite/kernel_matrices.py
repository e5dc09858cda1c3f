# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The NNGP and the tangent kernel of all pairs of samples, as matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.devices import matrices
from fastntk.infinite.kernel_parts import as_asked
from fastntk.infinite.layer_factors import KINDS, check_range
from fastntk.infinite.pairs import factors_of
from fastntk.infinite.recursion import mirror
from fastntk.infinite.request import KernelRequest
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import for_each_tile, in_squares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.infinite.several_depths import SeveralDepths
    from fastntk.infinite.tiles import Tile

# Kernels whose diagonals differ by more than this share are not computed from the same samples:
# neither float32 nor a tolerance of duals that anybody means does as much.
_ALIKE = 1e-3


class Kernels(NamedTuple):
    """Both kernels of a network of infinite width.

    Attributes
    ----------
    nngp, ntk : ndarray (n, m), or (depths, n, m)
        Covariance of the outputs at initialization, and the neural tangent kernel.
    """

    nngp: FloatArray
    ntk: FloatArray

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        return short_repr(self, nngp=self.nngp, ntk=self.ntk)


def kernel_matrix(
    network: SeveralDepths,
    kind: str,
    X: ArrayLike,
    Z: ArrayLike | None = None,
    *,
    normalize: bool = False,
    progress: Progress = False,
) -> FloatArray:
    """Return the kernel "nngp" or "ntk" of X with Z, or with itself."""
    request = KernelRequest.checked(network, (kind,), X, Z, normalize=normalize)
    return new_kernels(request, progress)[0]


def kernel_matrices(
    network: SeveralDepths,
    X: ArrayLike,
    Z: ArrayLike | None = None,
    *,
    kinds: tuple[str, ...] = KINDS,
    normalize: bool = False,
    progress: Progress = False,
) -> Kernels:
    """Return kernels of X with Z, or with itself, from one pass.

    Parameters
    ----------
    network : SeveralDepths
        The network; for several depths, kernels have a first axis for these.
    X, Z : array_like (n, d), (m, d)
        Samples, one a row.
    kinds : tuple of str
        Which of the two kernels are wanted; the other one is then empty.
    normalize : bool
        Whether to divide them by the roots of their diagonals.
    progress : bool or callable
        Whether to show a progress bar; or a function of (stage, done, total).

    Returns
    -------
    Kernels
    """
    request = KernelRequest.checked(network, kinds, X, Z, normalize=normalize)
    found = dict(zip(kinds, new_kernels(request, progress), strict=True))
    absent = np.empty((0, *request.shape), request.dtype)
    return Kernels(*(found.get(name, absent) for name in KINDS))


def new_kernels(request: KernelRequest, progress: Progress) -> list[FloatArray]:
    """Return the kernels in new arrays, for several depths with a first axis for these.

    Raises
    ------
    MemoryError
        If they do not fit in the memory that is available.
    """
    require_memory(request.kernel_bytes, f"the result, {request.description},", request.advice)
    outs = [
        np.empty((len(request.network.depths), *request.shape), request.dtype)
        for _ in request.kinds
    ]
    fill_kernels(request, outs, progress)
    return [as_asked(out, request.network) for out in outs]


def fill_kernels(request: KernelRequest, outs: Sequence[FloatArray], progress: Progress) -> None:
    """Fill contiguous arrays (depths, n, m), one for each of the kinds, tile by tile."""
    parts = request.parts

    def work(tile: Tile) -> None:
        rows, columns = tile.rows, tile.columns
        parts.fill(outs, tile, (rows.start, columns.start))
        if parts.symmetric:
            for out in outs:
                for kernel in out:
                    mirror(kernel, rows.start, rows.stop, columns.start, columns.stop)

    for_each_tile(work, in_squares(parts.tiles()), progress, "kernel")


def require_tangent_kernel_of(
    network: SeveralDepths, X: ArrayLike, diagonal: NDArray[np.floating[Any]], name: str
) -> None:
    """Raise ValueError if the diagonal of a matrix cannot be that of the tangent kernel of X.

    It is neither that, nor the one of the normalized kernel.
    """
    found = diagonal.astype(np.float64)
    if ((np.abs(found - 1.0) <= _ALIKE) | (found == 0.0)).all():
        return
    expected = kernel_diagonal(network, "ntk", X)
    alike = np.abs(found - expected) <= _ALIKE * expected  # nothing is alike NaN
    if not alike.all():
        i = int(np.argmin(alike))
        raise ValueError(
            f"{name}[{i}, {i}]={diagonal[i]}: expected the tangent kernel of X, which has "
            f"{expected[i]:.6g} there"
        )


def kernel_diagonal(network: SeveralDepths, kind: str, X: ArrayLike) -> NDArray[np.float64]:
    """Return the diagonal of the kernel "nngp" or "ntk", in float64, without the rest of it."""
    network.require_one_depth()
    samples = matrices.samples(X, "X", np.dtype(np.float64))
    network.require_inputs(samples.shape[1], "X")
    if kind == "ntk":
        network.require_tangent_kernel()
    factors = factors_of(Samples.of(samples).norms, network)
    which = KINDS.index(kind)
    check_range(factors.scales[which], samples.dtype, network, zero=factors.zero[which])
    result: NDArray[np.float64] = factors.scales[which, 0] ** 2
    return result
