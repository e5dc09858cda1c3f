# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
r"""The edge of chaos: with which σ_w close samples neither drift apart nor together.

What two samples have at infinite width are the size of what activations take, q, and the
correlation C of two of these. One layer, or block, takes C to another one, and close samples drift
apart (chaos) or together (order) by the slope of this map at C = 1. With E₁ = c² E[φ(√q u)²] and
E₀ = c² E[φ'(√q u)²] for a standard normal u it is

    plain       χ = σ_w² E₀,  at the fixed point  q = σ_w² E₁ + σ_b²;
    blocks      χ = (s + α² σ_w⁴ E₀ s_b)/(s + α² (σ_w² E₁ + σ_b²)),  q = σ_w² s_b + σ_b²,

where s is the size of the stream before the block, and s_b that of what its branch takes: s, or 1
where a normalization is before it or after the block before. With a normalization χ = 1 is

    σ_w⁴ E₀ = σ_w² E₁ + σ_b²,  q = σ_w² + σ_b²,

whatever s and α are. Both say that what is left of q E₀ − E₁ balances the biases: with
D = q E₀ − E₁, and σ_w² = 1/E₀ for plain networks,

    plain       D = σ_b² E₀;        normalization   σ_w² D = σ_b² (1 + σ_w² E₀).

For small q, where φ is nearly linear on either side of 0, D is far smaller than its two parts. But
it is the same for φ and for r(z) = φ(z) − φ'(0±) z, if φ(0) = 0: with s the piecewise linear part,
Stein's lemma E[z g(z)] = q E[g'(z)] of g = s' s gives E[s²] = q E[s'²], and that of g = s' r gives
E[s r] = q E[s' r']. So D = c² (q E[r'(z)²] − E[r(z)²]), with parts of the size of D.

Without a normalization s grows from block to block, and with it χ tends to 1 for every
σ_w, so that there is no edge to be found (G. Yang, S. S. Schoenholz, "Mean field residual networks:
on the edge of chaos", NeurIPS 2017).
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import brentq

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.layers.kinds import KINDS
from fastntk.networks.initialization import checked_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastntk.activations import Activation

# Where roots are looked for: sizes q, and weight_std where there is a normalization, both from
# smaller ones on if biases are small; so many brackets for each factor of ten.
_SIZES = (1e-6, 1e3)
_WEIGHTS = (1e-3, 1e2)
_LEAST_SIZE = 1e-20
_BRACKETS = 16

# What differs by less than a share is the same up to quadrature; and a balance that rounding may
# have changed by more than a share is not known.
_EPSILON = float(np.finfo(float).eps)
_SAME = 1e-10
_KNOWN = 1e-6

# Into how many the panels of a quadrature are cut, for activations of which nothing is known.
_CUTS = (1, 4, 16)

# 0 attracts if sizes this far from it come closer.
_NEAR_ZERO = (1e-4, 1e-2, 1.0)


class Edge(NamedTuple):
    """Where networks of infinite width are at the edge of chaos.

    Attributes
    ----------
    weight_std, bias_std : float
        σ_w and σ_b.
    variance : float
        q, the size of what activations take; NaN where it is what the samples make it, as for ReLU.
    """

    weight_std: float
    bias_std: float
    variance: float


def edge_of_chaos(
    activation: str | Activation = "relu",
    bias_std: float = 0.0,
    *,
    architecture: str = "plain",
    activation_scale: float | None = None,
) -> Edge:
    r"""Return the σ_w with which close samples neither drift apart nor together.

    That is where the correlation of two samples goes through a layer, or a block, with the slope 1
    at 1. For plain networks [1]_ the size of what the activations take is at its fixed point, in
    the limit of infinite depth:

    .. math::

        q = σ_w^2 c_φ^2 E[φ(\sqrt q u)^2] + σ_b^2, \quad
        χ = σ_w^2 c_φ^2 E[φ'(\sqrt q u)^2] = 1, \quad u \sim N(0, 1)

    For blocks with a normalization before or after them it is so in each block, for every α:

    .. math::

        σ_w^4 c_φ^2 E[φ'(\sqrt q u)^2] = σ_w^2 c_φ^2 E[φ(\sqrt q u)^2] + σ_b^2, \quad
        q = σ_w^2 + σ_b^2

    Away from it the angles of close samples change exponentially with depth in "postnorm" networks,
    and like a power of the depth in "prenorm" ones, as these have a stream that grows.

    Parameters
    ----------
    activation : str or fastntk.activations.Activation
        φ.
    bias_std : float
        σ_b.
    architecture : {"plain", "residual", "prenorm", "postnorm"}
        See `fastntk.architectures.Architecture`.
    activation_scale : float, optional
        c_φ; by default that of the activation. The literature has 1.

    Returns
    -------
    Edge
        With `weight_std`, `bias_std` and `variance` (q). Where there are several, that of the
        smallest σ_w, or for plain networks of the smallest q that attracts. That may be 0, where
        E[φ'(√q u)²] is the mean of the squares of the slopes on both sides of 0.

    Raises
    ------
    ValueError
        If there is none: for "residual" networks, whose slope tends to 1 with depth for every σ_w
        as long as φ grows no faster than linearly [2]_; where every σ_w is one, as for ReLU with a
        normalization and without biases; where close samples drift in one direction for every
        σ_w, as with ReLU and biases; for biases so small, below 1e-13 for tanh, that rounding
        hides the size at which the edge is; and of a custom activation that turns more sharply
        than quadrature can follow without `breakpoints`.

    References
    ----------
    .. [1] S. S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, "Deep information
       propagation", ICLR 2017.
    .. [2] G. Yang, S. S. Schoenholz, "Mean field residual networks: on the edge of chaos", NeurIPS
       2017.

    Examples
    --------
    >>> from fastntk import infinite
    >>> round(infinite.edge_of_chaos("relu", activation_scale=1.0).weight_std ** 2, 12)
    2.0
    >>> round(infinite.edge_of_chaos("tanh", 0.05**0.5, activation_scale=1.0).weight_std ** 2, 2)
    1.76
    >>> round(infinite.edge_of_chaos("tanh", 0.3, architecture="postnorm").weight_std, 3)
    0.988
    """
    phi = activations.get(activation)
    biases = arguments.real(bias_std, "bias_std", minimum=0.0)
    kind = arguments.choice(architecture, "architecture", KINDS)
    scale = checked_scale(activation_scale)
    if phi.function is None or phi.derivative is None:
        raise ValueError(f"activation={shown(activation)}: expected one that has a slope")
    if kind == "residual":
        raise ValueError(
            "architecture='residual': expected another one, because the size of its stream grows "
            "from block to block, and the slope tends to 1 with every σ_w"
        )
    moments = _Moments(phi, phi.scale if scale is None else scale)
    if moments.slope(1.0) == 0:
        raise ValueError(f"activation={shown(activation)}: expected one that has a slope")
    if phi.slopes is not None:
        return _of_two_slopes(moments, biases, kind)
    solve = _at_fixed_point if kind == "plain" else partial(_with_normalization, kind=kind)
    # Where φ leaves the range of numbers there is no edge.
    with np.errstate(over="ignore", invalid="ignore"):
        for cut in _CUTS:
            edge = solve(moments.cut(cut), biases)
            if phi.identity is None or moments.cut(cut).settled(edge.variance):
                return edge
    raise ValueError(
        f"activation={shown(activation)}: expected one whose moments quadrature knows; where it "
        "turns sharply, or has kinks, belongs into breakpoints"
    )


class _Rest(NamedTuple):
    """What makes up the equations at one q, with digits of its own where φ is nearly linear.

    Attributes
    ----------
    difference, size, error : float
        D = q E₀ − E₁; its two parts together; and by how much D may be off.
    pull, pull_error : float
        q (E₁'(q) − E₀), which decides where sizes near q go; and by how much it may be off.
    """

    difference: float
    size: float
    error: float
    pull: float
    pull_error: float


class _Moments:
    """E₁ and E₀ of an activation, as functions of q."""

    def __init__(self, phi: Activation, scale: float, cut: int = 1) -> None:
        self.phi = phi
        self.scale = scale
        self._cut = cut
        assert phi.function is not None
        assert phi.derivative is not None
        # The slopes on both sides of 0, where φ is 0 there.
        zero = float(np.asarray(phi.function(np.zeros(1)))[0]) == 0
        at = np.array([-_LEAST_SIZE, _LEAST_SIZE])
        self._slopes = np.broadcast_to(phi.derivative(at), 2).tolist() if zero else [0.0, 0.0]

    def cut(self, cut: int) -> _Moments:
        """Return the moments by a quadrature whose panels are cut into so many."""
        return _Moments(self.phi, self.scale, cut)

    def settled(self, q: float) -> bool:
        """Return whether finer panels give the same."""
        finer = self.cut(4 * self._cut)
        pairs = ((self.value(q), finer.value(q)), (self.slope(q), finer.slope(q)))
        return all(abs(found - right) <= _SAME * right for found, right in pairs)

    def value(self, q: float) -> float:
        """Return E₁(q) = c² E[φ(√q u)²]."""
        return self._of(self.phi.function, q)

    def slope(self, q: float) -> float:
        """Return E₀(q) = c² E[φ'(√q u)²]."""
        return self._of(self.phi.derivative, q)

    def slope_at_zero(self) -> float:
        """Return what E₀ tends to as q does to 0, if φ(0) = 0: φ may have a kink there."""
        return self.scale**2 * sum(slope**2 for slope in self._slopes) / 2

    def rest(self, q: float) -> _Rest:
        """Return D(q) from the rest r of φ beside its slopes at 0, and what rounding may do."""
        assert self.phi.function is not None
        assert self.phi.derivative is not None
        z, weights = self._nodes(q)
        phi, turn = self.phi.function(z), self.phi.derivative(z)
        slopes = np.where(z < 0, *self._slopes)
        if weights @ (phi - slopes * z) ** 2 > weights @ phi**2:
            slopes = np.zeros(len(z))  # what is subtracted would be larger than what it spares
        r, r_turn = phi - slopes * z, turn - slopes
        off = 4 * _EPSILON * (np.abs(phi) + np.abs(slopes * z))
        off_turn = 4 * _EPSILON * (np.abs(turn) + np.abs(slopes))
        first, second = q * (weights @ r_turn**2), weights @ r**2
        lost = q * (weights @ (np.abs(r_turn) * off_turn)) + weights @ (np.abs(r) * off)
        error = _SAME * (first + second) + lost
        # E₁' = E[z φ φ']/q, and z φ' − φ = z r' − r.
        bent = z * r_turn - r
        pull_error = weights @ (np.abs(phi) * (_SAME * np.abs(bent) + np.abs(z) * off_turn + off))
        found = (
            first - second,
            first + second,
            error,
            weights @ (phi * bent) - (first - second),
            pull_error + error,
        )
        return _Rest(*(self.scale**2 * float(each) for each in found))

    def _of(self, function: Callable[..., np.ndarray] | None, q: float) -> float:
        assert function is not None
        z, weights = self._nodes(q)
        return self.scale**2 * float(weights @ function(z) ** 2)

    def _nodes(self, q: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        root = math.sqrt(q)
        # Where φ(√q u) turns: as a function of u at its breakpoints over √q, and about 0.
        turns = {0.0, *(point / root for point in self.phi.breakpoints if q > 0)}
        nodes, weights = activations.gaussian_nodes(tuple(turns), self._cut)
        return root * nodes, weights


def _of_two_slopes(moments: _Moments, biases: float, kind: str) -> Edge:
    """Return the edge of an activation that is linear on both sides of 0: E₁ = q E₀, of any q."""
    label = moments.phi.label
    if biases > 0:
        raise ValueError(
            f"bias_std={biases:g}: expected 0 for {label}, with which close samples drift together "
            "for every σ_w if there are biases"
        )
    if kind != "plain":
        raise ValueError(
            f"architecture={kind!r}: expected 'plain' for {label} without biases, with which close "
            "samples stay as they are in such blocks for every σ_w"
        )
    assert moments.phi.slopes is not None
    mean_square = sum(slope**2 for slope in moments.phi.slopes) / 2
    return Edge(1 / (moments.scale * math.sqrt(mean_square)), 0.0, math.nan)


def _at_fixed_point(moments: _Moments, biases: float) -> Edge:
    """Return the edge of a plain network: given q, χ = 1 says σ_w, and one unknown is left."""

    def balance(q: float) -> tuple[float, float]:
        return _share(biases**2 * moments.slope(q), moments.rest(q))

    def attracts(q: float) -> bool:
        # The slope of the map from a size to the next one, σ_w² E₁', less 1.
        rest, whole = moments.rest(q), q * moments.slope(q)
        if abs(rest.pull) <= rest.pull_error:
            raise _hidden(moments, biases)
        return -2 * whole < rest.pull < 0

    if biases == 0 and moments.slope_at_zero() > 0:
        weights = 1 / moments.slope_at_zero()
        if all(weights * moments.value(q) <= q * (1 + _SAME) for q in _NEAR_ZERO):
            return Edge(math.sqrt(weights), 0.0, 0.0)
    # q is above σ_b², and of that order where biases are large.
    least = min(_SIZES[0], max(biases**2, _LEAST_SIZE)) if biases > 0 else _SIZES[0]
    reason = "there is no size that samples keep, and at which close ones stay as they are"
    for q in _roots(balance, (least, max(_SIZES[1], 1e3 * biases**2)), moments, biases):
        weight_std = moments.slope(q) ** -0.5
        if attracts(q):
            return Edge(weight_std, biases, q)
        reason = (
            f"with σ_w = {weight_std:.4g} samples of the size q = {q:.4g} keep it, but those near "
            "it move away from it, layer by layer"
        )
    raise ValueError(
        f"bias_std={biases:g}: expected a σ_b with which {moments.phi.label} has an edge of chaos; "
        f"{reason}"
    )


def _with_normalization(moments: _Moments, biases: float, kind: str) -> Edge:
    """Return the edge of blocks with a normalization."""

    def size(weight_std: float) -> float:
        return weight_std**2 + biases**2

    def balance(weight_std: float) -> tuple[float, float]:
        q, weights = size(weight_std), weight_std**2
        side = biases**2 * (1 / weights + moments.slope(q))
        return _share(side, moments.rest(q))

    # σ_b² is at most σ_w⁴ E₀.
    least = min(_WEIGHTS[0], max(1e-2 * math.sqrt(biases), math.sqrt(_LEAST_SIZE)))
    limits = (least if biases > 0 else _WEIGHTS[0], _WEIGHTS[1])
    for weight_std in _roots(balance, limits, moments, biases):
        return Edge(weight_std, biases, size(weight_std))
    drift = "apart" if balance(1.0)[0] < 0 else "together"
    raise ValueError(
        f"bias_std={biases:g} with architecture={kind!r}: expected a σ_b with which "
        f"{moments.phi.label} has an edge of chaos; close samples drift {drift} for every σ_w from "
        f"{_WEIGHTS[0]:g} to {_WEIGHTS[1]:g}"
    )


def _share(side: float, rest: _Rest) -> tuple[float, float]:
    """Return by what share the side of the biases is larger than D, and how far that may be off."""
    total = side + rest.size
    return ((side - rest.difference) / total, rest.error / total) if total > 0 else (0.0, 0.0)


def _hidden(moments: _Moments, biases: float) -> ValueError:
    return ValueError(
        f"bias_std={biases:g}: expected a larger σ_b for {moments.phi.label}: rounding hides how "
        "far from linear it is at the size q of its edge, which tends to 0 with σ_b"
    )


def _roots(
    balance: Callable[[float], tuple[float, float]],
    limits: tuple[float, float],
    moments: _Moments,
    biases: float,
) -> Iterator[float]:
    """Yield the positive numbers at which a balance changes its sign, in ascending order.

    It is that of the side of the biases, which is larger at 0 if there are any, and of D. Raises
    ValueError where rounding hides a number.
    """
    count = round(_BRACKETS * math.log10(limits[1] / limits[0])) + 1
    last, side, hidden = 0.0, float(biases > 0), True
    for x in np.geomspace(*limits, count).tolist():
        share, error = balance(x)
        if error > _KNOWN:
            hidden = True
        elif abs(share) > error:
            if side * share < 0:
                if hidden:
                    raise _hidden(moments, biases)
                yield float(brentq(lambda x: balance(x)[0], last, x, xtol=1e-300, rtol=1e-14))
            last, side, hidden = x, share, False
