# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
r"""Proved bounds of what rounding does to gradient features, and so to a kernel.

They are carried along with the passes of each sample, step by step (`step_errors`). A network is
taken as steps, each of which takes nodes that are there and makes the next one, whether it is a
chain or has skip connections and normalizations. Several steps may take a node: on the way back it
has the sum of what comes from them, and of their errors, with the rounding of the sum.

An activation ψ of the outputs makes theirs a layer like those below it, with c = 1, and with a U of
an output that is 1 for itself and 0 for the others. Of a softmax nothing is proved.

Products of norms are the price for a proof: the bound grows with each layer by c σ_w ‖W‖₂/√n max
|φ'|, 2.8 for ReLU, where the error itself grows by 1 or so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.threads import core_threads, map_in_threads
from fastntk.kernels.rounding import KernelErrors
from fastntk.kernels.step_errors import (
    ActivationErrors,
    GainErrors,
    MapErrors,
    NormalizationErrors,
    Rounded,
    StepErrors,
    SumErrors,
    product_rounding,
    unit_roundoff,
)
from fastntk.layers.steps import Activate, Add, Normalize
from fastntk.networks.network import Layer, Network
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.networks.any_network import AnyNetwork

    # One row, or one number, for each sample; float64.
    Vector = NDArray[Any]

# Samples that pass through the network together.
_ROWS = 256

# What the sums and norms of the analysis itself, of fewer than 10⁹ terms, are rounded by.
_OWN_ROUNDING = 1 + 1e-6


def kernel_errors(
    network: AnyNetwork, X: FloatArray, outputs: range, dtype: FloatDType
) -> KernelErrors:
    """Return bounds of the errors of a kernel K(X, X), for `fastntk.conditioning`.

    Parameters
    ----------
    network : AnyNetwork
        Whose precision is that of the passes.
    X : ndarray (n, d)
        Samples on the host.
    outputs : range
        The outputs over which the kernel is summed.
    dtype : dtype
        The precision of the Gram matrices.

    Returns
    -------
    KernelErrors
        ``feature_error``: the largest relative error of the features of a sample, so that it holds
        for any subset of them. ``kernel_error``: what rounding of the Gram matrices can add, in
        spectral norm. Infinite where nothing is proved.
    """
    with core_threads():
        analysis = analysis_of(network)
    if analysis is None:
        return KernelErrors(feature_error=np.inf, kernel_error=np.inf)
    blocks = [X[first : first + _ROWS] for first in range(0, len(X), _ROWS)]
    with core_threads() as threads:
        found = list(
            map_in_threads(
                lambda rows: analysis.of_features(rows, outputs), blocks, threads, Event()
            )
        )
    with np.errstate(all="ignore"):
        errors = np.concatenate([error for error, _ in found])
        norms = np.concatenate([norm for _, norm in found])
        if dtype != network.dtype:  # H and Δ are rounded to it
            errors += 3 * unit_roundoff(dtype) * (norms + 2 * errors)
        # Between another computation and this one lies the exact one.
        least, most = norms - 2 * errors, norms + 2 * errors
        relative = np.where(errors == 0, 0.0, errors / np.maximum(least, 0.0))
        rounding = _gram_rounding(network, len(outputs), dtype)
        # K has its trace from features that were rounded, too.
        relative *= _OWN_ROUNDING / (1 - rounding) if rounding < 1 else np.inf
        return KernelErrors(
            feature_error=_bound(relative.max()),
            kernel_error=_bound(rounding * np.sum(most**2) * _OWN_ROUNDING),
        )


def _gram_rounding(network: AnyNetwork, outputs: int, dtype: FloatDType) -> float:
    """Return γ of a sum over layers of products of sums, over the inputs, and units and outputs."""
    assert isinstance(network, (Network, WiredNetwork))
    layers = network.layers
    terms = max(layer.weights.shape[1] for layer in layers if isinstance(layer, Layer))
    # Δ of linear outputs is a single 1.
    summed = layers[:-1] if network.has_linear_outputs else layers
    terms += max([outputs, *(outputs * len(layer.arrays[0][0]) for layer in summed)])
    return product_rounding(terms + len(layers) + 8, dtype)


def _bound(value: Any) -> float:
    return float(np.inf if np.isnan(value) else value)


@dataclass(frozen=True)
class _Taken:
    """A step, with the nodes that it takes; it makes the node after those that were there."""

    sources: tuple[int, ...]
    step: StepErrors


@dataclass(frozen=True)
class Analysis:
    """The analysis of the passes through one network."""

    steps: Sequence[_Taken]

    def of_features(self, X: FloatArray, outputs: range) -> tuple[Vector, Vector]:
        """Return, for each sample, a bound of the error of its features, and their norm."""
        with np.errstate(all="ignore"):  # what overflows has no bound
            return self._of_features(X.astype(np.float64, copy=False), outputs)

    def _of_features(self, X: Vector, outputs: range) -> tuple[Vector, Vector]:
        kept, width = self._forward(X)
        parts: list[tuple[Vector, Vector]] = []
        for output in outputs:
            parts += self._gradients(kept, output, len(X), width)
        norms, errors = ([part[at] for part in parts] for at in (0, 1))
        return _root_sum_of_squares(errors) * _OWN_ROUNDING, _root_sum_of_squares(norms)

    def _forward(self, X: Vector) -> tuple[list[Any], int]:
        """Return what each step keeps for the way back, and the number of outputs."""
        last = {node: at for at, taken in enumerate(self.steps) for node in taken.sources}
        nodes: dict[int, Rounded] = {0: Rounded(X, np.zeros(len(X)))}
        kept = []
        for at, taken in enumerate(self.steps):
            made, left = taken.step.forward(*(nodes[node] for node in taken.sources))
            kept.append(left)
            for node in taken.sources:
                if last[node] == at:
                    nodes.pop(node, None)
            nodes[at + 1] = made
        return kept, nodes[len(self.steps)].rows.shape[1]

    def _gradients(
        self, kept: list[Any], output: int, count: int, width: int
    ) -> list[tuple[Vector, Vector]]:
        """Return the norm and the error of each part of the gradient of an output."""
        found: list[list[tuple[Vector, Vector]]] = []
        one = np.zeros((count, width))
        one[:, output] = 1.0
        deltas: dict[int, Rounded] = {len(self.steps): Rounded(one, np.zeros(count))}
        for at in range(len(self.steps) - 1, -1, -1):
            if not self._leads_to_parameters[at + 1]:
                continue  # nothing comes back to a step before the first parameters
            step, sources = self.steps[at].step, self.steps[at].sources
            delta = deltas.pop(at + 1)
            found.append(step.gradients(kept[at], delta))
            if not any(self._leads_to_parameters[node] for node in sources):
                continue
            if at == len(self.steps) - 1 and isinstance(step, MapErrors):
                back: tuple[Rounded, ...] = (step.back_from_output(output, count),)
            else:
                back = step.back(kept[at], delta)
            for node, part in zip(sources, back, strict=True):
                if self._leads_to_parameters[node]:
                    there = deltas.get(node)
                    deltas[node] = part if there is None else _added(there, part, step.adding)
        return [part for parts in reversed(found) for part in parts]

    @cached_property
    def _leads_to_parameters(self) -> list[bool]:
        """Whether each node depends on parameters."""
        found = [False]
        for taken in self.steps:
            found.append(taken.step.has_parameters or any(found[node] for node in taken.sources))
        return found


def _added(there: Rounded, part: Rounded, rounding: float) -> Rounded:
    """Return the sum of what comes back to a node from two steps."""
    error = there.error + part.error + rounding * (there.size + part.size)
    return Rounded(there.rows + part.rows, error)


def analysis_of(network: AnyNetwork) -> Analysis | None:
    """Return the analysis; None where nothing is known of how φ or ψ is computed."""
    if isinstance(network, Network):
        steps = _steps_of_chain(network)
    else:
        assert isinstance(network, WiredNetwork)
        steps = _steps_of_wired(network)
    taken = []
    for sources, step in steps:
        if step is None:
            return None
        taken.append(_Taken(sources, step))
    return Analysis(taken)


def _steps_of_chain(network: Network) -> list[tuple[tuple[int, ...], StepErrors | None]]:
    steps: list[StepErrors | None] = []
    phi = ActivationErrors.of(network.activation, network.activation_scale, network.dtype)
    for layer in network.layers:
        steps += [MapErrors.of(layer), phi]
    steps.pop()
    if not network.has_linear_outputs:
        steps.append(ActivationErrors.of(network.output_activation, 1.0, network.dtype))
    return [((at,), step) for at, step in enumerate(steps)]


def _steps_of_wired(network: WiredNetwork) -> list[tuple[tuple[int, ...], StepErrors | None]]:
    found: list[tuple[tuple[int, ...], StepErrors | None]] = []
    dtype = network.dtype
    for step, own in network.parts:
        errors: StepErrors | None
        if isinstance(own, Layer):
            errors = MapErrors.of(own)
        elif own is not None:
            errors = GainErrors.of(own)
        elif isinstance(step, Activate):
            errors = ActivationErrors.of(step.layer.phi, step.layer.factor, dtype)
        elif isinstance(step, Add):
            errors = SumErrors(dtype, step.scale)
        else:
            assert isinstance(step, Normalize)
            errors = NormalizationErrors(dtype, step.layer.centered, step.layer.epsilon)
        found.append((step.sources, errors))
    return found


def _root_sum_of_squares(parts: list[Vector]) -> Vector:
    """Return √Σ_k p_k², whose squares may be below the smallest number where the root is not."""
    rows = np.array(parts)
    exponents = np.frexp(rows.max(axis=0))[1]
    roots: Vector = np.ldexp(np.sqrt(np.sum(np.ldexp(rows, -exponents) ** 2, axis=0)), exponents)
    return roots
