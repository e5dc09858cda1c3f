# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of networks of many depths in one pass.

Networks of different depth share the weights of their common hidden layers, each with a readout of
its own. The Gram matrices of the activations are then the same for all of them and computed once.
Every network by itself is distributed as it should be, and a comparison of depths on shared weights
has less variance than one on independent weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk.devices.places import place_of
from fastntk.kernels.destinations import new_kernels
from fastntk.kernels.request import KernelRequest
from fastntk.networks.initialization import Initialization, activation_and_scale
from fastntk.networks.network import Network, Readout

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.activations import Activation


@dataclass(frozen=True)
class Family:
    """Networks that differ in depth only, one output each."""

    input_width: int
    width: int
    activation: Activation
    activation_scale: float
    initial: Initialization

    @classmethod
    def of(
        cls,
        input_width: int,
        width: Any,
        activation: str | Activation,
        activation_scale: float | None,
        initial: Initialization,
    ) -> Family:
        """Check what a user gave."""
        size = arguments.integer(width, "width", minimum=1)
        phi, scale = activation_and_scale(activation, activation_scale)
        return cls(input_width, size, phi, scale, initial)

    def network(self, depths: Sequence[int]) -> Network:
        """Return the hidden layers of the deepest network, with a readout for each depth.

        The layers are those of ``MLP([d] + [width] * depth + [1], seed=seed)``.
        """
        readouts = tuple(
            Readout(
                depth,
                self.initial.layer(depth + 1, self.width if depth else self.input_width, 1),
            )
            for depth in depths
        )
        hidden = self.initial.layers([self.input_width, *[self.width] * max(depths)])
        return Network(hidden, readouts, self.activation, self.activation_scale)

    def with_seed(self, seed: int) -> Family:
        """Return the networks with other weights."""
        return replace(self, initial=replace(self.initial, seed=seed))


def ntk_depths(
    X: npt.ArrayLike,
    depths: Sequence[int],
    *,
    width: int = 512,
    activation: str | Activation = "relu",
    activation_scale: float | None = None,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    parametrization: str = "ntk",
    seed: int = 0,
    shared: bool = True,
    network_dtype: npt.DTypeLike = "float64",
    dtype: npt.DTypeLike | None = None,
    device: str | None = None,
    progress: Progress = False,
) -> dict[int, FloatArray]:
    """Return the neural tangent kernels of networks of several depths that share their layers.

    Parameters
    ----------
    X : array_like (n, d)
        Samples, one a row.
    depths : sequence of int
        Numbers of hidden layers; 0 is the linear model, whose kernel is the Gram matrix X Xᵀ/d.
    width : int
        The width of every hidden layer.
    activation, activation_scale, weight_std, bias_std, parametrization
        As for `fastntk.MLP`.
    seed : int
        The kernel of depth L is that of ``MLP([d] + [width] * L + [1], seed=seed)``.
    shared : bool
        If False, the networks have independent weights: that of depth L has the seed
        ``fastntk.depth_sweep.independent_seed(seed, L)``, and each kernel costs as much as alone.
    network_dtype : {"float64", "float32"}
        Precision of the weights and, unless `dtype` is more, of the passes through the networks.
    dtype : {"float64", "float32"}, optional
        Precision of the Gram matrices and of the kernels; by default `network_dtype`.
    device : str, optional
        Where to compute, as in `fastntk.MLP.ntk`.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` about ten times a second.

    Returns
    -------
    dict of int to ndarray (n, n)
        The kernel of each depth, in the order of `depths`.

    Raises
    ------
    MemoryError
        If the kernels of all depths do not fit in the memory that is available.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.eye(3)
    >>> kernels = fastntk.ntk_depths(X, [0, 2], width=64)
    >>> bool(np.allclose(kernels[0], X @ X.T / 3))
    True
    >>> bool(np.allclose(kernels[2], fastntk.MLP([3, 64, 64, 1]).ntk(X)))
    True
    """
    precision = arguments.float_dtype(network_dtype, "network_dtype")
    place = place_of(device, {"X": X})
    samples = place.samples(X, "X", precision)
    levels = arguments.depths(depths)
    shared = arguments.flag(shared, "shared")
    initial = Initialization.checked(seed, weight_std, bias_std, parametrization, precision)
    kernel_dtype = precision if dtype is None else arguments.float_dtype(dtype)
    family = Family.of(samples.shape[1], width, activation, activation_scale, initial)

    def kernels(family: Family, depths: Sequence[int]) -> list[FloatArray]:
        request = KernelRequest.precise(
            family.network(depths),
            place,
            samples,
            outputs=range(1),
            split="none",
            dtype=kernel_dtype,
        )
        computed: list[FloatArray] = new_kernels(request, progress)
        return computed

    if shared:
        return dict(zip(levels, kernels(family, levels), strict=True))
    return {
        level: kernels(family.with_seed(independent_seed(initial.seed, level)), [level])[0]
        for level in levels
    }


def independent_seed(seed: int, depth: int) -> int:
    """Return the seed of the network of a depth whose weights no other depth shares."""
    entropy = arguments.seed(seed)
    level = arguments.depth(depth)
    words = np.random.SeedSequence(entropy, spawn_key=(level,)).generate_state(2, np.uint64)
    return int(words[0]) << 64 | int(words[1])
