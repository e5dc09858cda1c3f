# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A bound on the learning rate, from the largest eigenvalue of the kernel.

To first order in the parameters the outputs at the n samples of a batch are f₀ + F Δw, and the
Hessian of the loss is (1/n) Fᵀ D F, where D has a block for each sample: the second derivative of
its loss by its outputs. For the square loss D = I. For softmax cross-entropy with probabilities p
the block is diag(p) − p pᵀ, the covariance of an indicator vector: along a unit vector v it is the
variance of v_c under p, at most (max v − min v)²/4 ≤ 1/2, with equality for two outputs at p = 1/2.
Gradient descent decreases the loss of this model at every step if η is below 2 over the largest
eigenvalue of the Hessian, and F Fᵀ = K has those of Fᵀ F: η < 2n/λ_max(K) for the square loss,
η < 4n/λ_max(K) for cross-entropy. The first is sharp. The second is not: with C equally likely
outputs D has the norm 1/C, and steps up to C/2 times as large are stable at first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.threads import core_threads
from fastntk.networks.base import require_finite_network
from fastntk.networks.targets import require_fitting
from fastntk.symmetric.block_lanczos import largest_eigenpairs

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.architectures.finite import FiniteNetwork
    from fastntk.mlp import MLP

# The largest norm of D, by loss.
_CURVATURE = {"mse": 1.0, "cross_entropy": 0.5}

# λ_max is that of so many samples: rates are searched on a grid that is much coarser than what the
# other samples would change.
_SUBSET = 256

# The relative error that λ_max may have, for the same reason. The error of a Ritz value is of the
# order of the square of its residual over the gap to the next eigenvalue; where that gap is small,
# what counts is that the value has stopped growing, which the method waits for as well. So the
# residual may be as large as the root of the error. In 18 problems errors were at most 1.2e-4, and
# 1e-6 as a rule, after 4 to 16 products with two vectors each.
_EIGENVALUE_TOLERANCE = 1e-3
_RESIDUAL_TOLERANCE = math.sqrt(_EIGENVALUE_TOLERANCE)


def learning_rate_bound(
    net: MLP | FiniteNetwork,
    X: npt.ArrayLike,
    *,
    loss: str = "cross_entropy",
    layer_rates: npt.ArrayLike | None = None,
    subset: int = _SUBSET,
    seed: int = 0,
) -> float:
    """Return the learning rate below which full-batch gradient descent decreases the loss.

    It is that of the linear model around the network's weights: 2n/λ_max(K) for the square loss,
    above which descent diverges, and 4n/λ_max(K) for softmax cross-entropy, above which it need
    not. K is the kernel of all outputs, a matrix of n C rows, which is never formed.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        The network, whose weights are where the model is linear.
    X : array_like (n, d)
        Samples, one a row.
    loss : {"cross_entropy", "mse"}
        As in `train`.
    layer_rates : array_like (layers,) or (layers, 2), optional
        As in `train`; 0 for what is not trained.
    subset : int
        Where there are more samples, λ_max/n is that of so many, drawn at random. It is the largest
        eigenvalue of a mean over samples, which is a convex function: the expected value over
        subsets is at least that of all samples, so that the bound errs towards small rates; and
        what holds of a subset holds of a batch of that size.
    seed : int
        The seed with which the subset is drawn.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If no gradient is different from 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((50, 5))
    >>> net = fastntk.MLP([5, 64, 1])
    >>> bound = fastntk.learning_rate_bound(net, X, loss="mse")
    >>> bool(np.isclose(bound, 2 * 50 / fastntk.conditioning(net.ntk(X)).eigenvalue_max, rtol=1e-3))
    True
    """
    require_finite_network(net)
    require_fitting(arguments.choice(loss, "loss", tuple(_CURVATURE)), net.network)
    if layer_rates is not None:
        arguments.layer_weights(layer_rates, len(net.network.layers), "layer_rates")
    samples = net.network.samples(X, "X")
    size = arguments.integer(subset, "subset", minimum=1)
    generator = np.random.default_rng(arguments.seed(seed))
    if len(samples) > size:
        samples = samples[np.sort(generator.permutation(len(samples))[:size])]
    operator: Any = net.ntk_operator(samples, outputs="full", layer_weights=layer_rates)
    # BLAS of one thread, for the same bits whatever their number
    with core_threads(), np.errstate(over="ignore", invalid="ignore"):
        try:
            pairs = largest_eigenpairs(
                operator.matmat, operator.shape[0], 1, tolerance=_RESIDUAL_TOLERANCE
            )
            largest = float(pairs.values[0])
        except (np.linalg.LinAlgError, ValueError):  # of numbers that are not finite
            largest = math.inf
    if not math.isfinite(largest):
        raise OverflowError(
            f"X with elements of at most {np.abs(samples).max():.3g}: λ_max of the kernel is not "
            "finite: expected smaller samples, weight_std, bias_std or scales of activations"
        )
    if largest == 0:
        raise ValueError(
            "the gradients of all outputs are 0 at all samples: expected a net with one that is "
            "not, as a rule of another width or seeds"
        )
    return 2.0 * len(samples) / (_CURVATURE[loss] * largest)
