# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of infinite width that are described by their layers."""

from __future__ import annotations

from dataclasses import dataclass

from fastntk.infinite.layered_architecture import LayeredArchitecture
from fastntk.infinite.methods import LimitMethods


@dataclass(frozen=True, repr=False)
class LayeredNetwork(LayeredArchitecture, LimitMethods):
    r"""The limit of infinite width of a network that is described by its layers.

    `fastntk.Network.infinite` makes it. All widths but the numbers of inputs and outputs grow. With
    Σ the covariance of what a layer computes, and Θ the kernel of all parameters up to there,

    .. math::

        \text{Dense:} \quad & Σ^+ = σ_w^2 Σ + σ_b^2, \quad
        Θ^+ = σ_w^2 (ω^W Σ + Θ) + ω^b σ_b^2 \\
        \text{activation:} \quad & Σ^+ = c^2 E[φ(u) φ(v)], \quad
        Θ^+ = Θ ∘ c^2 E[φ'(u) φ'(v)], \quad (u, v) \sim N(0, Σ) \\
        \text{Residual:} \quad & Σ^+ = Σ + α^2 Σ_{branch}, \quad Θ^+ = Θ + α^2 Θ_{branch} \\
        \text{normalization:} \quad & Σ^+ = Σ/(q q^\top), \quad Θ^+ = Θ/(q q^\top), \quad
        q^2 = \operatorname{diag} Σ + ε \\
        \text{gain, shift:} \quad & Θ^+ = Θ + ω^γ Σ + ω^β

    A gain that is trained, with an activation that is linear on both sides of 0 right behind it,
    adds ω^γ Σ of what comes out of the activation; other activations behind it have no closed form.

    Networks do not change, and those with the same parameters compare equal.

    Parameters
    ----------
    layers : sequence of Layer
        In order, see `fastntk.layers`. Their widths do not matter, but see `bottlenecks`.
    inputs : int
        d, the number of inputs.
    blocks : int or sequence of int, optional
        How many of the blocks there are, the entries of `layers` that are a ``Residual``; kernels
        of several depths take one pass. What stands after the last of the blocks follows after that
        many of them. By default all.
    bottlenecks : {"refuse", "grow"}
        "refuse": a layer that is narrower than what it takes and than what takes it is an error,
        because there is no such limit while its width stays as it is. "grow": it grows as well.
    tolerance : float
        Relative error allowed to the dual of an activation without a closed form.

    See Also
    --------
    fastntk.infinite.Network : Fully connected networks.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> from fastntk.layers import Dense, ReLU, Residual
    >>> block = Residual([Dense(64), ReLU(), Dense(64)])
    >>> net = fastntk.Network([Dense(64), *[block] * 10, Dense(1)], inputs=2)
    >>> net.infinite(blocks=[1, 10]).ntk(np.eye(2)).shape
    (2, 2, 2)
    """
