# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fully connected networks of infinite width."""

from __future__ import annotations

from dataclasses import dataclass

from fastntk.infinite.architecture import Architecture
from fastntk.infinite.methods import LimitMethods


@dataclass(frozen=True, repr=False)
class Network(Architecture, LimitMethods):
    r"""A fully connected network of infinite width.

    Every activation is multiplied by c_φ (`activation_scale`), by default such that σ_w = 1 keeps
    its size from layer to layer. The σ_w of the literature on the edge of chaos, and that of
    neural-tangents, belongs to networks with ``activation_scale=1``: after the first layer it is
    σ_w c_φ here, where c_φ is √2 for ReLU and 1.5925 for tanh.

    With :math:`Σ^1 = σ_{w,1}^2 XZ^\top/d + σ_{b,1}^2` and :math:`Θ^1 = Σ^1`,

    .. math::

        Σ^{l+1} = σ_{w,l+1}^2 c_l^2 \, E[φ_l(u) φ_l(v)] + σ_{b,l+1}^2, \quad
        Θ^{l+1} = Σ^{l+1} + Θ^l ∘ σ_{w,l+1}^2 c_l^2 \, E[φ_l'(u) φ_l'(v)], \quad
        (u, v) \sim N(0, Σ^l),

    :math:`Σ^{L+1}` is the covariance of the outputs at initialization (`nngp`) and
    :math:`Θ^{L+1}` the neural tangent kernel (`ntk`) [1]_.

    Networks do not change; those with the same parameters compare equal: at depth 0, where no φ is
    applied, those of different φ do not, as ``dataclasses.replace(network, depth=1)`` of them are
    different networks. What is printed of them
    makes an equal one again, after ``from fastntk import activations``, unless an activation is a
    function of one's own.

    Parameters
    ----------
    depth : int or sequence of int, optional
        L ≥ 0, the number of hidden layers; kernels of several depths take one pass. By default what
        a sequence of σ_w, σ_b, φ or c_φ says, which has a value for each layer, or else 3.
    activation : str, Activation, or sequence of these (L,)
        φ: a name, or an activation of `fastntk.activations`; or the φ_l of each hidden layer.
    weight_std : float or sequence of float (L + 1,)
        σ_w > 0; or that of each layer, the inputs' first.
    bias_std : float or sequence of float (L + 1,)
        σ_b ≥ 0; or that of each layer.
    activation_scale : float or sequence of float (L,), optional
        c_φ, or the c_l of each hidden layer. By default, and where it is None,
        E[φ(u)²]^{-1/2} for a standard normal u: √2 for ReLU, 1 for the identity.
    parametrization : {"ntk", "standard"}
        "standard" has weights of variance σ_w²/n and no factors in the forward pass; the tangent
        kernel then grows with the `width` of the hidden layers, which must be given.
    width : int, optional
        Width of the hidden layers, for the standard parametrization only.
    layer_weights : array_like (L + 1,) or (L + 1, 2), optional
        Learning rates ω ≥ 0 of the layers, or of their (weights, biases), in the tangent kernel.
        (1, 0, …, 0) trains the first layer only.
    tolerance : float
        Relative error allowed to the dual of an activation without a closed form.

    See Also
    --------
    fastntk.MLP : Networks of finite width.

    Notes
    -----
    With several depths, L is the largest of them in all shapes above, and layer l of every network
    has the l-th value: shallower networks are made of the first layers of the deepest one, and
    their last layer, number l, has the l-th of σ_w, σ_b and ω. `at_depth` returns one of them.

    Closed forms of E[φ(u)φ(v)] and E[φ'(u)φ'(v)], over the root mean squares of both factors, are
    off by at most 2^-46 for pairs at all angles and of all standard deviations, equal or not, from
    1e-150 to 1e150; those of powers, polynomials and exp where they stay in the range of float64.
    Of pairs that they leave close, or make nearly opposite, they keep the angles to a relative
    2^-28, down to 2^-48. Those of tanh, sigmoid, softplus and SiLU are off by at most the
    `tolerance`, in the same range. The series of custom activations keep it, or refuse standard
    deviations for which they do not, as far as the turns of the activation are seen: see the
    `breakpoints` of `activations.custom`. Elements of kernels are right to such a share of
    √(K_ii K_jj), by which cosines are multiplied: `kernel_error` bounds what the layers make of it.

    References
    ----------
    .. [1] A. Jacot, F. Gabriel, C. Hongler, "Neural tangent kernel: convergence and generalization
       in neural networks", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> net = infinite.Network(depth=2, activation="gelu", bias_std=0.1)
    >>> net
    Network(depth=2, activation='gelu', weight_std=1.0, bias_std=0.1)
    >>> net.ntk(X).round(6)
    array([[1.324744, 0.699531],
           [0.699531, 1.324744]])

    Each layer with its own activation and variances:

    >>> net = infinite.Network(activation=["relu", "erf"], weight_std=[1.0, 1.5, 1.0])
    >>> net.depth
    2
    >>> net.nngp(X).round(6)
    array([[1.047901, 0.66907 ],
           [0.66907 , 1.047901]])
    >>> net == infinite.Network(2, ["relu", "erf"], [1.0, 1.5, 1.0], bias_std=[0, 0, 0])
    True
    """
