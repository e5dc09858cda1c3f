# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What everything that is asked of a finite network shares: its layers, checks of arguments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastntk._support import arguments
from fastntk.devices import matrices, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.networks.network import Network


class NetworkBase:
    """A finite network; what can be asked of it are methods of derived classes, one topic each."""

    _network: Network

    @property
    def dtype(self) -> FloatDType:
        """Precision of the weights and of the passes through the network."""
        return self._network.dtype

    @property
    def n_outputs(self) -> int:
        """C, the number of outputs."""
        return self._network.n_outputs

    @property
    def n_parameters(self) -> int:
        """P, the number of weights and biases."""
        return self._network.n_parameters

    def _samples(self, X: npt.ArrayLike, name: str) -> FloatArray:
        return matrices.samples(X, name, self.dtype, columns=self._network.input_width)

    def _placed(self, device: str | None, **arrays: Any) -> places.Place:
        """Return where to compute: on the device, or where the arrays are (None: not given)."""
        return places.place_of(device, arrays)

    def _samples_at(self, place: places.Place, X: Any, name: str) -> Any:
        """Return samples as the core takes them there."""
        return place.samples(X, name, self.dtype, columns=self._network.input_width)

    def _precision(self, dtype: npt.DTypeLike | None) -> FloatDType:
        return self.dtype if dtype is None else arguments.float_dtype(dtype)

    def _outputs(self, outputs: Any, names: Sequence[str] = ("trace",)) -> range:
        """Return which outputs `outputs` means: all of them for a name, or the one of an index."""
        count = self.n_outputs
        if isinstance(outputs, str) and outputs in names:
            return range(count)
        expected = f"expected {', '.join(map(repr, names))} or an output from 0 to {count - 1}"
        try:
            index = arguments.integer(outputs, "outputs", minimum=0)
        except TypeError:
            raise TypeError(f"outputs={outputs!r}: {expected}") from None
        if index >= count:
            raise ValueError(f"outputs={outputs!r}: {expected}")
        return range(index, index + 1)

    def _weighted(self, layer_weights: npt.ArrayLike | None) -> Network:
        """Return the network with the given ω of its layers."""
        if layer_weights is None:
            return self._network
        layers = self._network.layers
        rates = arguments.layer_weights(layer_weights, len(layers))
        return self._network.with_layers(
            [
                replace(
                    layer,
                    kernel_weights=(
                        weights * layer.kernel_weights[0],
                        bias * layer.kernel_weights[1],
                    ),
                )
                for layer, (weights, bias) in zip(layers, rates.tolist(), strict=True)
            ]
        )
