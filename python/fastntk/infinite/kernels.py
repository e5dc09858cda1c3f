# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of networks of infinite width."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.devices import matrices
from fastntk.infinite import _recursion
from fastntk.infinite._architecture import Architecture, checked_depths
from fastntk.infinite._inputs import Samples
from fastntk.infinite._layers import NNGP, NTK, LayerFactors, check_range
from fastntk.infinite._propagation import Pairs, Target
from fastntk.infinite._tiles import for_each_tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.activations import Activation
    from fastntk.infinite._tiles import Tile


class Kernels(NamedTuple):
    """Both kernels of a network of infinite width, see `kernels`.

    Attributes
    ----------
    nngp, ntk : ndarray (n, m), or (depths, n, m)
        Covariance of the outputs at initialization, and the neural tangent kernel.
    """

    nngp: FloatArray
    ntk: FloatArray


def ntk(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: int | Sequence[int] = 3,
    activation: str | Activation = "relu",
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    *,
    activation_scale: float | None = None,
    parametrization: str = "ntk",
    width: int | None = None,
    layer_weights: ArrayLike | None = None,
    normalize: bool = False,
    tolerance: float = 1e-10,
    progress: Progress = False,
) -> FloatArray:
    r"""Return the neural tangent kernel of a network of infinite width.

    With :math:`Σ^1 = σ_w^2 XZ^\top/d + σ_b^2` and :math:`Θ^1 = Σ^1`,

    .. math::

        Σ^{l+1} = σ_w^2 c_φ^2 \, E[φ(u) φ(v)] + σ_b^2, \quad
        Θ^{l+1} = Σ^{l+1} + Θ^l ∘ σ_w^2 c_φ^2 \, E[φ'(u) φ'(v)], \quad
        (u, v) \sim N(0, Σ^l),

    and the result is :math:`Θ^{L+1}` [1]_.

    Parameters
    ----------
    X, Z : array_like (n, d), (m, d)
        Samples, one a row. Without Z the symmetric kernel of X with itself. float32 samples give a
        float32 kernel, computed in float64 and rounded once.
    depth : int or sequence of int
        L ≥ 0, the number of hidden layers; several of them take one pass.
    activation : str or Activation
        φ: a name, or an activation of `fastntk.activations`.
    weight_std, bias_std : float
        σ_w > 0 and σ_b ≥ 0.
    activation_scale : float, optional
        c_φ. By default E[φ(u)²]^{-1/2} for a standard normal u: √2 for ReLU, 1 for the identity.
    parametrization : {"ntk", "standard"}
        "standard" has weights of variance σ_w²/n and no factors in the forward pass; the kernel
        then grows with the `width` of the hidden layers, which must be given.
    width : int, optional
        For the standard parametrization only.
    layer_weights : array_like (L + 1,) or (L + 1, 2), optional
        Learning rates ω ≥ 0 of the layers, or of their (weights, biases); L is the largest depth,
        and shallower networks take the first of them. (1, 0, …, 0) trains the first layer only.
    normalize : bool
        Whether to return K_ij/√(K_ii K_jj), the cosines of the angles between gradients.
    tolerance : float
        Relative error allowed to the dual of an activation without a closed form.
    progress : bool or callable
        Whether to show a progress bar; or a function of (stage, done, total).

    Returns
    -------
    ndarray (n, m), or (depths, n, m) for a sequence of depths
        The same, bit for bit, for any number of threads. Rows of zeros are allowed: without
        biases, and if φ(0) = 0, their kernel is 0.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense, or if the activation has no tangent kernel.
    OverflowError
        If the kernel would leave the range of floating-point numbers.
    MemoryError
        If the result does not fit.

    References
    ----------
    .. [1] A. Jacot, F. Gabriel, C. Hongler, "Neural tangent kernel: convergence and generalization
       in neural networks", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> infinite.ntk(X, depth=1).round(6)
    array([[1.      , 0.550224],
           [0.550224, 1.      ]])
    >>> infinite.ntk(X, depth=range(4)).shape
    (4, 2, 2)
    """
    X, Z = _inputs(X, Z)
    network = Architecture.checked(
        depth,
        X.shape[1],
        activation=activation,
        weight_std=weight_std,
        bias_std=bias_std,
        activation_scale=activation_scale,
        parametrization=parametrization,
        width=width,
        layer_weights=layer_weights,
        tolerance=tolerance,
    )
    return _kernels(X, Z, depth, network, normalize, progress, nngp=False, ntk=True).ntk


def nngp(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: int | Sequence[int] = 3,
    activation: str | Activation = "relu",
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    *,
    activation_scale: float | None = None,
    normalize: bool = False,
    tolerance: float = 1e-10,
    progress: Progress = False,
) -> FloatArray:
    """Return the covariance of the outputs of a network of infinite width at initialization.

    Outputs are then a Gaussian process with this kernel, the Σ^{L+1} of `ntk` [1]_.

    Parameters
    ----------
    X, Z, depth, activation, weight_std, bias_std, activation_scale, normalize, tolerance, progress
        As for `ntk`.

    Returns
    -------
    ndarray (n, m), or (depths, n, m) for a sequence of depths

    References
    ----------
    .. [1] J. Lee et al., "Deep neural networks as Gaussian processes", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> infinite.nngp(X, depth=1).round(6)
    array([[0.5     , 0.338774],
           [0.338774, 0.5     ]])
    """
    X, Z = _inputs(X, Z)
    network = Architecture.checked(
        depth,
        X.shape[1],
        activation=activation,
        weight_std=weight_std,
        bias_std=bias_std,
        activation_scale=activation_scale,
        tangent=False,
        tolerance=tolerance,
    )
    return _kernels(X, Z, depth, network, normalize, progress, nngp=True, ntk=False).nngp


def kernels(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: int | Sequence[int] = 3,
    activation: str | Activation = "relu",
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    *,
    activation_scale: float | None = None,
    parametrization: str = "ntk",
    width: int | None = None,
    layer_weights: ArrayLike | None = None,
    normalize: bool = False,
    tolerance: float = 1e-10,
    progress: Progress = False,
) -> Kernels:
    """Return `nngp` and `ntk` from one pass.

    Parameters
    ----------
    X, Z, depth, activation, weight_std, bias_std
        As for `ntk`, and so are all others.
    activation_scale, parametrization, width, layer_weights, normalize, tolerance, progress
        As for `ntk`.

    Returns
    -------
    Kernels
        With the arrays `nngp` and `ntk`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> nngp, ntk = infinite.kernels(np.eye(2), depth=1, bias_std=0.1)
    >>> bool(np.array_equal(ntk, infinite.ntk(np.eye(2), depth=1, bias_std=0.1)))
    True
    """
    X, Z = _inputs(X, Z)
    network = Architecture.checked(
        depth,
        X.shape[1],
        activation=activation,
        weight_std=weight_std,
        bias_std=bias_std,
        activation_scale=activation_scale,
        parametrization=parametrization,
        width=width,
        layer_weights=layer_weights,
        tolerance=tolerance,
    )
    return _kernels(X, Z, depth, network, normalize, progress, nngp=True, ntk=True)


def diagonal(
    X: ArrayLike,
    kind: str,
    depth: int,
    activation: str | Activation,
    weight_std: float,
    bias_std: float,
) -> NDArray[np.float64]:
    """Return the diagonal of the "nngp" or "ntk" kernel, in float64, without the rest of it."""
    samples = matrices.samples(X, "X", np.dtype(np.float64))
    network = Architecture.checked(
        depth,
        samples.shape[1],
        activation=activation,
        weight_std=weight_std,
        bias_std=bias_std,
        tangent=kind == "ntk",
    )
    factors = LayerFactors.of(Samples.of(samples).norms, network)
    result: NDArray[np.float64] = factors.scales[NTK if kind == "ntk" else NNGP, 0] ** 2
    return result


def _inputs(X: ArrayLike, Z: ArrayLike | None) -> tuple[FloatArray, FloatArray | None]:
    rows = matrices.samples(X, "X")
    if Z is None:
        return rows, None
    return rows, matrices.samples(Z, "Z", columns=rows.shape[1])


def _kernels(
    X: FloatArray,
    Z: FloatArray | None,
    depth: int | Sequence[int],
    network: Architecture,
    normalize: bool,
    progress: Progress,
    *,
    nngp: bool,
    ntk: bool,
) -> Kernels:
    asked = checked_depths(depth)
    dtype = X.dtype if Z is None else np.result_type(X, Z)
    n, m, depths = len(X), len(X if Z is None else Z), len(network.depths)
    wanted = (nngp, ntk)
    require_memory(
        sum(wanted) * depths * n * m * dtype.itemsize,
        f"the result, {sum(wanted) * depths} kernel(s) of {n} × {m} in {dtype},",
        "ask for fewer depths or samples at a time",
    )
    pairs = Pairs.of(Samples.of(X), None if Z is None else Samples.of(Z), network)
    targets = []
    for kind, want in ((NNGP, nngp), (NTK, ntk)):
        scales = pairs.factors.scales[kind]
        if want and normalize:
            require_nonzero(pairs.factors.zero[kind, :, :n], "X", network.depths)
            require_nonzero(pairs.factors.zero[kind, :, n:], "Z", network.depths)
        elif want:
            check_range(scales, dtype, network.depths, zero=pairs.factors.zero[kind])
        each = np.ones_like(scales) if normalize else scales
        out = np.empty((depths * want, n, m), dtype)
        targets.append(Target(out, each[:, :n], each[:, pairs.offset :]))
    nngp_target, ntk_target = targets

    def work(tile: Tile) -> None:
        origin = (tile.rows.start, tile.columns.start)
        pairs.propagate(tile, 1.0, nngp_target, ntk_target, origin)
        if Z is None:
            for target in targets:
                for out in target.out:
                    _recursion.mirror(
                        out, tile.rows.start, tile.rows.stop, tile.columns.start, tile.columns.stop
                    )

    for_each_tile(work, pairs.tiles(), progress, "kernel")
    return Kernels(*(_as_asked(target.out, depth, asked, network.depths) for target in targets))


def _as_asked(
    out: FloatArray, depth: int | Sequence[int], asked: tuple[int, ...], depths: tuple[int, ...]
) -> FloatArray:
    if len(out) == 0:
        return out
    if np.ndim(depth) == 0:
        result: FloatArray = out[0]
    elif asked == depths:
        result = out
    else:
        result = out[[depths.index(each) for each in asked]]
    return result


def require_nonzero(zero: NDArray[np.bool_], name: str, depths: tuple[int, ...]) -> None:
    """Raise ValueError where the diagonal of a kernel is 0, given (depths, samples)."""
    if zero.any():
        k, i = (int(index) for index in np.argwhere(zero)[0])
        raise ValueError(
            f"{name}[{i}] has a kernel of 0 at depth {depths[k]}, as a row of zeros has: expected "
            "samples with K(x, x) > 0, because the angle to a zero gradient is not defined"
        )
