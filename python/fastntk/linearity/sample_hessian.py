# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
r"""The Hessian of one output at one sample, in the few coordinates in which it is not zero.

The gradient of a layer is δ ⊗ h̄, with h̄ = (s h, σ_b) for what z is linear in. So a product with the
Hessian is

.. math:: (H V)^l = Rδ^l ⊗ h̄ + δ^l ⊗ R\bar h

whatever V is (theory of the R-operator: `hessian_products.hpp` of the core), and H is zero on what
is orthogonal to all a ⊗ h̄/‖h̄‖ + δ/‖δ‖ ⊗ b with b ⊥ h̄. With a and b as orthonormal coordinates,
those of a layer are n_l + n_{l-1} + 1 in place of n_l (n_{l-1} + 1), and

.. math::

    Rz &= \|h̄\| a + s W Rh, \\
    R(s W^T δ) &= s W^T Rδ + s \left[ (a · δ) h̄/\|h̄\| + \|δ\| b \right],

the brackets without the component of the bias. A product takes two multiplications with each W. An
activation of the outputs, f = ψ(g), makes the last layer one like those below it, but for
:math:`Rδ^{L+1}`, which is ψ'' ∘ Rz alone, or what `softmax.hpp` has in its place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support.threads import core_threads
from fastntk.activations.outputs import Softmax, is_nowhere_flat
from fastntk.kernels.existence import NEGLIGIBLE

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.networks.network import Layer, Network

    Vectors = npt.NDArray[np.float64]


# Sizes below 2⁻⁹⁷⁰: what is small beside them may have fewer digits than other numbers, or none.
_LEAST_EXPONENT = -970


class HessianInCoordinates(ABC):
    """∇²f_c(x) as an operator on coordinates, with the nonzero eigenvalues of the whole.

    Parameters
    ----------
    x : ndarray (1, d)
        The sample.

    Attributes
    ----------
    sizes : list of int
        How many coordinates each part of the network has.
    vanishes : bool
        Whether something on the way is so small that float64 has not all of its digits: of a
        Hessian that is then small or 0, nothing is known but that.
    """

    sizes: list[int]
    vanishes: bool

    def __init__(self, x: Vectors) -> None:
        self._largest = float(np.abs(x).max())

    def __len__(self) -> int:
        """Return the number of coordinates."""
        return sum(self.sizes)

    def __call__(self, vectors: Vectors) -> Vectors:
        """Return the products with the columns of `vectors` (coordinates, k).

        Raises
        ------
        OverflowError
            If they are not finite.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            products = self.products(np.split(vectors, np.cumsum(self.sizes)[:-1]))
        self.require_finite(products)
        return products

    @abstractmethod
    def products(self, parts: list[Vectors]) -> Vectors:
        """Return the products with columns that have been cut by `sizes`, whatever they are."""

    def require_finite(self, values: Vectors) -> None:
        """Raise OverflowError if something on the way is not finite."""
        if not np.isfinite(values).all():
            raise OverflowError(
                f"X with elements of at most {self._largest:.3g}: its Hessian is not finite in "
                "float64: expected smaller samples, weight_std or scales of activations"
            )


class SampleHessian(HessianInCoordinates):
    """That of a chain of layers.

    Parameters
    ----------
    network : Network
        A network in float64, with an activation that has a second derivative.
    x : ndarray (1, d)
        The sample.
    output : int
        The index c of the output.

    Raises
    ------
    OverflowError
        If something on the way is not finite.
    """

    def __init__(self, network: Network, x: Vectors, output: int) -> None:
        super().__init__(x)
        cotangent = np.zeros((1, network.n_outputs))
        cotangent[0, output] = 1.0
        # All layers have an activation, if the outputs have one.
        activated = network.hidden if network.has_linear_outputs else network.layers
        passes: Any = tuple([np.empty((1, len(a.weights))) for a in activated] for _ in "hsdb")
        with core_threads() as threads:
            _core.passes_with_curvature(network.handle(), x, cotangent, passes, threads, None)
        h, self._slopes, deltas, self._bends = ([a.T for a in arrays] for arrays in passes)
        self._softmax = isinstance(network.output_activation, Softmax)
        self._layers = [
            LayerSpace(layer, below, delta)
            for layer, below, delta in zip(
                network.layers, [x.T, *h], [*deltas, cotangent.T], strict=False
            )
        ]
        sizes_on_the_way = [s for layer in self._layers for s in (layer.norm_h, layer.norm_delta)]
        self.require_finite(np.array(sizes_on_the_way))
        # What is 0 for a good reason, as all beyond a layer none of whose units is active, is 0 in
        # exact arithmetic, too: but not activations where neither slopes nor what they are of is.
        self.vanishes = any(layer.vanishes for layer in self._layers) or any(
            slope.any() and not value.any() and is_not_0(layer, below)
            for layer, below, slope, value in zip(
                network.layers, [x.T, *h], self._slopes, h, strict=False
            )
        )
        # Far from 0 the slope of an output's tanh is below the smallest number, and never 0.
        if not network.has_linear_outputs and is_nowhere_flat(network.output_activation):
            self.vanishes = self.vanishes or not deltas[-1].any()
        self.sizes = [s for layer in self._layers for s in (len(layer.delta), len(layer.unit_h))]

    def products(self, parts: list[Vectors]) -> Vectors:
        """Return the products with columns that have been cut by `sizes`, whatever they are."""
        layers, a, b = self._layers, parts[::2], parts[1::2]
        tangents, bent = [np.zeros((len(layers[0].weights.T), parts[0].shape[1]))], []
        for layer, along, slope, bend in zip(layers, a, self._slopes, self._bends, strict=False):
            rz = layer.norm_h * along + layer.scale * (layer.weights @ tangents[-1])
            if self._softmax and layer is layers[-1]:
                bent.append(slope * _centred(bend * _centred(rz, slope), slope))
                break  # nothing reads Rh of the outputs
            tangents.append(slope * rz)
            bent.append(bend * rz)
        results = []
        # Above linear outputs there is no activation that bends.
        delta_tangent = bent[-1] if len(bent) == len(layers) else np.zeros_like(a[-1])
        for at in reversed(range(len(layers))):
            layer = layers[at]
            results.append(layer.coordinates(delta_tangent, tangents[at]))
            if at > 0:
                ru = layer.weights.T @ delta_tangent + layer.turned(a[at], b[at])
                delta_tangent = bent[at - 1] + self._slopes[at - 1] * (layer.scale * ru)
        return np.concatenate(results[::-1])


class LayerSpace:
    """A layer at a sample: s, W, δ and h̄ as columns, and their lengths."""

    def __init__(self, layer: Layer, below: Vectors, delta: Vectors) -> None:
        self.scale = layer.weight_scale
        self.weights = layer.weights
        self.delta = delta
        bias = np.full((0 if layer.bias is None else 1, 1), layer.bias_scale)
        extended = np.concatenate([self.scale * below, bias])
        self.norm_h, self.unit_h = _length_and_direction(extended)
        self.norm_delta, _ = _length_and_direction(delta)
        # Those of the sums s W h and s Wᵀ δ, too, may be out of range.
        of_weights = _exponent(self.scale) + _exponent(np.abs(self.weights).max())
        exponents = [_exponent(self.norm_h), _exponent(self.norm_delta)]
        exponents += [
            of_weights + _exponent(size) for size in (np.abs(below).max(), self.norm_delta)
        ]
        self.vanishes = any(-math.inf < exponent < _LEAST_EXPONENT for exponent in exponents)

    def turned(self, a: Vectors, b: Vectors) -> Vectors:
        """Return Vᵀ δ of the direction V in the weights with these coordinates."""
        result = self.unit_h * (self.delta.T @ a) + self.norm_delta * self._across(b)
        return result[: self.weights.shape[1]]

    def coordinates(self, delta_tangent: Vectors, tangent: Vectors) -> Vectors:
        """Return the coordinates of Rδ ⊗ h̄ + δ ⊗ (s Rh, 0)."""
        extended = np.zeros((len(self.unit_h), tangent.shape[1]))
        extended[: len(tangent)] = self.scale * tangent
        a = self.norm_h * delta_tangent + self.delta * (self.unit_h.T @ extended)
        return np.concatenate([a, self.norm_delta * self._across(extended)])

    def _across(self, b: Vectors) -> Vectors:
        """Return the part of b that is orthogonal to h̄."""
        result: Vectors = b - self.unit_h * (self.unit_h.T @ b)
        return result


def is_not_0(layer: Layer, below: Vectors) -> bool:
    """Return whether z of a layer is not 0, in exact arithmetic, above a column of activations.

    It is where weights or activations are, and where terms add up to nothing but rounding.
    """
    matrix, column = layer.weight_scale * layer.weights, below
    if layer.bias is not None:
        matrix = np.column_stack([matrix, layer.bias_scale * layer.bias])
        column = np.vstack([below, [[1.0]]])
    with np.errstate(all="ignore"):
        terms = np.abs(matrix) @ np.abs(column)
        remains = np.abs(matrix @ column) > NEGLIGIBLE * terms
    lost = ((matrix != 0) @ (column != 0)) & (terms == 0)
    return bool((remains | lost).any())


def _centred(rows: Vectors, p: Vectors) -> Vectors:
    """Return v_c − Σ_k p_k v_k of columns v, as `softmax.hpp` of the core computes it."""
    differences = rows - rows[int(p.argmax())]
    result: Vectors = differences - p.T @ differences
    return result


def _exponent(size: float) -> float:
    return math.log2(abs(size)) if size != 0 else -math.inf


def _length_and_direction(vector: Vectors) -> tuple[float, Vectors]:
    """Return ‖v‖ and v/‖v‖, whatever the size of v; without a direction, 0."""
    largest = float(np.abs(vector).max(initial=0.0))
    if not 0 < largest < np.inf:
        return largest, np.zeros_like(vector)
    exponent = int(np.frexp(largest)[1])
    scaled = np.ldexp(vector, -exponent)
    length = float(np.linalg.norm(scaled))
    with np.errstate(over="ignore"):
        return float(np.ldexp(length, exponent)), scaled / length
