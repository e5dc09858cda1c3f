# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""First derivatives of a network's outputs: as matrices, and as products that form none.

F is the matrix of all gradients, with a row of P entries for each sample and output. Samples,
directions and cotangents have been checked, and are as the place of the network has them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.progress import monitored
from fastntk.kernels.existence import input_gradients_exist
from fastntk.kernels.features import Features
from fastntk.linearity.core_calls import fill_gradients
from fastntk.linearity.ranges import require_products, require_signs, within_range
from fastntk.linearity.vanished import (
    gradients_vanished,
    products_vanished,
    transposed_products_vanished,
)

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.networks.placed import PlacedNetwork


def gradients(network: PlacedNetwork, X: Any, outputs: range, progress: Progress) -> FloatArray:
    """Return the gradients (n, len(outputs), P) of some outputs by all parameters."""
    place, dtype = network.place, network.network.dtype
    shape = (len(outputs), len(X), network.network.n_parameters)
    place.require_memory(
        math.prod(shape) * dtype.itemsize,
        f"the {shape[0] * shape[1]} × {shape[2]} matrix of gradient features",
        "take fewer samples, or ask for the kernel (ntk) or for products (jvp, vjp, "
        "ntk_operator), which do not form it",
    )
    out: FloatArray = place.empty(shape, dtype)
    with monitored(progress, "gradient features") as monitor:

        def compute(samples: Any) -> Any:
            fill_gradients(network, samples, outputs, out, monitor)
            return out

        within_range(network, X, compute, degree=1)
    require_products(network, X, out, lambda: gradients_vanished(network, X, outputs, out))
    return out.transpose(1, 0, 2)


def input_jacobians(network: PlacedNetwork, X: Any) -> FloatArray:
    """Return the derivatives (n, C, d) of all outputs by the inputs."""
    place, dtype = network.place, network.network.dtype
    shape = (network.network.n_outputs, *X.shape)
    place.require_memory(
        math.prod(shape) * dtype.itemsize, "the input Jacobian", "take fewer samples"
    )
    out: FloatArray = place.empty(shape, dtype)

    def compute(samples: Any) -> Any:
        place.fill(
            list(out),
            lambda outs, where: place.core.input_jacobians(
                network.handle, samples, outs, where, None
            ),
        )
        return out

    require_signs(network, X)
    within_range(network, X, compute, degree=0)
    require_products(
        network,
        X,
        out,
        lambda: bool(out.any()) or input_gradients_exist(network.network, place.on_host(X)),
    )
    return out.transpose(1, 0, 2)


def jacobian_products(
    network: PlacedNetwork, X: Any, directions: Any, *, may_vanish: bool = False
) -> FloatArray:
    """Return F v (n, C, k) for the k rows v of `directions` (k, P).

    Whatever is as small as that may be lost where products `may_vanish`, beside a larger term.
    """
    # Those of each output, and all of them side by side.
    _require_memory(network, 2 * len(directions) * len(X) * network.network.n_outputs, "v")

    def compute(samples: Any) -> Any:
        features = _features(network, samples)
        products = [features.products(c, directions) for c in features.outputs]
        return network.place.xp.stack(products).transpose(2, 0, 1)  # from (C, k, n)

    result: FloatArray = within_range(network, X, compute, degree=1)

    def vanished() -> bool:
        return products_vanished(network, X, directions, result)

    require_products(network, X, result, None if may_vanish else vanished, v=directions)
    return result


def transposed_jacobian_products(
    network: PlacedNetwork, X: Any, cotangents: Any, *, may_vanish: bool = False
) -> FloatArray:
    """Return Fᵀ u (k, P) for the k matrices u of `cotangents` (n, C, k).

    As of `jacobian_products`, small ones may be lost where they `may_vanish`.
    """
    # The product of an output, and the sums before and after it.
    _require_memory(network, 3 * cotangents.shape[2] * network.network.n_parameters, "u")
    contiguous = network.place.xp.ascontiguousarray

    def compute(samples: Any) -> Any:
        features = _features(network, samples)
        result: Any = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for c in features.outputs:
                result = result + features.transposed_products(c, contiguous(cotangents[:, c].T))
        return result

    result: FloatArray = within_range(network, X, compute, degree=1)

    def vanished() -> bool:
        return transposed_products_vanished(network, X, cotangents, result)

    require_products(network, X, result, None if may_vanish else vanished, u=cotangents)
    return result


def _require_memory(network: PlacedNetwork, numbers: int, name: str) -> None:
    """Raise MemoryError if products with the columns of the argument `name` do not fit."""
    place, dtype = network.place, network.network.dtype
    if not place.is_always_there(numbers * dtype.itemsize):
        what = f"{name}: products with its columns, in {dtype},"
        place.require_memory(numbers * dtype.itemsize, what, "take fewer columns at a time")


def _features(network: PlacedNetwork, X: Any) -> Features:
    outputs = range(network.network.n_outputs)
    return Features(network, X, outputs, network.network.dtype, for_products=True)
