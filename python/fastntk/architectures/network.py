# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The description of a network by its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.display import items_html
from fastntk.devices.places import place_of
from fastntk.layers.activation import Activation
from fastntk.layers.blocks import block_places, checked_block, checked_blocks, with_blocks
from fastntk.layers.dense import Dense
from fastntk.layers.layer import Layer
from fastntk.layers.residual import checked_layers
from fastntk.layers.steps import Linear, Steps, steps_of
from fastntk.networks.wired import drawn

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk import infinite
    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.architectures.finite import FiniteNetwork


@dataclass(frozen=True, repr=False)
class Network:
    """A network described by its layers: no weights, but what they will be.

    Descriptions do not change; those with the same layers compare equal, and what is printed of
    them makes an equal one again, with the names of `fastntk.layers`.

    Parameters
    ----------
    layers : sequence of Layer
        In order, see `fastntk.layers`; the last one is a `Dense`, the layer of the outputs.
    inputs : int
        d, the number of inputs.

    See Also
    --------
    fastntk.MLP : Fully connected networks without skip connections and normalizations.

    Examples
    --------
    >>> import fastntk
    >>> from fastntk.layers import Dense, LayerNorm, ReLU, Residual
    >>> block = Residual([LayerNorm(), Dense(64), ReLU(), Dense(64)], scale=0.5)
    >>> net = fastntk.Network([Dense(64), block, block, Dense(10)], inputs=20)
    >>> net.widths
    (20, 64, 64, 64, 64, 64, 10)
    >>> net.n_parameters
    18304
    """

    layers: Sequence[Layer]
    _: KW_ONLY
    inputs: int

    def __post_init__(self) -> None:
        """Check that the layers fit together."""
        object.__setattr__(self, "layers", checked_layers(self.layers))
        object.__setattr__(self, "inputs", arguments.integer(self.inputs, "inputs", minimum=1))
        _ = self.steps

    @cached_property
    def steps(self) -> Steps:
        """What the layers compute, step by step, as the functions of fastntk take it."""
        return steps_of(self.layers, self.inputs)

    @property
    def linear_maps(self) -> tuple[Linear, ...]:
        """The maps with weights, in the order of computation, those of projections included."""
        return self.steps.linear_maps

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of inputs, and the widths of all `linear_maps`."""
        return (self.inputs, *(step.outputs for step in self.linear_maps))

    @property
    def n_outputs(self) -> int:
        """C, the number of outputs."""
        return self.steps.widths[-1]

    @property
    def n_parameters(self) -> int:
        """P, the number of weights, biases, gains and shifts."""
        return self.steps.n_parameters

    def infinite(
        self,
        *,
        blocks: int | Sequence[int] | None = None,
        bottlenecks: str = "refuse",
        tolerance: float = 1e-10,
    ) -> infinite.Network | infinite.LayeredNetwork:
        """Return the limit of infinite width.

        Parameters
        ----------
        blocks : int or sequence of int, optional
            How many of the blocks there are, the entries of `layers` that are a ``Residual``;
            kernels of several depths take one pass. By default all.
        bottlenecks : {"refuse", "grow"}
            What becomes of a layer that is narrower than those around it.
        tolerance : float
            Relative error allowed to the dual of an activation without a closed form.

        Returns
        -------
        infinite.Network or infinite.LayeredNetwork
            With the same methods. The former for layers that are weights and activations by turns,
            if all of these have a tangent kernel; its kernels may differ in the last bits from
            those that the latter has of such layers, for ``blocks=0``.

        Raises
        ------
        ValueError
            If there is no such limit, or none in closed form, with the layer and the reason.

        Examples
        --------
        >>> import fastntk
        >>> from fastntk.layers import Dense, ReLU
        >>> fastntk.Network([Dense(64), ReLU(), Dense(1, weight_std=1.5)], inputs=20).infinite()
        Network(depth=1, activation='relu', weight_std=(1.0, 1.5), bias_std=0.0)
        """
        # With Numba, which takes a while to import.
        from fastntk import infinite

        described = infinite.LayeredNetwork(
            self.layers,
            inputs=self.inputs,
            blocks=blocks,
            bottlenecks=bottlenecks,
            tolerance=tolerance,
        )
        maps = [layer for layer in self.layers[::2] if isinstance(layer, Dense)]
        phis = [layer for layer in self.layers[1::2] if isinstance(layer, Activation)]
        rates = [layer.rates for layer in maps]
        by_turns = len(maps) + len(phis) == len(self.layers)
        if not by_turns or not np.any(rates):  # without what is trained, the tangent kernel is 0
            return described
        if any(dual.no_derivative is not None for dual in described.duals.values()):
            return described  # whose errors name the layer that has no tangent kernel
        return infinite.Network(
            len(phis),
            [layer.phi for layer in phis] or "identity",
            [layer.weight_std for layer in maps],
            [layer.bias_std for layer in maps],
            activation_scale=[layer.scale for layer in phis] or None,
            layer_weights=None if np.equal(rates, 1).all() else rates,
            tolerance=tolerance,
        )

    def sample(self, seed: int = 0, dtype: npt.DTypeLike = "float64") -> FiniteNetwork:
        """Return a network of finite width with these layers, at its random initialization.

        Parameters
        ----------
        seed : int
            The seed of the weights; gains are 1 and shifts 0.
        dtype : {"float64", "float32"}
            Precision of the weights, of the samples, which are rounded to it, and of the passes
            through the network.

        Returns
        -------
        FiniteNetwork

        Examples
        --------
        >>> import fastntk
        >>> from fastntk.layers import Dense, RMSNorm
        >>> net = fastntk.Network([RMSNorm(), Dense(1)], inputs=2).sample(seed=1)
        >>> X = [[3.0, 4.0], [0.0, 1.0]]
        >>> bool(abs(net.ntk(X)[0, 0] - 1.0) < 1e-12)
        True
        """
        from fastntk.architectures.finite import FiniteNetwork

        return FiniteNetwork(self.layers, inputs=self.inputs, seed=seed, dtype=dtype)

    def at_blocks(self, blocks: int) -> Network:
        """Return the network that has the first of the blocks, and what stands after the last one.

        Parameters
        ----------
        blocks : int
            At most the number of blocks that there are: the entries of `layers` that are a
            `Residual`.

        Examples
        --------
        >>> import fastntk
        >>> from fastntk.layers import Dense, ReLU, Residual
        >>> block = Residual([Dense(8), ReLU(), Dense(8)])
        >>> net = fastntk.Network([Dense(8), *[block] * 3, Dense(1)], inputs=2)
        >>> net.at_blocks(1).widths
        (2, 8, 8, 8, 1)
        """
        level = checked_block(blocks, "blocks", self._n_blocks("blocks", blocks))
        return Network(with_blocks(self.layers, level), inputs=self.inputs)

    def ntk_at_blocks(
        self,
        X: npt.ArrayLike,
        blocks: Sequence[int],
        *,
        seed: int = 0,
        network_dtype: npt.DTypeLike = "float64",
        dtype: npt.DTypeLike | None = None,
        device: str | None = None,
        progress: Progress = False,
    ) -> dict[int, FloatArray]:
        """Return the neural tangent kernels after several numbers of blocks, from one pass.

        The networks share the weights of their common layers; what stands after the last block
        has weights of its own for each number of blocks.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        blocks : sequence of int
            Numbers of blocks, the entries of `layers` that are a `Residual`.
        seed : int
            The kernel after k blocks is that of ``at_blocks(k).sample(seed)``.
        network_dtype, dtype, device, progress
            As in `fastntk.ntk_depths`.

        Returns
        -------
        dict of int to ndarray (n, n)
            The kernel after each number of blocks, in their order, summed over the outputs.

        Raises
        ------
        MemoryError
            If the features and kernels of all networks do not fit in the memory that is available.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> from fastntk.layers import Dense, ReLU, Residual
        >>> block = Residual([Dense(8), ReLU(), Dense(8)])
        >>> net = fastntk.Network([Dense(8), *[block] * 3, Dense(1)], inputs=2)
        >>> kernels = net.ntk_at_blocks(np.eye(2), [1, 3])
        >>> bool((kernels[1] == net.at_blocks(1).sample().ntk(np.eye(2))).all())
        True
        """
        from fastntk.kernels.block_sweep import ntk_blocks

        levels = checked_blocks(blocks, self._n_blocks("blocks", blocks))
        precision = arguments.float_dtype(network_dtype, "network_dtype")
        kernel_dtype = precision if dtype is None else arguments.float_dtype(dtype)
        place = place_of(device, {"X": X})
        samples = place.samples(X, "X", precision, columns=self.inputs)
        entropy = arguments.seed(seed)
        several = tuple(sorted(levels))
        network = drawn(tuple(self.layers), self.inputs, entropy, precision, several)
        kernels = ntk_blocks(network, place, samples, kernel_dtype, progress)
        return {level: kernels[level] for level in levels}

    def _n_blocks(self, name: str, value: object) -> int:
        """Return how many blocks there are; ValueError if there are none."""
        found = len(block_places(self.layers))
        if found == 0:
            raise ValueError(
                f"{name}={arguments.shown(value)}: the network has no blocks: expected layers with "
                "a Residual"
            )
        return found

    def __repr__(self) -> str:
        """Return the call that makes this network."""
        return f"{type(self).__name__}([{', '.join(map(repr, self.layers))}], inputs={self.inputs})"

    def _repr_html_(self) -> str:
        title = f"Network: {self.inputs} inputs, {self.n_parameters} parameters"
        return items_html(title, "layers", self.layers)
