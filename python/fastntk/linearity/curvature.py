# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far from linear a network is in its parameters: its Hessian, by products alone.

f(w + δ) = f(w) + ∇f · δ + ½ δᵀ H δ. With a linear output layer the spectral norm of H falls like
m^{-1/2} with the width m, up to logarithms, while that of ∇f does not: a wide network is nearly
linear, and its tangent kernel nearly constant, in a ball of any fixed radius [1]_.

.. [1] C. Liu, L. Zhu, M. Belkin, "On the linearity of large non-linear models: when and why the
   tangent kernel is constant", NeurIPS 2020.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.progress import monitored
from fastntk._support.threads import map_in_threads, thread_count
from fastntk.activations import FINITE_WIDTH
from fastntk.devices import matrices
from fastntk.devices.places import place_of
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.ranges import require_normalized
from fastntk.linearity.hessians import SpectralNorm, hessian_products, spectral_norm
from fastntk.linearity.parameter_space import directions
from fastntk.networks.base import require_finite_network
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.base import FiniteNetworkBase


def hessian_vector_product(
    net: FiniteNetworkBase,
    X: npt.ArrayLike,
    v: npt.ArrayLike,
    *,
    output: int = 0,
    coefficients: npt.ArrayLike | None = None,
    device: str | None = None,
    progress: Progress = False,
) -> FloatArray:
    """Return Σ_i u_i ∇²f_c(x_i) v, the second derivatives with respect to the parameters.

    They are the derivative, along v, of the forward and the backward pass [1]_: each direction
    takes about six times the work of the outputs, after twice that for all directions together.
    Memory, beside that of v and of the result, is 12 numbers for each unit and each of 1024
    samples; of a `FiniteNetwork`, 16 for each unit that has an activation, and for each that is
    normalized.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        The network. Its activation is one that the core has; a custom one has no second derivative.
    X : array_like (n, d)
        Samples, one a row.
    v : array_like (P,) or (P, k)
        One direction in parameter space, or k of them, in the order of `MLP.gradient_features`.
    output : int
        c, which of the C outputs.
    coefficients : array_like (n,) or (n, C), optional
        u, by default 1 for each sample. (n, C): those of all outputs, Σ_i Σ_c u_ic ∇²f_c(x_i) v,
        and `output` is not used.
    device : str, optional
        Where to compute, as in `MLP.ntk`.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` about ten times a second.

    Returns
    -------
    ndarray (P,) or (P, k)
        In the precision of the network.

    Raises
    ------
    ValueError
        If the activation has no second derivative in the core.

    Notes
    -----
    Where φ has a kink, at 0, φ'' is that from the left: the second derivative of a ReLU counts as
    0, and what is left are the blocks of different layers.

    Where the outputs f = ψ(g) have an activation, ∇²f_c = ψ' ∇²g_c + ψ'' ∇g_c ∇g_cᵀ, and of a
    softmax the like with all outputs g. However wide the network is, the second term does not
    vanish, so that its kernel is not constant.

    References
    ----------
    .. [1] B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6
       (1994).

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> net, X = fastntk.MLP([3, 16, 1], activation="tanh"), np.eye(3)
    >>> v, w = np.random.default_rng(0).standard_normal((2, net.n_parameters))
    >>> Hv = fastntk.linearity.hessian_vector_product(net, X, v)
    >>> Hw = fastntk.linearity.hessian_vector_product(net, X, w)
    >>> bool(np.isclose(w @ Hv, v @ Hw))
    True
    """
    require_finite_network(net)
    network = net.network
    require_second_derivative(network)
    place = place_of(device, {"X": X, "v": v, "coefficients": coefficients})
    samples = network.samples(X, "X", place)
    along, single = directions(network, v, "v", place)
    weights = checked_coefficients(network, place, len(samples), output, coefficients)
    out = hessian_products(
        PlacedNetwork(network, place), samples, place.from_host(weights), along, progress
    )
    return out[0] if single else out.T


@dataclass(frozen=True)
class HessianNorms:
    """Spectral norms ‖H‖ of the Hessians of one output at several samples.

    Attributes
    ----------
    values : ndarray (n,)
        Ritz values, which never exceed the norm by more than rounding.
    errors : ndarray (n,)
        H has an eigenvalue whose absolute value is that near. That none is larger, no number of
        products can prove; for a random start it is improbable.
    resolved : ndarray (n,) of bool
        Whether the error is within the tolerance; not where something on the way is so small that
        digits of the norm may be lost, or all of it.
    """

    values: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]
    resolved: npt.NDArray[np.bool_]

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        return short_repr(self, values=self.values, errors=self.errors, resolved=self.resolved)


def hessian_norm(
    net: FiniteNetworkBase,
    X: npt.ArrayLike,
    *,
    output: int = 0,
    tolerance: float = 1e-5,
    most_passes: int = 200,
    progress: Progress = False,
) -> HessianNorms:
    """Return the spectral norm of ∇²f_c(x), for each sample x.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        The network, with an activation that the core has. All is computed in float64, for a network
        in float32, too.
    X : array_like (n, d)
        Samples, one a row.
    output : int
        c, which of the C outputs.
    tolerance : float
        Relative error bound at which a norm is resolved. The error itself is of the order of the
        square of the bound.
    most_passes : int
        The search ends after so many passes of 4 products each, whether or not the norm is
        resolved by then.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each sample.

    Returns
    -------
    HessianNorms

    Raises
    ------
    ValueError
        If the activation has no second derivative in the core.
    OverflowError
        If a Hessian, or something on the way to it, is not finite in float64.

    Notes
    -----
    The largest eigenvalue of H² by the block Lanczos method: an end of H may lie on either side of
    0, and two ends of nearly the same absolute value, which are common, are one cluster to it. The
    Hessian of a single sample is zero but for a space of some widths' dimension, in which all is
    done: a product takes two multiplications with each weight matrix, a vector Σ (n_l + n_{l-1} +
    1) numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> x = np.ones((1, 4))
    >>> norms = [
    ...     fastntk.linearity.hessian_norm(fastntk.MLP([4, m, 1], activation="tanh"), x).values[0]
    ...     for m in (100, 10_000)
    ... ]
    >>> bool(6 < norms[0] / norms[1] < 14)  # about √(10 000/100)
    True
    """
    require_finite_network(net)
    require_second_derivative(net.network)
    samples = net.network.samples(X, "X").astype(np.float64, copy=False)
    exact = net.network.with_dtype(np.dtype(np.float64))
    require_normalized(PlacedNetwork(exact, PROCESSOR), samples)
    stop = threading.Event()
    search = partial(
        spectral_norm,
        exact,
        output=_checked_output(net.network, output),
        tolerance=arguments.real(tolerance, "tolerance", minimum=0.0, exclusive=True),
        most_passes=arguments.integer(most_passes, "most_passes", minimum=1),
        stop=stop,
    )
    rows = [x[np.newaxis] for x in samples]
    found: list[SpectralNorm] = []
    with (
        monitored(progress, "Hessian norms") as monitor,
        closing(map_in_threads(search, rows, thread_count(), stop)) as norms,
    ):
        for norm in norms:
            found.append(norm)
            if monitor is not None:
                monitor("samples", len(found), len(rows))
    values, errors, resolved = zip(*found, strict=True)
    return HessianNorms(np.array(values), np.array(errors), np.array(resolved))


def require_second_derivative(network: AnyNetwork) -> None:
    """Raise ValueError for an activation of which the core has no second derivative."""
    for where, phi in network.activations:
        if not phi.in_core:
            raise ValueError(
                f"{where} {phi!r}: expected one with a second derivative in the core: "
                f"{', '.join(map(repr, FINITE_WIDTH))}"
            )


def _checked_output(network: AnyNetwork, output: int) -> int:
    return arguments.integer(output, "output", minimum=0, maximum=network.n_outputs - 1)


def checked_coefficients(
    network: AnyNetwork, place: Place, n: int, output: int, coefficients: npt.ArrayLike | None
) -> FloatArray:
    """Return u_ic (n, C) of `hessian_vector_product` as a matrix of the host."""
    index = _checked_output(network, output)
    result: FloatArray = np.zeros((n, network.n_outputs), dtype=network.dtype)
    if coefficients is None:
        result[:, index] = 1.0
        return result
    given = place.host_array(coefficients, "coefficients")
    if given.shape not in {(n,), (n, network.n_outputs)}:
        raise ValueError(
            f"coefficients has shape {given.shape}: expected ({n},) or ({n}, {network.n_outputs}), "
            "one number for each sample or for each of its outputs"
        )
    columns = given[:, np.newaxis] if given.ndim == 1 else given
    values = matrices.matrix(columns, "coefficients", network.dtype, given=given)
    if given.ndim == 2:
        return values
    result[:, index] = values[:, 0]
    return result
