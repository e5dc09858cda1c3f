# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The NNGP and the tangent kernel of all pairs of samples, as matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk.devices import matrices
from fastntk.infinite.angle_series import PairsOfOneNorm
from fastntk.infinite.layer_factors import KINDS, LayerFactors, check_range
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.recursion import Target, mirror
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import for_each_tile

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.tiles import Tile


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
    network: Architecture,
    kind: str,
    X: ArrayLike,
    Z: ArrayLike | None = None,
    *,
    normalize: bool = False,
    progress: Progress = False,
) -> FloatArray:
    """Return the kernel "nngp" or "ntk" of X with Z, or with itself."""
    both = kernel_matrices(network, X, Z, kinds=(kind,), normalize=normalize, progress=progress)
    return both.ntk if kind == "ntk" else both.nngp


def kernel_matrices(
    network: Architecture,
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
    network : Architecture
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
    normalize = arguments.flag(normalize, "normalize")
    rows = matrices.samples(X, "X")
    columns = None
    if Z is not None:
        columns = matrices.samples(Z, "Z", columns=rows.shape[1], why="as many as X has")
    if "ntk" in kinds:
        network.require_tangent_kernel()
    dtype = rows.dtype if columns is None else np.result_type(rows, columns)
    n, m = len(rows), len(rows if columns is None else columns)
    depths = network.depths
    require_memory(
        len(kinds) * len(depths) * n * m * dtype.itemsize,
        f"the result, {len(kinds) * len(depths)} kernel(s) of {n} × {m} in {dtype},",
        "ask for fewer depths or samples at a time",
    )
    both = Samples.of(rows), None if columns is None else Samples.of(columns)
    ways, every_scale, every_zero = ways_of_pairs(*both, network, kinds)
    targets = []
    for kind, name in enumerate(KINDS):
        scales, zero = every_scale[kind], every_zero[kind]
        wanted = name in kinds
        each = scales
        if wanted and normalize:
            each = scales_of_cosines(zero, n, depths)
        elif wanted:
            check_range(scales, dtype, depths, zero=zero)
        out = np.empty((len(depths) * wanted, n, m), dtype)
        targets.append(Target(out, each[:, :n], each[:, -m:]))
    results = Results.of_kernels(*targets)

    def work(tile: Tile) -> None:
        for way in ways:
            way.propagate(tile, results, (tile.rows.start, tile.columns.start))
        if columns is None:
            for target in targets:
                for out in target.out:
                    mirror(
                        out, tile.rows.start, tile.rows.stop, tile.columns.start, tile.columns.stop
                    )

    for_each_tile(work, ways[0].tiles(), progress, "kernel")
    return Kernels(*(as_asked(target.out, network) for target in targets))


def scales_of_cosines(
    zero: NDArray[np.bool_], n: int, depths: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the scales of normalized kernels, given where the diagonals (depths, n + m) are 0."""
    require_nonzero(zero[:, :n], "X", depths)
    require_nonzero(zero[:, n:], "Z", depths)
    return np.ones(zero.shape)


def ways_of_pairs(
    X: Samples, Z: Samples | None, network: Architecture, kinds: tuple[str, ...]
) -> tuple[list[Pairs | PairsOfOneNorm], NDArray[np.float64], NDArray[np.bool_]]:
    """Return what writes the kernels of each tile, one after the other, and `LayerFactors.scales`.

    Where samples have one norm, the kernels that are series are written by these: at each depth
    without a look at the others, so that no kernel depends on which ones are asked for beside it.
    After the scales comes where they are 0.
    """
    of_one_norm = PairsOfOneNorm.of(X, Z, network, kinds)
    if of_one_norm is not None and of_one_norm.complete:
        scales = of_one_norm.scales
        return [of_one_norm], scales, np.zeros(scales.shape, dtype=bool)
    pairs = Pairs.of(X, Z, network)
    ways: list[Pairs | PairsOfOneNorm] = [pairs]
    if of_one_norm is not None:
        ways.append(of_one_norm)
    return ways, pairs.factors.scales, pairs.factors.zero


def as_asked(out: FloatArray, network: Architecture) -> FloatArray:
    """Return kernels of all depths in the order in which these were asked for."""
    if len(out) == 0:
        return out
    if isinstance(network.depth, int):
        result: FloatArray = out[0]
    elif network.asked == network.depths:
        result = out
    else:
        result = out[[network.depths.index(depth) for depth in network.asked]]
    return result


def kernel_diagonal(network: Architecture, kind: str, X: ArrayLike) -> NDArray[np.float64]:
    """Return the diagonal of the kernel "nngp" or "ntk", in float64, without the rest of it."""
    network.require_one_depth()
    samples = matrices.samples(X, "X", np.dtype(np.float64))
    if kind == "ntk":
        network.require_tangent_kernel()
    factors = LayerFactors.of(Samples.of(samples).norms, network)
    which = KINDS.index(kind)
    check_range(factors.scales[which], samples.dtype, network.depths, zero=factors.zero[which])
    result: NDArray[np.float64] = factors.scales[which, 0] ** 2
    return result


def require_nonzero(zero: NDArray[np.bool_], name: str, depths: tuple[int, ...]) -> None:
    """Raise ValueError where the diagonal of a kernel is 0, given (depths, samples)."""
    if zero.any():
        k, i = (int(index) for index in np.argwhere(zero)[0])
        raise ValueError(
            f"{name}[{i}] has a kernel of 0 at depth {depths[k]}, as a row of zeros has: expected "
            "samples with K(x, x) > 0, because the angle to a zero gradient is not defined"
        )
