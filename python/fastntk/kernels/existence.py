# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether kernels are 0 in exact arithmetic, or have vanished below the smallest numbers.

Without biases, the vectors of the passes may be multiplied with any positive number for each sample
and layer: which of their elements are 0 stays the same, as activations of the core are either
positive multiples of powers on both sides of 0, to which the size of their argument makes no
difference, or are not 0 around it. So nothing has to be small. With biases the sizes count, and the
passes are those of samples of size 1, in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import SMALLEST_NORMAL
from fastntk.activations.outputs import SQUARE, Softmax, is_nowhere_flat
from fastntk.kernels.affine_maps import applied
from fastntk.networks.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.kernels.wired_passes import WiredQuestions
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.network import Readout

    Rows = NDArray[Any]

# So many samples of each side tell whether a kernel is 0.
_SAMPLES = 64

# What rounding leaves of a sum that is 0, relative to its terms of size 1.
NEGLIGIBLE = 1e-12


def wired_passes(network: AnyNetwork) -> WiredQuestions:
    """Return what can be asked of a network that is no chain."""
    # Few programs have such networks.
    from fastntk.kernels.wired_passes import WiredQuestions

    return WiredQuestions.of(network)


def kernels_exist(network: AnyNetwork, outputs: range, *sides: FloatArray) -> list[bool]:
    """Return, for each readout, whether its kernel has an element that is not 0.

    Parameters
    ----------
    network : AnyNetwork
        With the ω of its layers. Of activations that the core does not have nothing is known: it is
        taken for right that there are none. Nor is it of other ψ of the outputs than those below.
    outputs : range
        The outputs over which kernels are summed.
    *sides : ndarray (n, d)
        The samples X, or X and Z, on the host.
    """
    if not isinstance(network, Network):
        return wired_passes(network).kernels_exist(outputs, [_some_of_size_1(X) for X in sides])
    if not _is_known(network):
        return [False] * len(network.readouts)
    if isinstance(network.output_activation, Softmax):
        outputs = range(network.n_outputs)
    passes = [_Passes(network, _some_of_size_1(X)) for X in sides]
    return [
        any(
            _differs_from_0([side.gradients(readout, output) for side in passes], readout, network)
            for output in outputs
        )
        for readout in network.readouts
    ]


def have_terms(
    network: AnyNetwork, outputs: Sequence[int], X: FloatArray, where: NDArray[np.bool_]
) -> bool:
    """Return whether a gradient has, in exact arithmetic, an entry that is not 0 at `where` (P,).

    `outputs` and X as for `_gradient_parts`.
    """
    if not isinstance(network, Network):
        return wired_passes(network).gradient_has_terms(outputs, _not_tiny(_some(X)), where)
    ends = np.cumsum([layer.n_parameters for layer in network.layers])
    wanted = np.split(where.astype(np.float64), ends[:-1])
    for parts in _gradient_parts(network, outputs, X):
        for layer, vector, (delta, h) in zip(network.layers, wanted, parts, strict=True):
            of_weights, of_bias = np.split(vector, [layer.weights.size])
            active, below = (np.abs(rows) > NEGLIGIBLE for rows in (delta, h))
            reached = active @ of_weights.reshape(layer.weights.shape) > 0
            if (reached & below).any() or (of_bias.size > 0 and (active @ of_bias > 0).any()):
                return True
    return False


def _gradient_parts(
    network: Network, outputs: Sequence[int], X: FloatArray
) -> Iterator[list[tuple[Rows, Rows]]]:
    """Yield, for some outputs, Δ and h of each layer, in rows that were brought to size 1.

    Of what `kernels_exist` knows nothing of, there is nothing; of a softmax, there are the parts of
    all outputs.

    Parameters
    ----------
    network : Network
        Of one readout.
    outputs : sequence of int
    X : ndarray (n, d)
        Samples on the host. With biases they count as large as they are.
    """
    if not _is_known(network):
        return
    if isinstance(network.output_activation, Softmax):
        outputs = range(network.n_outputs)
    (readout,) = network.readouts
    passes = _Passes(network, _some(X))
    for output in outputs:
        yield passes.gradients(readout, output)


def outputs_vanished(network: AnyNetwork, X: FloatArray, outputs: Any) -> bool:
    """Return whether outputs (n, C), all of them small, are not all 0; some samples are looked at.

    Where f = ψ(g) it is g that may vanish: what ψ makes of large g, as sigmoid far below 0, is
    0 to all digits beside its other values.
    """
    if not isinstance(network, Network):
        return bool(outputs.any()) or wired_passes(network).outputs_exist(_some_of_size_1(X))
    if not _is_known(network):
        return False
    powers = network.has_linear_outputs or network.output_activation == SQUARE
    if powers and bool(outputs.any()):
        return True
    readout = network.readouts[0]
    if not _passes_as_large_as_samples(network, X).outputs(readout).any():
        return False
    if powers:
        return True
    found = _Passes(network, _some(X), _unchanged).outputs(readout)
    return bool(np.abs(found).max() < SMALLEST_NORMAL[outputs.dtype])


def input_gradients_exist(network: AnyNetwork, X: FloatArray) -> bool:
    """Return whether an output depends on the inputs at one of the samples, of which some are seen.

    As far as activations and slopes, in float64 and with samples as large as they are, tell it: of
    a function that has become constant, as tanh far from 0, the slope is 0.
    """
    if not isinstance(network, Network):
        return wired_passes(network).input_gradients_exist(_not_tiny(_some(X)))
    if not _is_known(network):
        return False
    passes = _passes_as_large_as_samples(network, X)
    (readout,) = network.readouts
    weights = network.layers[0].weights.astype(np.float64)
    weights = _of_size_1(weights.reshape(1, -1)).reshape(weights.shape)
    for output in range(network.n_outputs):
        delta, _ = passes.gradients(readout, output)[0]
        terms = np.abs(delta) @ np.abs(weights)
        if (np.abs(delta @ weights) > NEGLIGIBLE * terms).any():
            return True
    return False


def _is_known(network: Network) -> bool:
    psi = network.output_activation
    # The kernel of ψ(g) vanishes only where that of g does, but for cancellations of outputs.
    return network.activation.in_core and (is_nowhere_flat(psi) or psi == SQUARE)


def _passes_as_large_as_samples(network: Network, X: FloatArray) -> _Passes:
    """Return passes of some samples in which functions are as flat as they are for these."""
    free_of_scale = network.activation.power is not None
    return _Passes(network, _some(X), _of_size_1 if free_of_scale else _not_tiny)


def _is_biased(network: Network) -> bool:
    return any(layer.bias is not None for layer in network.all_layers)


def _some(X: FloatArray) -> Rows:
    return X[np.flatnonzero(np.abs(X).max(axis=1))[:_SAMPLES]].astype(np.float64)


def _some_of_size_1(X: FloatArray) -> Rows:
    return _of_size_1(_some(X))


def _of_size_1(rows: Rows) -> Rows:
    """Return rows times the powers of two that bring their largest elements to about 1."""
    exponents = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1]
    result: Rows = np.ldexp(rows, -exponents[:, np.newaxis])
    return result


def _not_tiny(rows: Rows) -> Rows:
    """Return rows times powers of two that leave none of them below 2⁻³⁰⁰, but those of 0.

    Smooth functions that are 0 at 0 are linear there, to all digits.
    """
    exponents = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1]
    result: Rows = np.ldexp(rows, np.maximum(0, -300 - exponents)[:, np.newaxis])
    return result


def _unchanged(rows: Rows) -> Rows:
    return rows


def _differs_from_0(
    sides: list[list[tuple[Rows, Rows]]], readout: Readout, network: Network
) -> bool:
    """Return whether a kernel of one output is not 0, from Δ and h of the layers of both sides."""
    layers = (*network.hidden[: readout.depth], readout.layer)
    first, last = sides[0], sides[-1]
    for layer, (delta, h), (other_delta, other_h) in zip(layers, first, last, strict=True):
        of_weights, of_bias = layer.kernel_weights
        inputs = np.full((len(h), len(other_h)), layer.bias is not None and of_bias > 0)
        if of_weights > 0:
            inputs |= np.abs(h @ other_h.T) > NEGLIGIBLE
        if (inputs & (np.abs(delta @ other_delta.T) > NEGLIGIBLE)).any():
            return True
    return False


class _Passes:
    """The passes of some samples through a network, with activations that may be brought to size 1.

    Backward signals always may: they are linear in each other.

    Parameters
    ----------
    network : Network
    X : ndarray (n, d)
    sized : callable
        What becomes of activations on the way, if there are no biases.
    """

    def __init__(
        self, network: Network, X: Rows, sized: Callable[[Rows], Rows] = _of_size_1
    ) -> None:
        self._network = network
        self._sized = _unchanged if _is_biased(network) else sized
        self._activations: list[Rows] = [self._sized(X)]
        self._slopes: list[Rows] = []
        phi, c = network.activation, network.activation_scale
        assert phi.function is not None
        assert phi.derivative is not None
        with np.errstate(all="ignore"):
            for layer in network.hidden:
                z = self._sized(applied(layer, self._activations[-1]))
                self._activations.append(self._sized(c * phi.function(z)))
                self._slopes.append(c * phi.derivative(z))

    def outputs(self, readout: Readout) -> Rows:
        """Return g, of which f is ψ(g)."""
        with np.errstate(all="ignore"):
            found: Rows = self._sized(applied(readout.layer, self._activations[readout.depth]))
        return found

    def gradients(self, readout: Readout, output: int) -> list[tuple[Rows, Rows]]:
        """Return Δ and h of each layer, from the first to the readout, in rows of size 1."""
        layers = (*self._network.hidden[: readout.depth], readout.layer)
        delta = np.zeros((len(self._activations[0]), len(readout.layer.weights)))
        # The square of an output g has no gradient where g is 0.
        delta[:, output] = 1.0
        if self._network.output_activation == SQUARE:
            delta[:, output] = self.outputs(readout)[:, output]
        found: list[tuple[Rows, Rows]] = []
        with np.errstate(all="ignore"):
            for at in range(readout.depth, -1, -1):
                found.append((_of_size_1(delta), _of_size_1(self._activations[at])))
                if at > 0:
                    signal = _of_size_1(layers[at].weight_scale * (delta @ layers[at].weights))
                    delta = _of_size_1(self._slopes[at - 1] * signal)
        return found[::-1]
