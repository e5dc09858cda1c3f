# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Fully connected networks of finite width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastntk import _network, _validation, activations, initialization

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._progress import Progress
    from fastntk._typing import FloatArray, FloatDType
    from fastntk.activations import Activation


class MLP:
    r"""A fully connected network in the NTK parametrization, at its random initialization.

    With :math:`h^0 = x`, for :math:`l = 1 … L`,

    .. math::

        z^l = \frac{σ_w}{\sqrt{n_{l-1}}} W^l h^{l-1} + σ_b b^l, \quad h^l = c_φ φ(z^l), \quad
        f = \frac{σ_w}{\sqrt{n_L}} W^{L+1} h^L + σ_b b^{L+1},

    and all entries of W and b independent standard normal numbers [1]_.

    Parameters
    ----------
    widths : sequence of int
        [d, n_1, …, n_L, C]: the input dimension, the widths of the L ≥ 0 hidden layers and the
        number of outputs.
    activation : {"relu", "identity"}
        φ. With "identity" the network is the *linear network*, the baseline of every study.
    weight_std, bias_std : float
        σ_w > 0 and σ_b ≥ 0. With σ_b = 0 there are no biases.
    activation_scale : float, optional
        c_φ. By default E[φ(u)²]^{-1/2} for a standard normal u, which keeps the size of the
        activations from layer to layer: √2 for ReLU, 1 for the identity.
    seed : int
        Of the weights. Those of a layer depend on the seed, the layer and its two widths alone.
    dtype : {"float64", "float32"}
        Precision of the weights and of the passes through the network.

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
    >>> net
    MLP(widths=(20, 256, 256, 1), activation='relu', dtype='float64', n_parameters=70912)
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
        activation: str = "relu",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        activation_scale: float | None = None,
        seed: int = 0,
        dtype: npt.DTypeLike = "float64",
    ) -> None:
        sizes = _validation.integers(widths, "widths", minimum=1)
        if len(sizes) < 2:
            raise ValueError(
                f"widths={widths!r}: expected at least the input dimension and the outputs"
            )
        phi = activations.get(activation)
        std = _validation.real(weight_std, "weight_std", minimum=0.0, exclusive=True)
        bias = _validation.real(bias_std, "bias_std", minimum=0.0)
        seed = _validation.integer(seed, "seed", minimum=0)
        precision = _validation.float_dtype(dtype)
        if activation_scale is None:
            scale = phi.scale
        else:
            scale = _validation.real(
                activation_scale, "activation_scale", minimum=0.0, exclusive=True
            )
        layers = initialization.layers(seed, sizes, std, bias, precision)
        self._network = _network.Network(
            hidden=layers[:-1],
            readouts=(_network.Readout(len(layers) - 1, layers[-1]),),
            activation=phi,
            activation_scale=scale,
        )

    @classmethod
    def _of(cls, network: _network.Network) -> MLP:
        result = cls.__new__(cls)
        result._network = network
        return result

    def __repr__(self) -> str:
        return (
            f"MLP(widths={self.widths}, activation={self.activation.name!r}, "
            f"dtype={self.dtype.name!r}, n_parameters={self.n_parameters})"
        )

    @property
    def _layers(self) -> tuple[_network.Layer, ...]:
        return (*self._network.hidden, self._network.readouts[0].layer)

    @property
    def weights(self) -> tuple[FloatArray, ...]:
        """W^1, …, W^{L+1}, each (n_out, n_in), without the factor σ_w/√n_in."""
        return tuple(layer.weights for layer in self._layers)

    @property
    def biases(self) -> tuple[FloatArray, ...] | None:
        """b^1, …, b^{L+1}, without the factor σ_b, or None when σ_b = 0."""
        present = [layer.bias for layer in self._layers if layer.bias is not None]
        return tuple(present) if present else None

    @property
    def widths(self) -> tuple[int, ...]:
        """(d, n_1, …, n_L, C)."""
        return (self._network.input_width, *(len(w) for w in self.weights))

    @property
    def depth(self) -> int:
        """L, the number of hidden layers."""
        return len(self._network.hidden)

    @property
    def n_parameters(self) -> int:
        """P, the number of weights and biases."""
        return sum(layer.n_parameters for layer in self._layers)

    @property
    def activation(self) -> Activation:
        """φ."""
        return self._network.activation

    @property
    def activation_scale(self) -> float:
        """c_φ."""
        return self._network.activation_scale

    @property
    def dtype(self) -> FloatDType:
        """Precision of the weights and of the passes through the network."""
        return self._network.dtype

    def linear(self) -> MLP:
        """Return the linear network with the same weights: the identity activation, scale 1."""
        identity = activations.get("identity")
        return MLP._of(
            _network.Network(self._network.hidden, self._network.readouts, identity, identity.scale)
        )

    def __call__(self, X: npt.ArrayLike) -> FloatArray:
        """Return the outputs f(X).

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.

        Returns
        -------
        ndarray (n, C)
        """
        return _network.evaluate(self._network, self._samples(X, "X"))

    def gradient_features(
        self, X: npt.ArrayLike, output: int = 0, *, progress: Progress = False
    ) -> FloatArray:
        """Return the gradient of one output with respect to all parameters, for each sample.

        Meant for small networks: the result has n · P entries. Kernels do not need it.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        output : int
            Which of the C outputs.
        progress : bool or callable
            Show a bar, or call ``progress(stage, done, total)`` about ten times a second.

        Returns
        -------
        ndarray (n, P)
            In the order W^1 row-major, b^1, W^2, b^2, …; the biases only when σ_b > 0.

        Raises
        ------
        MemoryError
            If the result does not fit in the memory that is available.
        """
        samples = self._samples(X, "X")
        return _network.gradient_features(
            self._network, samples, self._outputs(output).start, progress
        )

    def ntk(
        self,
        X: npt.ArrayLike,
        Z: npt.ArrayLike | None = None,
        *,
        outputs: Literal["trace"] | int = "trace",
        dtype: npt.DTypeLike | None = None,
        progress: Progress = False,
    ) -> FloatArray:
        r"""Return the (empirical) neural tangent kernel K(X, Z) = ⟨∂f(X)/∂w, ∂f(Z)/∂w⟩.

        Computed without the gradients, from the activations H and the backward signals Δ [1]_:

        .. math::

            K = \sum_{l=1}^{L+1} (Δ^l Δ^{l⊤}) ∘
                \left( \frac{σ_w^2}{n_{l-1}} H^{l-1} H^{l-1⊤} + σ_b^2 \right)

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        Z : array_like (m, d), optional
            Other samples. Without them the kernel is K(X, X), symmetric to the last bit.
        outputs : "trace" or int
            The sum over the outputs, Σ_c K^{cc} (not divided by C), or the kernel of one output.
        dtype : {"float32", "float64"}, optional
            Precision of the Gram matrices and of the result; by default that of the network. For a
            condition number take float64, even of a float32 network.
        progress : bool or callable
            Show a bar, or call ``progress(stage, done, total)`` about ten times a second.

        Returns
        -------
        ndarray (n, m)
            The same to the last bit for any number of threads.

        Raises
        ------
        MemoryError
            If the kernel and the features do not fit in the memory that is available.

        References
        ----------
        .. [1] R. Novak, J. Sohl-Dickstein, S. S. Schoenholz, "Fast finite width neural tangent
           kernel", ICML 2022.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net = fastntk.MLP([2, 64, 1])
        >>> K = net.ntk([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> bool((K == K.T).all())
        True
        >>> net.ntk(np.eye(2), [[1.0, 1.0]]).shape
        (2, 1)
        """
        rows = self._samples(X, "X")
        cols = None if Z is None else self._samples(Z, "Z")
        precision = self.dtype if dtype is None else _validation.float_dtype(dtype)
        (kernel,) = _network.kernels(
            self._network,
            rows,
            cols,
            outputs=self._outputs(outputs),
            dtype=precision,
            progress=progress,
        )
        return kernel

    def _samples(self, X: npt.ArrayLike, name: str) -> FloatArray:
        return _validation.samples(X, name, self.dtype, columns=self._network.input_width)

    def _outputs(self, outputs: Any) -> range:
        count = self._network.n_outputs
        if isinstance(outputs, str) and outputs == "trace":
            return range(count)
        expected = f"expected 'trace' or an output from 0 to {count - 1}"
        try:
            index = _validation.integer(outputs, "outputs", minimum=0)
        except TypeError:
            raise TypeError(f"outputs={outputs!r}: {expected}") from None
        if index >= count:
            raise ValueError(f"outputs={outputs!r}: {expected}")
        return range(index, index + 1)
