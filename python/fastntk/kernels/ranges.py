# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that leave the range of their numbers: an error instead of inf, NaN or 0.

Samples and weights are finite, but products of them need not be. By the Cauchy-Schwarz inequality
no element of K(X, X) is larger than the largest of its diagonal, which is therefore all that has to
be looked at: n of n² elements. Of K(X, Z) it is the sum, which no element that is not finite leaves
finite.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.devices.processor import PROCESSOR
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.kernels.request import KernelRequest
    from fastntk.networks.network import Network

# Where a kernel is 0, so many samples tell whether that is right.
_SAMPLES = 64

# So many of the largest samples are looked at for gradients that are not finite.
_LARGEST = 4


# Samples that differ in size by no more than so many powers of two can be scaled together.
_SPREAD = {"float32": 50, "float64": 200}

# So far from 1, in powers of two, samples may be without being scaled. The differences in which
# angles of close pairs are computed lose digits from 2¹² on.
_MODERATE = 8


def require_kernels_in_range(
    request: KernelRequest, rows: slice, cols: slice, kernels: Sequence[Any]
) -> None:
    """Raise OverflowError if blocks of the kernels of a request left the range of their numbers.

    Kernels that lie on a GPU are not looked at, which would mean to wait for it.
    """
    if not all(isinstance(kernel, np.ndarray) for kernel in kernels):
        return
    if not request.symmetric:
        _require_sums(request, rows, kernels)
    elif rows == cols:
        diagonals = [np.diagonal(kernel) for kernel in kernels]
        require_diagonals_in_range(request, range(rows.start, rows.stop), diagonals)


def require_diagonals_in_range(
    request: KernelRequest, rows: Sequence[int], diagonals: Sequence[FloatArray]
) -> None:
    """Raise OverflowError if diagonals of kernels K(X, X), of these samples, left the range.

    A kernel of which nothing is left but 0, or numbers with fewer digits than others, is as wrong
    as one that is infinite. It is right where no unit is active, or X is 0.
    """
    for diagonal in diagonals:
        finite = np.isfinite(diagonal)
        if not finite.all():
            raise _not_finite(request, rows[int(np.argmin(finite))])
    if len(rows) == len(request.X):
        _require_not_vanished(request, diagonals)


def _require_not_vanished(request: KernelRequest, diagonals: Sequence[FloatArray]) -> None:
    largest = np.array([np.abs(diagonal).max() for diagonal in diagonals])
    if request.split != "none":  # parts of one kernel
        largest = largest.max(keepdims=True)
    vanished = largest < np.finfo(request.dtype).tiny
    if not vanished.any():
        return
    if largest[vanished].any() or _of_larger_samples(request)[vanished].any():
        size = _size(request.place.on_host(request.X))
        raise OverflowError(
            f"X with elements of at most {size:.3g}: the largest element of the kernel is too "
            f"small for {request.dtype}: {_expected(request)}"
        )


def require_gradients_in_range(request: KernelRequest, pairs: Sequence[tuple[int, int]]) -> None:
    """Raise OverflowError if the gradients that pairs were found among left the range of numbers.

    A gradient that is not finite has no angle to others and would be left out like one that is 0.
    The largest samples are looked at, which have the largest gradients but for a small factor, and
    the first of the pairs.
    """
    X = request.place.on_host(request.X)
    sizes = np.abs(X).max(axis=1)
    several = len(X) - min(_LARGEST, len(X))
    found = {int(i) for i in np.argpartition(sizes, several)[several:]}
    rows = sorted(found.union(*pairs[:1]))
    diagonals = _diagonals(request, request.network.network, np.ascontiguousarray(X[rows]))
    require_diagonals_in_range(request, rows, diagonals)
    if len(rows) < len(X):
        _require_not_vanished(request, diagonals)


def free_of_scale(network: Network, X: Any) -> Any:
    """Return samples of moderate size with the same angles between their gradients, if there are.

    Gradients of a network without biases whose activation is linear on either side of 0, as ReLU
    is, are multiples of the size of the sample. Samples that are large or small, whose kernel could
    leave the range, are multiplied by a power of two, which loses no digit.
    Others, those on a GPU, and those of very different sizes are returned as they are.
    """
    layers = (*network.hidden, *(readout.layer for readout in network.readouts))
    if (
        not isinstance(X, np.ndarray)
        or network.activation.slopes is None
        or any(layer.bias is not None for layer in layers)
    ):
        return X
    sizes = np.abs(X).max(axis=1)
    _, exponents = np.frexp(sizes[sizes > 0])
    largest = int(exponents.max(initial=np.iinfo(exponents.dtype).min))
    if not exponents.size or abs(largest) <= _MODERATE:
        return X
    if exponents.min() < largest - _SPREAD[X.dtype.name]:
        return X
    scaled = np.ldexp(X, -largest)
    return scaled if np.array_equal(np.ldexp(scaled, largest), X) else X


def require_finite_outputs(network: Network, X: Any, outputs: Any) -> None:
    """Raise OverflowError if outputs (n, C) at samples, on the host, are not all finite."""
    if isinstance(outputs, np.ndarray) and not np.isfinite(outputs).all():
        i = int(np.argmin(np.isfinite(outputs).all(axis=1)))
        raise OverflowError(
            f"X[{i}] with elements of at most {_size(X[i]):.3g}: the outputs of the network are "
            f"not finite in {network.dtype}: {_advice(network, network.dtype)}"
        )


def require_finite_products(placed: PlacedNetwork, X: Any, results: Any, **others: Any) -> None:
    """Raise OverflowError if products with derivatives, on the host, are not all finite.

    Parameters
    ----------
    placed : PlacedNetwork
    X : array
        The samples, as the place of the network has them.
    results : array
        What was computed.
    **others : array
        What the derivatives were multiplied with, by the names of the arguments.
    """
    if not isinstance(results, np.ndarray) or _all_finite(results):
        return
    if not all(_all_finite(np.asarray(values)) for values in others.values()):
        return  # what is not a number stays so, as in products of NumPy
    given = {"X": placed.place.on_host(X), **others}
    sizes = [
        f"{name} with elements of at most {_size(np.asarray(values)):.3g}"
        for name, values in given.items()
    ]
    network = placed.network
    smaller = "".join(f"smaller {name}, " for name in others)
    raise OverflowError(
        f"{' and '.join(sizes)}: the result is not finite in {results.dtype}: "
        f"{_advice(network, network.dtype).replace('expected ', f'expected {smaller}', 1)}"
    )


def _all_finite(values: NDArray[Any]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    # The sum of finite numbers can overflow.
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())


def _require_sums(request: KernelRequest, rows: slice, kernels: Sequence[FloatArray]) -> None:
    for kernel in kernels:
        if not _all_finite(kernel):
            finite = np.isfinite(kernel).all(axis=1)
            raise _not_finite(request, rows.start + int(np.argmin(finite)))


def _not_finite(request: KernelRequest, row: int) -> OverflowError:
    X = request.place.on_host(request.X)
    return OverflowError(
        f"X[{row}] with elements of at most {_size(X[row]):.3g} (of all samples {_size(X):.3g}): "
        f"its kernel is not finite in {request.dtype}: {_expected(request)}"
    )


def _size(values: NDArray[Any]) -> float:
    return float(np.abs(values).max())


def _expected(request: KernelRequest) -> str:
    return _advice(request.network.network, request.dtype)


def _advice(network: Network, dtype: FloatDType) -> str:
    layers = (*network.hidden, *(readout.layer for readout in network.readouts))
    if not all(np.isfinite(layer.weights).all() for layer in layers):
        return "the weights of the network are not finite"
    single = np.dtype(np.float32) in {network.dtype, dtype}
    return "expected samples, weight_std, bias_std and activation_scale that keep it in range" + (
        ", or a network of float64 (net.astype('float64')) and dtype='float64'" if single else ""
    )


def _of_larger_samples(request: KernelRequest) -> NDArray[np.bool_]:
    """Return which kernels are not 0 in float64, for samples of size 1 in the same directions.

    The core's activations are either positive multiples of powers on both sides of 0, to which the
    size of the samples makes no difference, or not 0 around 0. Others may be.
    """
    X = request.place.on_host(request.X)[:_SAMPLES].astype(np.float64)
    sizes = np.abs(X).max(axis=1, keepdims=True)
    X = np.ascontiguousarray(X[sizes[:, 0] > 0] / sizes[sizes[:, 0] > 0])
    if len(X) == 0 or not request.network.network.activation.in_core:
        return np.zeros(request.count, dtype=np.bool_)
    exact = request.network.network.with_dtype(np.dtype(np.float64))
    diagonals = _diagonals(replace(request, dtype=np.dtype(np.float64)), exact, X)
    active = [bool(diagonal.any()) for diagonal in diagonals]
    return np.array(active if request.split == "none" else [any(active)])


def _diagonals(request: KernelRequest, network: Network, X: FloatArray) -> list[FloatArray]:
    """Return the diagonals of the kernels of a few samples on the host, whatever they are."""
    placed = PlacedNetwork(network, PROCESSOR)
    outs = [np.empty((len(X), len(X)), request.dtype) for _ in range(request.count)]
    outputs = (request.outputs.start, len(request.outputs))
    PROCESSOR.fill(
        outs,
        lambda matrices, where: PROCESSOR.core.ntk(
            placed.handle, outputs, request.split, X, None, matrices, where, None
        ),
    )
    return [np.diagonal(out) for out in outs]
