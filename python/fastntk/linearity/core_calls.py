# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives as the core computes them, whatever becomes of them: nothing is looked at here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastntk._support.progress import Monitor
    from fastntk.networks.placed import PlacedNetwork


def fill_gradients(
    network: PlacedNetwork, X: Any, outputs: range, out: Any, monitor: Monitor | None = None
) -> None:
    """Fill `out` (len(outputs), n, P) with the gradients of some outputs by all parameters."""
    place = network.place

    def fill(matrices: list[Any], where: Any) -> None:
        for features, output in zip(matrices, outputs, strict=True):
            place.core.gradient_features(network.handle, output, X, features, where, monitor)

    place.fill(list(out), fill)


def fill_hessian_products(
    network: PlacedNetwork,
    X: Any,
    coefficients: Any,
    directions: Any,
    out: Any,
    monitor: Monitor | None = None,
) -> None:
    """Fill `out` (k, P) with Σ_i Σ_c u_ic ∇²f_c(x_i) v for the rows v of `directions` (k, P).

    The numbers u are the `coefficients` (n, C).
    """
    place = network.place
    along = place.for_core(directions)
    place.fill(
        [out],
        lambda outs, where: place.core.hessian_products(
            network.handle, X, coefficients, along, outs[0], where, monitor
        ),
    )
