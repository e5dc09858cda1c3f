# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fully connected networks of finite width."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.activations.outputs import output_activation as checked_output_activation
from fastntk.activations.outputs import shown_output
from fastntk.devices import matrices
from fastntk.devices.places import place_of
from fastntk.kernels.methods import KernelMethods
from fastntk.kernels.ranges import require_outputs_in_range
from fastntk.kernels.rounding import feature_error
from fastntk.linearity.methods import JacobianMethods
from fastntk.networks import initialization
from fastntk.networks.base import NetworkBase
from fastntk.networks.network import Drawn, Layer, Network
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations import Activation
    from fastntk.activations.outputs import OutputActivation

# So many layers of one width are written as their number.
_MANY = 8

# What few programs call is imported by the methods that do: PyTorch's modules, files.


class MLP(KernelMethods, JacobianMethods, NetworkBase):
    r"""A fully connected network, by default at its random initialization.

    Every activation is multiplied by c_φ (`activation_scale`), by default such that σ_w = 1 keeps
    its size from layer to layer. The σ_w of the literature on the edge of chaos, and that of
    neural-tangents, belongs to networks with ``activation_scale=1``: after the first layer it is
    σ_w c_φ here, where c_φ is √2 for ReLU and 1.5925 for tanh.

    With :math:`h^0 = x`, for :math:`l = 1 … L`,

    .. math::

        z^l = \frac{σ_w}{\sqrt{n_{l-1}}} W^l h^{l-1} + σ_b b^l, \quad h^l = c_φ φ(z^l), \quad
        f = \frac{σ_w}{\sqrt{n_L}} W^{L+1} h^L + σ_b b^{L+1},

    and all entries of W and b independent standard normal numbers: the NTK parametrization [1]_.

    Parameters
    ----------
    widths : sequence of int
        [d, n_1, …, n_L, C]: the input dimension, the widths of the L ≥ 0 hidden layers and the
        number of outputs.
    activation : str or Activation
        φ, see `fastntk.activations`. With "identity" the network is the *linear network*, the
        baseline of every study.
    output_activation : str or Activation
        ψ: the outputs are ψ(f), with f as above and without c_φ. "identity", "square", "tanh",
        "sigmoid", "softmax", "softplus", or any Activation with a second derivative, such as one of
        `fastntk.activations.custom` with `derivative` and `curvature`. A softmax makes each output
        one of all, of at least two. Kernels and derivatives are those of ψ(f); those of a softmax
        take about C² operations more for each sample. At infinite width outputs are linear.
    weight_std, bias_std : float
        σ_w > 0 and σ_b ≥ 0. With σ_b = 0 there are no biases.
    parametrization : {"ntk", "standard"}
        "standard": the factors σ_w/√n and σ_b belong to the weights and biases, as in most
        software. The function is the same at initialization; the gradients, and with them the
        kernel, weigh the layers differently.
    activation_scale : float, optional
        c_φ. By default E[φ(u)²]^{-1/2} for a standard normal u, which keeps the size of the
        activations from layer to layer: √2 for ReLU, 1 for the identity.
    init_scale : float or sequence of float
        By how much more than usual the initial weights vary, for all layers or each of the L + 1.
    seed : int
        The seed of the weights. Those of a layer depend on the seed, the layer and its two widths
        alone.
    dtype : {"float64", "float32"}
        Precision of the weights, of the samples, which are rounded to it, and of the passes through
        the network.

    References
    ----------
    .. [1] A. Jacot, F. Gabriel, C. Hongler, "Neural tangent kernel: convergence and generalization
       in neural networks", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((100, 20))
    >>> net = fastntk.MLP([20, 256, 256, 1], seed=1)
    >>> net  # doctest: +NORMALIZE_WHITESPACE
    MLP(widths=(20, 256, 256, 1), activation='relu', activation_scale=1.41421, weight_std=1,
        bias_std=0, parametrization='ntk', dtype='float64', n_parameters=70912)
    >>> net(X).shape
    (100, 1)
    >>> K = net.ntk(X)
    >>> F = net.gradient_features(X)
    >>> bool(np.allclose(K, F @ F.T))
    True
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: str | Activation = "relu",
        output_activation: str | OutputActivation = "identity",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        parametrization: str = "ntk",
        activation_scale: float | None = None,
        init_scale: float | Sequence[float] = 1.0,
        seed: int = 0,
        dtype: npt.DTypeLike = "float64",
    ) -> None:
        sizes = arguments.integers(widths, "widths", minimum=1, in_order=True)
        if len(sizes) < 2:
            raise ValueError(
                f"widths={shown(widths)}: expected at least the input dimension and the outputs"
            )
        phi, scale = initialization.activation_and_scale(activation, activation_scale)
        psi = checked_output_activation(output_activation, sizes[-1])
        initial = initialization.Initialization.checked(
            seed, weight_std, bias_std, parametrization, arguments.float_dtype(dtype)
        )
        init_scales = _init_scales(init_scale, len(sizes) - 1)
        layers = initial.layers(sizes, init_scales)
        drawn = Drawn(initial.seed, tuple(init_scales))
        super().__init__(Network.of_layers(layers, phi, scale, psi, drawn))

    @classmethod
    def of_network(cls, network: Network) -> MLP:
        """Return the MLP of a `Network` of a single readout, whose arrays are not copied.

        This is how functions of fastntk make an MLP; `from_weights` is for everyone else.
        """
        if not isinstance(network, Network):
            raise TypeError(
                f"network={shown(network)}: expected a Network, as `network` of an MLP is one"
            )
        result = cls.__new__(cls)
        NetworkBase.__init__(result, network)
        return result

    @classmethod
    def from_weights(
        cls,
        weights: Sequence[npt.ArrayLike],
        biases: Sequence[npt.ArrayLike | None] | None = None,
        *,
        activation: str | Activation = "relu",
        output_activation: str | OutputActivation = "identity",
        weight_std: float = 1.0,
        bias_std: float | None = None,
        parametrization: str = "ntk",
        activation_scale: float | None = None,
        dtype: npt.DTypeLike | None = None,
    ) -> MLP:
        """Return a network with the given weights, trained or not.

        Parameters
        ----------
        weights : sequence of array_like (n_out, n_in)
            W^1, …, W^{L+1}; raw, that is without the factor σ_w/√n_in in the NTK parametrization.
        biases : sequence of array_like (n_out,) or None, optional
            b^1, …, b^{L+1}, without the factor σ_b; None for a layer without.
        activation, output_activation, weight_std, parametrization, activation_scale
            As for `MLP`.
        bias_std : float, optional
            σ_b, by default 1 if there are biases.
        dtype : {"float32", "float64"}, optional
            By default that of the weights, float64 if it is neither.

        Returns
        -------
        MLP
            With copies of the arrays.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net = fastntk.MLP.from_weights([np.eye(2), [[1.0, 1.0]]], parametrization="standard",
        ...                                activation_scale=1.0)
        >>> net([[1.0, -5.0]])
        array([[1.]])
        """
        phi, scale = initialization.activation_and_scale(activation, activation_scale)
        precision = None if dtype is None else arguments.float_dtype(dtype)
        items = arguments.items(weights, "weights", "matrices")
        arrays = [matrices.matrix(w, f"weights[{i}]", precision) for i, w in enumerate(items)]
        if not arrays:
            raise ValueError(f"weights={shown(weights)}: expected at least one matrix")
        if precision is None:
            single = all(w.dtype == np.float32 for w in arrays)
            precision = np.dtype(np.float32 if single else np.float64)
        given = [None] * len(arrays)
        if biases is not None:
            given = arguments.items(biases, "biases", "vectors or None")
        if len(given) != len(arrays):
            raise ValueError(f"biases has {len(given)} entries: expected {len(arrays)} or None")
        std = arguments.real(weight_std, "weight_std", minimum=0.0, exclusive=True)
        has_biases = any(b is not None for b in given)
        sigma_b = arguments.real(
            float(has_biases) if bias_std is None else bias_std, "bias_std", minimum=0.0
        )
        arguments.choice(parametrization, "parametrization", initialization.PARAMETRIZATIONS)
        psi = checked_output_activation(output_activation, len(arrays[-1]))
        layers = []
        for i, (w, b) in enumerate(zip(arrays, given, strict=True)):
            if i > 0 and w.shape[1] != len(arrays[i - 1]):
                raise ValueError(
                    f"weights[{i}] has shape {w.shape}: expected {len(arrays[i - 1])} columns, "
                    f"the rows of weights[{i - 1}]"
                )
            scales = initialization.scales(parametrization, w.shape[1], std, sigma_b)
            bias = None if b is None else _bias(b, i, len(w), precision)
            layers.append(Layer(np.array(w, dtype=precision), bias, *scales))
        return cls.of_network(Network.of_layers(layers, phi, scale, psi))

    @classmethod
    def from_torch(
        cls,
        module: Any,
        *,
        activation: str | Activation | None = None,
        output_activation: str | OutputActivation = "identity",
        check: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    ) -> MLP:
        """Return the network that a PyTorch module is, trained or not.

        Parameters
        ----------
        module : torch.nn.Sequential or torch.nn.Linear, or mapping of str to tensor
            A ``Sequential`` of ``Linear`` layers and activations, nested or not (``Flatten``,
            ``Identity`` and ``Dropout`` in evaluation mode are passed over); or the `state_dict` of
            one, with `activation`. An activation after the last ``Linear``, such as a ``Sigmoid``
            or ``Softmax``, is that of the outputs. All of them of exactly these classes, in float32
            or float64, without hooks or parametrizations, and no parameter used twice.
        activation : str or Activation, optional
            What is between the layers of a `state_dict`; of a module, it is found out.
        output_activation : str or Activation
            What comes after the last layer of a `state_dict`, as for `MLP`; of a module, it is
            found out.
        check : (array_like (n, d), array_like (n, C)), optional
            Samples, and the outputs that the module has for them, with which those of the network
            are compared: they may differ by 1e-4 of the largest output, and by 1e-8 of it if all
            arrays are float64.

        Returns
        -------
        MLP
            The same function in the standard parametrization (with activation scale 1), so that
            its gradients are those with respect to the module's parameters. The arrays are copies.

            Frozen parameters (``requires_grad=False``) have the layer weight ω = 0, so that `ntk`
            and everything that follows from it are those of the trained parameters, and `train`
            leaves them as they are; a `state_dict` does not say what is frozen. `jacobian`, `jvp`
            and other derivatives are still those by all parameters.

        Raises
        ------
        ValueError, TypeError
            If the module is another network than can be made here, with the place and the reason.

        See Also
        --------
        fastntk.from_torch : Modules with normalizations, skip connections, several activations.

        Notes
        -----
        The outputs of a module are compared with those of the network for random samples before it
        is returned, as in `fastntk.from_torch`; the module's parameters, its mode and PyTorch's
        generators stay as they are.

        A `state_dict` names arrays and does not say what is computed with them. They are taken in
        their own order, for a chain of layers. That there are no residual connections or
        normalizations without parameters, that the layers are applied in this order, and that the
        activation is right, only `check` can show.
        """
        from fastntk.networks.torch_modules import network_of_torch

        return cls.of_network(network_of_torch(module, activation, output_activation, check))

    def to_torch(self) -> Any:
        r"""Return the network as a PyTorch module, the inverse of `from_torch`.

        Returns
        -------
        torch.nn.Sequential
            Of ``Linear`` layers and activations, with the same outputs, in the precision of the
            network and on the processor. Its parameters are copies.

        Raises
        ------
        ValueError
            If there is no class in ``torch.nn`` for an activation, or if layer weights are neither
            0 nor 1.
        OverflowError
            If a weight times its scale is beyond the precision of the network.
        ModuleNotFoundError
            If PyTorch is not installed.

        Notes
        -----
        A ``Linear`` has no factors: its weight is :math:`c_φ s W`, and its bias :math:`σ_b b`, with
        :math:`s = σ_w/\sqrt{n}` in the NTK parametrization and 1 in the standard one, where σ_b is
        1, too; :math:`c_φ`, the activation scale, is that of the activations before the layer, and
        1 for the first one. So gradients with respect to the module's parameters are those of the
        raw weights and biases of this network divided by :math:`c_φ s` and by σ_b: equal in the
        standard parametrization with activation scale 1, and otherwise those of another
        parametrization, with another tangent kernel. ``MLP.from_torch(net.to_torch())`` has the
        kernel of the module.

        Parameters whose layer weight is 0 are frozen in the module (``requires_grad=False``).
        """
        from fastntk.networks.torch_sequential import sequential_of

        return sequential_of(self.network)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MLP:
        """Return a network from a file that `save` wrote.

        Raises
        ------
        ValueError
            If the file is not one, was written by a newer version, or is damaged.
        MemoryError
            If the network does not fit in the memory that is available.
        """
        from fastntk.networks.files import load_network

        return cls.of_network(load_network(path))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the network to an ``.npz`` file, completely or not at all.

        Weights, scales, activation, what is frozen, the seed that they were drawn with, a format
        version and a checksum; no pickle.
        Custom activations cannot be saved.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Whether any file that is there may be lost. Otherwise one that holds a network of the
            same widths and activation is replaced, as an earlier state of this one.

        Raises
        ------
        FileExistsError
            If something else is there.
        """
        from fastntk.networks.files import save_network

        save_network(self.network, path, overwrite=arguments.flag(overwrite, "overwrite"))

    def digest(self) -> str:
        """Return a SHA-256 digest of the function: weights to the last bit, scales, activation.

        With frozen parameters (see `from_torch`), of these too. Custom activations have none.
        """
        from fastntk.networks.files import network_digest

        return network_digest(self.network)

    def __repr__(self) -> str:
        from fastntk.networks.settings import scale_settings

        omega, psi = self.network.kernel_weights, self.output_activation
        shown_psi = (
            "" if self.network.has_linear_outputs else (f"output_activation={shown_output(psi)}, ")
        )
        widths = _shown_widths(self.widths)
        scales = "".join(
            f"{name}={value!r}, " if isinstance(value, str) else f"{name}={value:g}, "
            for name, value in scale_settings(self.network.layers).items()
        )
        return (
            f"MLP(widths={widths}, activation={_named(self.activation)}, {shown_psi}"
            f"activation_scale={self.activation_scale:g}, {scales}"
            f"dtype={self.dtype.name!r}, n_parameters={self.n_parameters}"
            f"{'' if omega is None else f', layer_weights={omega}'})"
        )

    def _repr_html_(self) -> str:
        """Return what notebooks show: each layer with its parameters."""
        from fastntk._support.display import rows_html

        rows = [
            (k, f"{columns} → {n}", n * columns + (0 if layer.bias is None else n))
            for k, layer in enumerate(self.network.layers, 1)
            for n, columns in [layer.weights.shape]
        ]
        return rows_html(repr(self), ("layer", "widths", "parameters"), rows)

    @property
    def weights(self) -> tuple[FloatArray, ...]:
        """The matrices W^1, …, W^{L+1} (n_out, n_in), without the factor σ_w/√n_in of "ntk"."""
        return tuple(layer.weights for layer in self.network.layers)

    @property
    def biases(self) -> tuple[Any, ...] | None:
        """The vectors b^1, …, b^{L+1}, without the factor σ_b of "ntk".

        A layer without a bias has None; None instead of all of them where no layer has one.
        """
        biases = tuple(layer.bias for layer in self.network.layers)
        return None if all(b is None for b in biases) else biases

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths (d, n_1, …, n_L, C)."""
        return (self.network.input_width, *(len(w) for w in self.weights))

    @property
    def depth(self) -> int:
        """The number of hidden layers, L."""
        return len(self.network.hidden)

    @property
    def activation(self) -> Activation:
        """The activation φ."""
        return self.network.activation

    @property
    def output_activation(self) -> OutputActivation:
        """The activation ψ of the outputs; the identity where they are linear."""
        return self.network.output_activation

    @property
    def activation_scale(self) -> float:
        """The factor c_φ of every activation."""
        return self.network.activation_scale

    @property
    def seed(self) -> int | None:
        """The seed that the weights were drawn with, before all training.

        None where they came from elsewhere: from arrays, from PyTorch, or from a file of an earlier
        version.
        """
        return None if self.network.drawn is None else self.network.drawn.seed

    @property
    def init_scale(self) -> float | tuple[float, ...] | None:
        """The `init_scale` that they were drawn with: of all layers, or of each; None as `seed`."""
        if self.network.drawn is None:
            return None
        scales = self.network.drawn.init_scales
        return scales[0] if len(set(scales)) == 1 else scales

    @property
    def feature_error(self) -> float:
        """About the relative rounding error of passes in the network's own precision.

        √(L + 1) ε, or √(L + 2) ε where the outputs have an activation, which experience gives and
        nothing proves: up to 30 times as much was seen. What is proved is `ntk_errors`. A kernel in
        float64 has passes in float64, and so the error of ``net.astype("float64")``.
        """
        passed = self.depth + (0 if self.network.has_linear_outputs else 1)
        return feature_error(passed, self.dtype)

    def linear(self) -> MLP:
        """Return the linear network with the same weights: the identity activation, scale 1.

        Its outputs are linear, too.
        """
        identity = activations.get("identity")
        layers, drawn = self.network.layers, self.network.drawn
        return MLP.of_network(Network.of_layers(layers, identity, identity.scale, drawn=drawn))

    def astype(self, dtype: npt.DTypeLike) -> MLP:
        """Return the network with its weights rounded to, or continued in, another precision.

        In the precision that it has already, it shares its weights with the network returned.
        """
        precision: FloatDType = arguments.float_dtype(dtype)
        return MLP.of_network(self.network.with_dtype(precision))

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
        samples = self.network.samples(X, "X", place)
        placed = PlacedNetwork(self.network, place)
        outputs: FloatArray = placed.evaluate(samples)
        require_outputs_in_range(placed, samples, outputs)
        return outputs


def _init_scales(init_scale: float | Sequence[float], count: int) -> list[float]:
    if not arguments.has_items(init_scale):
        scale = arguments.real(init_scale, "init_scale", minimum=0.0, exclusive=True)
        return [scale] * count
    values = arguments.items(init_scale, "init_scale", "numbers")
    if len(values) != count:
        raise ValueError(f"init_scale={shown(init_scale)}: expected a number, or {count} of them")
    return [
        arguments.real(value, f"init_scale[{i}]", minimum=0.0, exclusive=True)
        for i, value in enumerate(values)
    ]


def _bias(values: npt.ArrayLike, index: int, count: int, dtype: FloatDType) -> FloatArray:
    array = matrices.host_array(values, f"biases[{index}]")
    if array.shape != (count,):
        raise ValueError(f"biases[{index}] has shape {array.shape}: expected ({count},)")
    row = matrices.matrix(array[np.newaxis], f"biases[{index}]", dtype, given=array)
    bias: FloatArray = row[0].copy()
    return bias


def _shown_widths(widths: tuple[int, ...]) -> str:
    """Return widths as a tuple; layers of one width, where there are many, with their number."""
    runs = [(width, len(list(run))) for width, run in groupby(widths)]
    parts = [
        f"{width} × {count}" if count >= _MANY else ", ".join([str(width)] * count)
        for width, count in runs
    ]
    return f"({', '.join(parts)})"


def _named(activation: Activation) -> str:
    return repr(activation) if activation.parameters else repr(activation.name)
