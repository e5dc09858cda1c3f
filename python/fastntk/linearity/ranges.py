# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Derivatives, and products with them, that leave the range of their numbers: an error.

What is infinite or no number is easy to see. What is 0, or has fewer digits than other numbers, may
be right: where no unit is active, where the samples are 0, or where large terms add up to nothing.
As of kernels, it is looked at where nothing else is left of a result.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import SMALLEST_NORMAL
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.existence import kernels_exist, wired_passes
from fastntk.kernels.ranges import (
    advice,
    all_finite,
    diagonals_of,
    is_small,
    of_moderate_size,
    require_normalized,
    since_layer,
    size_of,
)
from fastntk.kernels.request import KernelRequest
from fastntk.networks.network import Network
from fastntk.networks.placed import PlacedNetwork
from fastntk.symmetric.arrays import on_host

if TYPE_CHECKING:
    from collections.abc import Callable

# So many samples tell whether what is 0 is right.
SAMPLES = 64


def within_range(placed: PlacedNetwork, X: Any, compute: Callable[[Any], Any], degree: int) -> Any:
    """Return `compute` of samples, which is homogeneous of a degree where the network is.

    What has left the range is computed anew from samples of moderate size, if there are any, and
    may then be within: it is for the caller to find out. With extreme samples the activations of
    some units would be lost and others not, and so those of moderate size come first.
    """
    xp, extreme = placed.place.xp, _is_extreme(X)
    if not extreme:
        results = compute(X)
        if all_finite(results, xp) and not is_small(results, xp):
            return results
    moderate, power = of_moderate_size(placed.network, X)
    if power == 0:
        return compute(X) if extreme else results
    results = compute(moderate)
    with np.errstate(over="ignore", under="ignore"):
        results = np.ldexp(results, degree * power, out=results)
    if all_finite(results, xp) and not is_small(results, xp):
        return results
    return compute(X)


def _is_extreme(X: Any) -> bool:
    if not isinstance(X, np.ndarray):
        return False
    limits = np.finfo(X.dtype)
    return not math.sqrt(limits.tiny) <= size_of(X) <= math.sqrt(limits.max)


def require_signs(placed: PlacedNetwork, X: Any) -> None:
    """Raise OverflowError if powers of samples vanish before an activation with two slopes at 0."""
    network = placed.network
    if isinstance(network, Network):  # has one activation
        return
    wired = wired_passes(network)
    if wired.degree == 1:
        return
    unknown = wired.lost_sign(placed.place.on_host(X), SMALLEST_NORMAL[network.dtype])
    if unknown is not None:
        raise OverflowError(
            f"X has samples that are too small: powers of them are below all numbers of "
            f"{network.dtype}, and {unknown} has another slope on either side of 0; expected "
            "larger samples"
        )


def require_products(
    placed: PlacedNetwork,
    X: Any,
    results: Any,
    vanished: Callable[[], bool] | None,
    **others: Any,
) -> None:
    """Raise OverflowError if products with derivatives left the range, at either end of it.

    Parameters
    ----------
    placed : PlacedNetwork
    X : array
        The samples, as the place of the network has them.
    results : array
        What was computed.
    vanished : callable, or None
        Asked where the results are small: whether they have terms that are not 0, and none that is
        large. Large terms may add up to nothing. None: small results may be lost.
    **others : array
        What the derivatives were multiplied with, by the names of the arguments.
    """
    xp = placed.place.xp
    if not all_finite(results, xp):
        if not all(all_finite(values, xp) for values in others.values()):
            return  # what is not a number stays so, as in products of NumPy
        require_normalized(placed, X)
        samples = placed.place.on_host(X)
        largest = samples[int(np.argmax(np.abs(samples).max(axis=1)))]
        since = since_layer(placed.network, largest)
        raise _out_of_range(placed, X, results, "the result is not finite in", since, **others)
    if vanished is not None and is_small(results, xp) and vanished():
        raise vanished_products(placed, X, results, **others)


def require_kernel_products(
    placed: PlacedNetwork, X: Any, outputs: range, results: Any, vectors: Any
) -> None:
    """Raise OverflowError if products K v (k, rows) left the range of their numbers.

    Products that are too small are right where all gradients that count are 0, and where large ones
    add up to nothing, as those of a vector of the null space.

    Parameters
    ----------
    placed : PlacedNetwork
        With the ω of its layers.
    X : array
        The samples, as the place of the network has them.
    outputs : range
        Those of the kernel.
    results, vectors : array (k, rows), (rows, k)
        The rows stand for samples, or, one after the other, for their outputs.
    """

    def vanished() -> bool:
        xp, double = placed.place.xp, np.dtype(np.float64)
        sizes = on_host(xp.absolute(vectors).reshape(len(X), -1).max(axis=1))
        used = np.flatnonzero(sizes)[:SAMPLES]
        samples = np.ascontiguousarray(placed.place.on_host(X)[used].astype(double))
        if len(used) == 0 or not kernels_exist(placed.network, outputs, samples)[0]:
            return False
        exact = PlacedNetwork(placed.network.with_dtype(double), PROCESSOR)
        request = KernelRequest(exact, samples, None, outputs, "none", double)
        (diagonal,) = diagonals_of(request, samples)
        return float((diagonal * sizes[used]).max()) < SMALLEST_NORMAL[results.dtype]

    require_products(placed, X, results, vanished, vectors=vectors)


def vanished_products(placed: PlacedNetwork, X: Any, results: Any, **others: Any) -> OverflowError:
    """Return the error for what is smaller than the numbers of a precision."""
    what = "the largest element of the result is too small for"
    return _out_of_range(placed, X, results, what, "", **others)


def _out_of_range(
    placed: PlacedNetwork, X: Any, results: Any, what: str, since: str, **others: Any
) -> OverflowError:
    xp, network = placed.place.xp, placed.network
    given = [("X", size_of(placed.place.on_host(X)))]
    given += [(name, float(xp.absolute(values).max())) for name, values in others.items()]
    sizes = [f"{name} with elements of at most {size:.3g}" for name, size in given]
    other = "larger" if "small" in what else "smaller"
    wanted = "".join(f"{other} {name}, " for name in others)
    return OverflowError(
        f"{' and '.join(sizes)}: {what} {results.dtype}{since}: "
        f"{advice(network, network.dtype).replace('expected ', f'expected {wanted}', 1)}"
    )
