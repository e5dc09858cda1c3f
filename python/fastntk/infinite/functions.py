# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What can be asked of a `Network`, as functions that take its parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, Unpack, overload

from fastntk.infinite.network import Network

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.activations import Activation
    from fastntk.eigenvalues import Conditioning
    from fastntk.infinite.kernel_matrices import Kernels
    from fastntk.infinite.regression import Prediction
    from fastntk.kernels.angles import AnglePair
    from fastntk.kernels.methods import KernelTile
    from fastntk.linearity.operators import KernelOperator
    from fastntk.symmetric.packed import PackedKernel

    Depths: TypeAlias = int | Sequence[int] | None
    Activations: TypeAlias = str | Activation | Sequence[str | Activation]
    Values: TypeAlias = float | Sequence[float]


class NetworkOptions(TypedDict, total=False):
    """The parameters of `Network` that are given by name only; its defaults hold."""

    activation_scale: float | Sequence[float | None] | None
    parametrization: str
    width: int | None
    layer_weights: ArrayLike | None
    tolerance: float


@overload
def ntk(  # type: ignore[overload-overlap]
    X: ArrayLike,
    Z: None = None,
    depth: int | None = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    dtype: DTypeLike | None = None,
    out: Literal["packed"],
    overwrite: bool = False,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> PackedKernel: ...
@overload
def ntk(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: Depths = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    dtype: DTypeLike | None = None,
    out: FloatArray | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> FloatArray: ...
def ntk(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: Depths = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    dtype: DTypeLike | None = None,
    out: FloatArray | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> FloatArray | PackedKernel:
    """Return the neural tangent kernel of a network of infinite width, the Θ^{L+1} of `Network`.

    Parameters
    ----------
    X, Z : array_like (n, d), (m, d)
        Samples, one a row. Without Z the symmetric kernel of X with itself.
    depth : int or sequence of int, optional
        L ≥ 0, the number of hidden layers; several of them take one pass. By default what a
        sequence of σ_w, σ_b, φ or c_φ says, which has a value for each layer, or else 3.
    activation : str, Activation, or sequence of these (L,)
        φ: a name, or an activation of `fastntk.activations`; or that of each hidden layer.
    weight_std, bias_std : float, or sequence of float (L + 1,)
        σ_w > 0 and σ_b ≥ 0; or those of each layer, the inputs' first.
    normalize : bool
        Whether to return K_ij/√(K_ii K_jj), the cosines of the angles between gradients.
    dtype, out, overwrite
        Precision of the kernel, and where it is to go, a file or packed storage: see `Network.ntk`.
    progress : bool or callable
        Whether to show a progress bar; or a function of (stage, done, total).
    **options
        ``activation_scale``, ``parametrization``, ``width``, ``layer_weights`` and ``tolerance``,
        as for `Network`.

    Returns
    -------
    ndarray (n, m), or (depths, n, m) for a sequence of depths; or PackedKernel
        See `Network.ntk`, also for what is raised.

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
    network = Network(depth, activation, weight_std, bias_std, **options)
    return network.ntk(
        X,
        Z,
        normalize=normalize,
        dtype=dtype,
        out=out,
        overwrite=overwrite,
        progress=progress,
    )


@overload
def nngp(  # type: ignore[overload-overlap]
    X: ArrayLike,
    Z: None = None,
    depth: int | None = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    dtype: DTypeLike | None = None,
    out: Literal["packed"],
    overwrite: bool = False,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> PackedKernel: ...
@overload
def nngp(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: Depths = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    dtype: DTypeLike | None = None,
    out: FloatArray | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> FloatArray: ...
def nngp(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: Depths = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    dtype: DTypeLike | None = None,
    out: FloatArray | str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> FloatArray | PackedKernel:
    """Return the covariance of the outputs of a network of infinite width at initialization.

    Outputs are then a Gaussian process with this kernel, the Σ^{L+1} of `Network` [1]_.

    Parameters
    ----------
    X, Z, depth, activation, weight_std, bias_std, normalize, dtype, out, overwrite, progress
        As for `ntk`, and so are all further options.

    Returns
    -------
    ndarray (n, m), or (depths, n, m) for a sequence of depths; or PackedKernel

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
    network = Network(depth, activation, weight_std, bias_std, **options)
    return network.nngp(
        X,
        Z,
        normalize=normalize,
        dtype=dtype,
        out=out,
        overwrite=overwrite,
        progress=progress,
    )


def kernels(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: Depths = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> Kernels:
    """Return `nngp` and `ntk` from one pass.

    Parameters
    ----------
    X, Z, depth, activation, weight_std, bias_std, normalize, progress, **options
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
    network = Network(depth, activation, weight_std, bias_std, **options)
    return network.kernels(X, Z, normalize=normalize, progress=progress)


def ntk_tiles(
    X: ArrayLike,
    Z: ArrayLike | None = None,
    depth: int | None = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    tile: int = 2048,
    normalize: bool = False,
    dtype: DTypeLike | None = None,
    **options: Unpack[NetworkOptions],
) -> Iterator[KernelTile]:
    """Iterate over blocks of the tangent kernel, for kernels that need not be kept.

    Parameters
    ----------
    X, Z, depth, activation, weight_std, bias_std, normalize, dtype, **options
        As for `ntk`.
    tile : int
        The number of rows and columns of a block.

    Yields
    ------
    KernelTile
        See `Network.ntk_tiles`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> [tile.kernel.shape for tile in infinite.ntk_tiles(np.eye(3), depth=2, tile=2)]
    [(2, 2), (1, 2), (1, 1)]
    """
    network = Network(depth, activation, weight_std, bias_std, **options)
    return network.ntk_tiles(X, Z, tile=tile, normalize=normalize, dtype=dtype)


def ntk_operator(
    X: ArrayLike,
    depth: int | None = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    dtype: DTypeLike | None = None,
    **options: Unpack[NetworkOptions],
) -> KernelOperator:
    """Return the tangent kernel as an operator, which multiplies without being formed.

    Parameters
    ----------
    X, depth, activation, weight_std, bias_std, normalize, dtype, **options
        As for `ntk`.

    Returns
    -------
    KernelOperator (n, n)
        See `Network.ntk_operator`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> operator = infinite.ntk_operator(np.eye(3), depth=2)
    >>> (operator @ np.ones(3)).shape, operator.diagonal().shape
    ((3,), (3,))
    """
    network = Network(depth, activation, weight_std, bias_std, **options)
    return network.ntk_operator(X, normalize=normalize, dtype=dtype)


@overload
def smallest_angle(
    X: ArrayLike,
    depth: int | None = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    k: None = None,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> AnglePair: ...
@overload
def smallest_angle(
    X: ArrayLike,
    depth: int | None = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    k: int,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> list[AnglePair]: ...
def smallest_angle(
    X: ArrayLike,
    depth: int | None = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    k: int | None = None,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> AnglePair | list[AnglePair]:
    """Return the smallest angle between the gradients of two samples, or the k smallest.

    Parameters
    ----------
    X : array_like (n, d)
        At least two samples, one a row.
    depth, activation, weight_std, bias_std, progress, **options
        As for `ntk`.
    k : int, optional
        How many pairs.

    Returns
    -------
    AnglePair, or list of AnglePair
        See `Network.smallest_angle`.

    Examples
    --------
    >>> from fastntk import infinite
    >>> pair = infinite.smallest_angle([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-9]], depth=2)
    >>> pair.i, pair.j, round(pair.angle, 9)
    (0, 2, 2.5231e-05)
    """
    network = Network(depth, activation, weight_std, bias_std, **options)
    return network.smallest_angle(X, k, progress=progress)


def conditioning(
    X: ArrayLike,
    depths: Depths = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    *,
    normalize: bool = False,
    progress: Progress = False,
    **options: Unpack[NetworkOptions],
) -> tuple[Conditioning, ...]:
    """Return λ_min, λ_max and κ of the tangent kernel at each depth.

    One kernel at a time is held, in float64 whatever the dtype of X.

    Parameters
    ----------
    X : array_like (n, d)
        Samples, one a row.
    depths : int or sequence of int, optional
        Numbers of hidden layers, the `depth` of `ntk`.
    activation, weight_std, bias_std, normalize, progress, **options
        As for `ntk`.

    Returns
    -------
    tuple of Conditioning
        One for each depth, in the order given.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.random.default_rng(0).standard_normal((100, 20))
    >>> [round(c.condition_number, 1) for c in infinite.conditioning(X, [1, 3, 10])]
    [189.7, 139.3, 127.1]
    """
    network = Network(depths, activation, weight_std, bias_std, **options)
    return tuple(
        network.at_depth(depth).conditioning(X, normalize=normalize, progress=progress)
        for depth in network.asked
    )


def angle_map(theta: ArrayLike) -> NDArray[np.float64]:
    r"""Return the angle of two samples after one ReLU layer.

    .. math:: g(θ) = \arccos\left((1 - θ/π) \cos θ + \sin θ / π\right)

    to nearly all digits, from the smallest angles on [1]_.

    Parameters
    ----------
    theta : array_like
        Angles in [0, π].

    Returns
    -------
    ndarray, of the shape of theta
        At most θ, up to rounding; the difference is about θ²/(3π).

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Lemma 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> infinite.angle_map([0.0, 1e-12, 1.0, np.pi]).round(4)
    array([0.    , 0.    , 0.8813, 1.5708])
    """
    return Network(depth=1).embedding_angle(theta)


def embedding_angle(
    theta: ArrayLike,
    depth: Depths = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    **options: Unpack[NetworkOptions],
) -> NDArray[np.float64]:
    """Return the angle of two samples after some layers: for ReLU, g applied `depth` times.

    Parameters
    ----------
    theta : array_like
        Angles of samples of norm √d, in [0, π].
    depth : int or sequence of int, optional
        Number of layers.
    activation, weight_std, bias_std, **options
        As for `ntk`. With the scales that are the default, all layers keep the norm √d.

    Returns
    -------
    ndarray, of the shape of theta; for a sequence of depths, with a first axis for these
        RuntimeWarning tells of angles that are not resolved; `Network.embedding_angle` can return
        the numbers between which they are.

    Examples
    --------
    >>> from fastntk import infinite
    >>> infinite.embedding_angle(1.0, [0, 1, 10]).round(4)
    array([1.    , 0.8813, 0.4487])
    """
    return Network(depth, activation, weight_std, bias_std, **options).embedding_angle(theta)


def gradient_angle(
    theta: ArrayLike,
    depth: Depths = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    **options: Unpack[NetworkOptions],
) -> NDArray[np.float64]:
    r"""Return the angle between the gradients of the output at two samples.

    For ReLU, with θ^l = g^l(θ),

    .. math:: \cos φ_L = \frac{1}{L + 1} \sum_{l=0}^{L} \cos θ^l \prod_{j=l}^{L-1} (1 - θ^j/π) .

    Parameters
    ----------
    theta : array_like
        Angles of samples of norm √d, in [0, π].
    depth : int or sequence of int, optional
        L, the number of hidden layers.
    activation, weight_std, bias_std, **options
        As for `ntk`. The kernel in the standard parametrization depends on the number of inputs,
        which angles do not tell: it is refused.

    Returns
    -------
    ndarray, of the shape of theta; for a sequence of depths, with a first axis for these
        RuntimeWarning tells of angles that are not resolved; `Network.gradient_angle` can return
        the numbers between which they are.

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Lemma 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> np.degrees(infinite.gradient_angle(0.05, [1, 3, 6])).round(5)
    array([ 7.7741 , 12.74962, 17.60961])
    >>> float(infinite.gradient_angle(1e-10, 1).round(8))
    5.64e-06
    """
    return Network(depth, activation, weight_std, bias_std, **options).gradient_angle(theta)


def predict(
    X: ArrayLike,
    y: ArrayLike,
    Z: ArrayLike,
    *,
    kernel: str = "ntk",
    ridge: float | str = 0.0,
    solution: str = "unique",
    solver: str = "cholesky",
    preconditioner_rank: int = 256,
    max_iterations: int = 1000,
    solver_tolerance: float = 1e-8,
    time: ArrayLike = math.inf,
    steps: ArrayLike | None = None,
    learning_rate: float | None = None,
    covariance: bool = False,
    depth: int | None = None,
    activation: Activations = "relu",
    weight_std: Values = 1.0,
    bias_std: Values = 0.0,
    **options: Unpack[NetworkOptions],
) -> Prediction:
    """Return what a network of infinite width predicts at Z after training on X and y.

    For several targets, samples or times, make a `Regression` and keep it.

    Parameters
    ----------
    X, y : array_like (n, d), (n,) or (n, C)
        Training samples and their targets.
    Z : array_like (m, d)
        Samples, one a row.
    kernel, ridge, solution, solver, preconditioner_rank, max_iterations, solver_tolerance
        As for `Regression`.
    time, steps, learning_rate, covariance
        As for `Regression.predict`.
    depth, activation, weight_std, bias_std, **options
        As for `ntk`.

    Returns
    -------
    Prediction
        With the arrays `mean` and `covariance`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> mean, covariance = infinite.predict(X, [1.0, -1.0], [[1.0, 1.0]], covariance=True)
    >>> bool(np.allclose(mean, 0))
    True
    >>> covariance.shape
    (1, 1)
    """
    return Network(depth, activation, weight_std, bias_std, **options).predict(
        X,
        y,
        Z,
        kernel=kernel,
        ridge=ridge,
        solution=solution,
        solver=solver,
        preconditioner_rank=preconditioner_rank,
        max_iterations=max_iterations,
        solver_tolerance=solver_tolerance,
        time=time,
        steps=steps,
        learning_rate=learning_rate,
        covariance=covariance,
    )
