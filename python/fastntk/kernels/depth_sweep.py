# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of networks of many depths in one pass.

Networks of different depth share the weights of their common hidden layers, each with a readout of
its own. The Gram matrices of the activations are then the same for all of them and computed once.
Every network by itself is distributed as it should be, and a comparison of depths on shared weights
has less variance than one on independent weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastntk import activations
from fastntk._support import arguments
from fastntk.devices import places
from fastntk.kernels.calls import kernels_of
from fastntk.networks import initialization
from fastntk.networks.network import Network, Readout

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.activations import Activation


def sweep_network(
    input_width: int,
    depths: Sequence[int],
    *,
    width: int,
    activation: Activation,
    initial: initialization.Initialization,
) -> Network:
    """Return the hidden layers of the deepest network, with a readout for each depth.

    The layers are those of ``MLP([d] + [width] * depth + [1], seed=seed)``.
    """
    readouts = tuple(
        Readout(depth, initial.layer(depth + 1, width if depth else input_width, 1))
        for depth in depths
    )
    hidden = initial.layers([input_width, *[width] * max(depths)])
    return Network(hidden, readouts, activation, activation.scale)


def ntk_depths(
    X: npt.ArrayLike,
    depths: Sequence[int],
    *,
    width: int = 512,
    activation: str | Activation = "relu",
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
        Of every hidden layer.
    activation, weight_std, bias_std, parametrization
        As for `fastntk.MLP`.
    seed : int
        The kernel of depth L is that of ``MLP([d] + [width] * L + [1], seed=seed)``.
    shared : bool
        If False, the networks have independent weights: that of depth L has the seed
        ``depth_sweep.independent_seed(seed, L)``, and each kernel costs as much as it does alone.
    network_dtype : {"float64", "float32"}
        Precision of the weights and of the passes through the networks.
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
    place = places.place_of(device, {"X": X})
    samples = place.samples(X, "X", precision)
    levels = arguments.integers(depths, "depths", minimum=0)
    size = arguments.integer(width, "width", minimum=1)
    phi = activations.get(activation)
    initial = initialization.Initialization.checked(
        seed, weight_std, bias_std, parametrization, precision
    )
    kernel_dtype = precision if dtype is None else arguments.float_dtype(dtype)

    def of(depths: Sequence[int], initial: initialization.Initialization) -> Sequence[FloatArray]:
        network = sweep_network(
            samples.shape[1], depths, width=size, activation=phi, initial=initial
        )
        kernels: list[FloatArray] = kernels_of(
            network,
            samples,
            None,
            outputs=range(1),
            dtype=kernel_dtype,
            progress=progress,
            count=len(depths),
            place=place,
        )
        return kernels

    if shared:
        return dict(zip(levels, of(levels, initial), strict=True))
    return {
        level: of([level], replace(initial, seed=independent_seed(initial.seed, level)))[0]
        for level in levels
    }


def independent_seed(seed: int, depth: int) -> int:
    """Return the seed of the network of a depth whose weights no other depth shares."""
    words = np.random.SeedSequence(seed, spawn_key=(depth,)).generate_state(2, np.uint64)
    return int(words[0]) << 64 | int(words[1])


def pass_bytes(depths: Sequence[int], *, samples: int, input_width: int, width: int) -> int:
    """Return the bytes of the float64 features and kernels of a pass over `depths`."""
    activations_and_deltas = max(depths) + sum(depths)
    columns = input_width + width * activations_and_deltas + samples * len(depths)
    return samples * columns * np.float64().itemsize


def depth_groups(
    depths: Sequence[int], *, samples: int, input_width: int, width: int, memory: int | None
) -> list[tuple[int, ...]]:
    """Cut `depths` into runs whose passes take at most `memory` bytes.

    A run has at least one depth; that this one fits is checked when its kernel is asked for.
    """
    groups: list[tuple[int, ...]] = []
    for depth in depths:
        extended = (*groups[-1], depth) if groups else (depth,)
        needed = pass_bytes(extended, samples=samples, input_width=input_width, width=width)
        if groups and (memory is None or needed <= memory):
            groups[-1] = extended
        else:
            groups.append((depth,))
    return groups
