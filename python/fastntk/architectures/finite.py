# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks that were described by their layers, with weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.devices.places import place_of
from fastntk.kernels.methods import KernelMethods
from fastntk.kernels.ranges import require_outputs_in_range
from fastntk.kernels.rounding import network_error
from fastntk.layers.residual import checked_layers
from fastntk.layers.steps import GainShift, Linear
from fastntk.linearity.methods import JacobianMethods
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.wired import WiredNetwork, drawn

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk.layers.layer import Layer


class FiniteNetwork(KernelMethods, JacobianMethods):
    r"""A network of finite width with skip connections and normalization, and its weights.

    `fastntk.Network.sample` returns one. It has the kernels, angles, Jacobians, operators and the
    linear model of `fastntk.MLP`, and `fastntk.train` trains it. Its layers, of which
    `ntk_by_layer` has one kernel each, and for which `layer_weights` has an entry, are those with
    parameters: maps and gains with their shifts, in the order of computation, projections before
    the branch beside them.

    Parameters
    ----------
    layers : sequence of Layer
        As for `fastntk.Network`.
    inputs : int
        d, the number of inputs.
    seed : int
        The seed of the weights. Those of a map depend on the seed, the number of maps before it and
        its two widths alone; so a chain of layers has those of the `MLP` of the same seed.
    dtype : {"float64", "float32"}
        Precision of the weights, of the samples, which are rounded to it, and of the passes through
        the network.

    Notes
    -----
    A sample for which a normalization without ``epsilon`` meets nothing but 0 (for a `LayerNorm`,
    values that are all equal) is refused with a ValueError that names it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> from fastntk.layers import Dense, LayerNorm, ReLU, Residual
    >>> block = Residual([LayerNorm(), Dense(64), ReLU(), Dense(64)], scale=0.5)
    >>> net = fastntk.Network([Dense(64), block, Dense(1)], inputs=20).sample(seed=1)
    >>> X = np.random.default_rng(0).standard_normal((100, 20))
    >>> net(X).shape
    (100, 1)
    >>> F = net.gradient_features(X)
    >>> bool(np.allclose(net.ntk(X), F @ F.T))
    True
    """

    _network: WiredNetwork

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        inputs: int,
        seed: int = 0,
        dtype: npt.DTypeLike = "float64",
    ) -> None:
        given = checked_layers(layers)
        width = arguments.integer(inputs, "inputs", minimum=1)
        precision = arguments.float_dtype(dtype)
        super().__init__(drawn(given, width, arguments.seed(seed), precision))

    @classmethod
    def of_network(cls, network: WiredNetwork) -> FiniteNetwork:
        """Return the finite network of a `WiredNetwork`, whose arrays are not copied.

        This is how functions of fastntk make one.
        """
        if not isinstance(network, WiredNetwork):
            raise TypeError(
                f"network={shown(network)}: expected a WiredNetwork, as `network` of a "
                "FiniteNetwork is one"
            )
        result = cls.__new__(cls)
        KernelMethods.__init__(result, network)
        return result

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FiniteNetwork:
        """Return a network from a file that `save` wrote.

        Raises
        ------
        ValueError
            If the file is not one, was written by a newer version, or is damaged.
        MemoryError
            If the network does not fit in the memory that is available.
        """
        from fastntk.networks.wired_files import load_wired

        return cls.of_network(load_wired(path))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the network to an ``.npz`` file, completely or not at all.

        The layers, all parameters, a format version and a checksum; no pickle. Custom activations
        cannot be saved.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Whether any file that is there may be lost. Otherwise one that holds a network of the
            same layers is replaced, as an earlier state of this one.

        Raises
        ------
        FileExistsError
            If something else is there.
        """
        from fastntk.networks.wired_files import save_wired

        save_wired(self.network, path, overwrite=arguments.flag(overwrite, "overwrite"))

    def digest(self) -> str:
        """Return a SHA-256 digest of the function: layers, and parameters to the last bit.

        Custom activations have none.
        """
        from fastntk.networks.wired_files import wired_digest

        return wired_digest(self.network)

    def to_torch(self) -> Any:
        r"""Return the network as a PyTorch module, the inverse of `fastntk.from_torch`.

        Returns
        -------
        torch.nn.Sequential
            With the same outputs, in the precision of the network, on the processor and in
            evaluation mode: of ``Linear``, activations, ``LayerNorm`` and ``RMSNorm``; skip
            connections, gains and shifts without a normalization, and scales of activations that no
            ``Linear`` follows are modules of this package, which `fastntk.from_torch` reads. Its
            parameters are copies.

        Raises
        ------
        ValueError
            If there is no class in ``torch.nn`` for an activation, or if learning rates are neither
            0 nor 1.
        OverflowError
            If a weight times its scale is beyond the precision of the network.
        ModuleNotFoundError
            If PyTorch is not installed.

        Notes
        -----
        As `fastntk.MLP.to_torch` does, a ``Linear`` takes the factors σ_w/√n and σ_b of its layer,
        and the scale of an activation right before it, into its weight and bias. So the kernel of
        the module is another one where these are not 1; ``fastntk.from_torch(net.to_torch())`` has
        the kernel of the module. Parameters that are not trained are frozen in it.
        """
        from fastntk.networks.torch_sequential import sequential_of_layers

        return sequential_of_layers(self.network)

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        return (
            f"FiniteNetwork([{layers}], inputs={self.inputs}, dtype={self.dtype.name!r}, "
            f"n_parameters={self.n_parameters})"
        )

    def _repr_html_(self) -> str:
        """Return what notebooks show: each map, and each gain and shift, with its parameters."""
        from fastntk._support.display import rows_html

        steps = [step for step in self.network.steps.steps if isinstance(step, (Linear, GainShift))]
        rows = [(step.path, repr(step.layer), step.n_parameters) for step in steps]
        title = f"FiniteNetwork: {self.inputs} inputs, {self.n_parameters} parameters, {self.dtype}"
        return rows_html(title, ("", "layer", "parameters"), rows)

    @property
    def network(self) -> WiredNetwork:
        """The layers with their parameters, as the functions of fastntk hand them on."""
        return self._network

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The description of the layers."""
        return self._network.description

    @property
    def inputs(self) -> int:
        """d, the number of inputs."""
        return self._network.input_width

    @property
    def seed(self) -> int | None:
        """The seed that the weights were drawn with, before all training.

        None where they came from elsewhere: from PyTorch, or from a file of an earlier version.
        """
        return self._network.seed

    @property
    def parameters(self) -> tuple[FloatArray, ...]:
        """The arrays of all parameters, in the order of gradients.

        Of each map W (n_out, n_in) and b, without their factors; of a gain and shift γ and β.
        """
        return tuple(array for layer in self._network.layers for array, _ in layer.arrays)

    @property
    def feature_error(self) -> float:
        """About the relative rounding error of passes in the network's own precision.

        A rule, which nothing proves: m √L ε, where L counts the layers with parameters, as for
        `MLP`. m is 1 without skip connections and normalizations; 2 where each block begins with a
        normalization (at most 1.1 was measured, with up to 60 blocks); otherwise 256, as deep
        networks whose signals grow, or are normalized after the block, lose more (up to 146 and
        46). It does not know of normalizations of what is nearly constant.
        """
        return network_error(self._network, self.dtype)

    def astype(self, dtype: npt.DTypeLike) -> FiniteNetwork:
        """Return the network with its weights rounded to, or continued in, another precision.

        In the precision that it has already, it shares its weights with the network returned.
        """
        return FiniteNetwork.of_network(self._network.with_dtype(arguments.float_dtype(dtype)))

    def __call__(self, X: npt.ArrayLike, *, device: str | None = None) -> FloatArray:
        """Return the outputs f(X).

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        device : str, optional
            Where to compute, as in `ntk`.

        Returns
        -------
        ndarray (n, C)
        """
        place = place_of(device, {"X": X})
        placed = PlacedNetwork(self._network, place)
        samples = self._network.samples(X, "X", place)
        outputs: FloatArray = placed.evaluate(samples)
        require_outputs_in_range(placed, samples, outputs)
        return outputs
