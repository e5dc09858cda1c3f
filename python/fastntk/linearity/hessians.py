# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Second derivatives of a network's outputs: products with the Hessian, and its norm.

Samples, coefficients and directions have been checked, and are as the place of the network has
them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support.progress import monitored
from fastntk._support.threads import core_threads
from fastntk.linearity.core_calls import fill_hessian_products
from fastntk.linearity.ranges import require_products, within_range
from fastntk.linearity.vanished import hessian_products_vanished, sample_hessian
from fastntk.symmetric.block_lanczos import largest_eigenpairs

if TYPE_CHECKING:
    import threading

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.linearity.sample_hessian import Vectors
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.placed import PlacedNetwork


# Smaller numbers have fewer digits than others.
_LEAST = float(np.finfo(np.float64).tiny)


def hessian_products(
    network: PlacedNetwork,
    X: Any,
    coefficients: Any,
    directions: Any,
    progress: Progress,
    *,
    may_vanish: bool = False,
) -> FloatArray:
    """Return Σ_i Σ_c u_ic ∇²f_c(x_i) v (k, P), for the k rows v of `directions` (k, P).

    The numbers u are the `coefficients` (n, C). Small products may be lost where they `may_vanish`,
    beside a larger term.
    """
    place, dtype = network.place, network.network.dtype
    needed = math.prod(directions.shape) * dtype.itemsize
    if not place.is_always_there(needed):
        what = f"v: products of Hessians with its columns, in {dtype},"
        place.require_memory(needed, what, "take fewer columns at a time")
    out: FloatArray = place.empty(directions.shape, dtype)
    with monitored(progress, "Hessian products") as monitor:

        def compute(samples: Any) -> Any:
            fill_hessian_products(network, samples, coefficients, directions, out, monitor)
            return out

        within_range(network, X, compute, degree=1)

    def vanished() -> bool:
        return hessian_products_vanished(network, X, coefficients, directions, out)

    require_products(network, X, out, None if may_vanish else vanished, v=directions)
    return out


class SpectralNorm(NamedTuple):
    """The norm of a Hessian H as products with it show it."""

    value: float  # a Ritz value
    error: float  # |H| has an eigenvalue that near
    resolved: bool  # whether the error is within the tolerance


def spectral_norm(
    network: AnyNetwork,
    x: Vectors,
    output: int,
    *,
    tolerance: float,
    most_passes: int,
    stop: threading.Event,
) -> SpectralNorm:
    """Return ‖∇²f_c‖ at a sample x (1, d), for a network in float64, to a relative tolerance.

    Setting `stop`, in whatever thread, ends the search with InterruptedError.
    """
    with core_threads():  # BLAS of one thread, for the same bits whatever their number
        hessian = sample_hessian(network, x, output)
        exponent: int | None = None

        def square(vectors: Vectors) -> Vectors:
            nonlocal exponent
            if stop.is_set():
                raise InterruptedError
            products = hessian(vectors)
            if exponent is None:  # H² is that of H divided by about its size, without a rounding
                exponent = int(np.frexp(np.abs(products).max())[1])
            return np.ldexp(hessian(np.ldexp(products, -exponent)), -exponent)

        pairs = largest_eigenpairs(
            square, len(hessian), 1, tolerance=tolerance, most_passes=most_passes
        )
    value = math.sqrt(max(0.0, float(pairs.values[0])))
    residual = float(pairs.residuals[0])
    error = residual / value if value > 0 else math.sqrt(residual)
    assert exponent is not None
    value, error = (math.ldexp(number, exponent) for number in (value, error))
    resolved = error <= tolerance * value and not (hessian.vanishes or 0 < value < _LEAST)
    return SpectralNorm(value, error, resolved)
