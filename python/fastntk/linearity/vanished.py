# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether derivatives of which nothing is left but 0 are 0, or have vanished below all numbers.

A sum has vanished if it has terms that are not 0 and none of them is as large as the numbers that
have all digits: large ones may add up to nothing. As for kernels, the largest element decides:
where a gradient has elements of ordinary size, others that saturation has made too small are as
good as 0, and so are products with them. This is asked where a result is small, and takes passes of
single samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import SMALLEST_NORMAL
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.existence import have_terms
from fastntk.linearity.core_calls import fill_gradients, fill_hessian_products
from fastntk.linearity.ranges import SAMPLES
from fastntk.linearity.sample_hessian import SampleHessian
from fastntk.networks.network import Network
from fastntk.networks.placed import PlacedNetwork
from fastntk.symmetric.arrays import on_host

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.linearity.sample_hessian import HessianInCoordinates
    from fastntk.networks.any_network import AnyNetwork

    Rows = NDArray[Any]


def gradients_vanished(placed: PlacedNetwork, X: Any, outputs: range, results: Any) -> bool:
    """Return whether gradients of some outputs, all of them small, are not all 0."""
    samples = placed.place.on_host(X)
    everywhere = np.ones(placed.network.n_parameters, bool)
    return bool(results.any()) or have_terms(placed.network, outputs, samples, everywhere)


def products_vanished(placed: PlacedNetwork, X: Any, directions: Any, results: Any) -> bool:
    """Return whether products F v (n, C, k) have vanished, for the rows v of `directions`."""
    largest = np.abs(on_host(directions)).max(axis=0, initial=0.0)
    sizes = np.full((len(X), placed.network.n_outputs), largest.max(initial=0.0))
    return _sums_vanished(placed, X, sizes, largest > 0, results)


def transposed_products_vanished(
    placed: PlacedNetwork, X: Any, cotangents: Any, results: Any
) -> bool:
    """Return whether products Fᵀ u (k, P) have vanished, for `cotangents` (n, C, k)."""
    sizes = np.abs(on_host(cotangents)).max(axis=2, initial=0.0)
    everywhere = np.ones(placed.network.n_parameters, bool)
    return _sums_vanished(placed, X, sizes, everywhere, results)


def _sums_vanished(
    placed: PlacedNetwork, X: Any, sizes: Rows, where: NDArray[np.bool_], results: Any
) -> bool:
    """Return whether sums of gradients, times numbers up to the `sizes` (n, C), have vanished.

    Parameters
    ----------
    placed : PlacedNetwork
    X : array (n, d)
    sizes : ndarray (n, C)
        Of the largest number with which the gradient of an output at a sample is multiplied.
    where : ndarray (P,) of bool
        The elements of the gradients that are multiplied with what is not 0.
    results : array
        All of the sums, which are small.
    """
    network, least = placed.network, SMALLEST_NORMAL[results.dtype]
    used = np.flatnonzero(sizes.any(axis=1))[:SAMPLES]
    samples, sizes = placed.place.on_host(X)[used], sizes[used].astype(np.float64)
    with np.errstate(over="ignore"):
        for x, size in zip(samples, sizes, strict=True):
            if (_gradients(network, x).max(axis=1) * size).max() >= least:
                return False
    outputs = np.flatnonzero(sizes.any(axis=0)).tolist()
    return bool(results.any()) or have_terms(network, outputs, samples, where)


def hessian_products_vanished(
    placed: PlacedNetwork, X: Any, coefficients: Any, directions: Any, results: Any
) -> bool:
    """Return whether products with Hessians, as of `fill_hessian_products`, have vanished.

    They have if they are not 0 for directions and coefficients of size 1 in float64, or if passes
    of a sample on the way to its Hessian have. What adds up to nothing is not told from that. Where
    gradients are of ordinary size, only directions and coefficients make products vanish.
    """
    place, along = placed.place, on_host(directions)
    weights = place.on_host(coefficients)
    used = np.flatnonzero(weights.any(axis=1))[:SAMPLES]
    if not len(used) or not along.any() or len(placed.network.layers) == 1:
        return False
    exact = placed.network.with_dtype(np.dtype(np.float64))
    samples, u = (np.asarray(a[used], np.float64) for a in (place.on_host(X), weights))
    out = np.empty(along.shape)
    fill_hessian_products(
        PlacedNetwork(exact, PROCESSOR), samples, _of_size_1(u), _of_size_1(along), out
    )
    least = SMALLEST_NORMAL[results.dtype]
    if all(float(_gradients(exact, x).max()) >= least for x in samples):
        return float(np.abs(out).max()) >= least
    return bool(results.any() or out.any()) or any(
        sample_hessian(exact, samples[i : i + 1], int(c)).vanishes
        for i, c in zip(*np.nonzero(u), strict=True)
    )


def sample_hessian(network: AnyNetwork, x: FloatArray, output: int) -> HessianInCoordinates:
    """Return ∇²f_c at a sample x (1, d), for a network in float64."""
    if isinstance(network, Network):
        return SampleHessian(network, x, output)
    # Few programs have such networks.
    from fastntk.linearity.wired_hessian import WiredSampleHessian

    return WiredSampleHessian(network, x, output)


def _gradients(network: AnyNetwork, x: FloatArray) -> FloatArray:
    """Return |∂f_c/∂w| (C, P) at a sample, in the precision of the network."""
    out: FloatArray = np.empty((network.n_outputs, 1, network.n_parameters), network.dtype)
    outputs = range(network.n_outputs)
    fill_gradients(PlacedNetwork(network, PROCESSOR), x[np.newaxis], outputs, out)
    return np.abs(out[:, 0])


def _of_size_1(values: FloatArray) -> FloatArray:
    """Return numbers of which some are not 0, times the power of two that makes them about 1."""
    result: FloatArray = np.ldexp(
        values.astype(np.float64), -int(np.frexp(np.abs(values).max())[1])
    )
    return result
