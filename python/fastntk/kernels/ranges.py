# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that leave the range of their numbers: an error instead of inf, NaN or 0.

Samples and weights are finite, but products of them need not be. By the Cauchy-Schwarz inequality
no element of K(X, X) is larger than the largest of its diagonal, which is therefore all that has to
be looked at: n of n² elements, wherever they lie. Of K(X, Z) it is the sum, which no element that
is not finite leaves finite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import SMALLEST_NORMAL
from fastntk.devices.gpu_arrays import device_matrix
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.existence import kernels_exist, outputs_vanished, wired_passes
from fastntk.kernels.request import KernelRequest
from fastntk.networks.network import Network
from fastntk.networks.placed import PlacedNetwork
from fastntk.symmetric.arrays import on_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork

# So many of the largest samples are looked at for gradients that are not finite.
_LARGEST = 4


# Samples that differ in size by no more than so many powers of two can be scaled together.
_SPREAD = {"float32": 50, "float64": 200}

# So far from 1, in powers of two, samples may be without being scaled: no kernel of usual weights
# leaves the range.
_MODERATE = 8


class KernelRanges:
    """What is seen of the kernels of a request, block by block: nothing that left the range.

    A kernel of which nothing is left but 0, or numbers with fewer digits than others, is as wrong
    as one that is infinite. It is right where no unit is active, or X is 0. Of a `part` of kernels
    that is not known: other parts may have large elements.
    """

    def __init__(self, request: KernelRequest, *, part: bool = False) -> None:
        self._request = request
        self._largest = [0.0] * request.count
        self._left: float = len(request.X) if request.symmetric else math.prod(request.shape)
        if part:
            self._left = math.inf

    def look_at(self, rows: slice, cols: slice, kernels: Sequence[Any]) -> None:
        """Raise OverflowError if a block of the kernels left the range, or with it all of them."""
        if not self._request.symmetric:
            self._look_at_elements(rows, cols, kernels)
        elif rows == cols:
            place = self._request.place
            diagonals = [_diagonal(kernel, place) for kernel in kernels]
            self.look_at_diagonals(range(rows.start, rows.stop), diagonals)

    def look_at_diagonals(self, rows: Sequence[int], diagonals: Sequence[FloatArray]) -> None:
        """Raise OverflowError if diagonals of kernels K(X, X), of these samples, left the range."""
        self._seen(_largest_of_diagonals(self._request, rows, diagonals), len(rows))

    def _look_at_elements(self, rows: slice, cols: slice, kernels: Sequence[Any]) -> None:
        place = self._request.place
        largest = []
        for kernel in kernels:
            values, xp = _values(kernel, place)
            if not all_finite(values, xp):
                row = _first_row_not_finite(values, xp)
                column = int(np.argmin(on_host(xp.isfinite(values[row]))))
                network, columns = self._request.network.network, place.on_host(self._request.Z)
                require_directions(network, columns, [cols.start + column], "Z")
                raise _not_finite(self._request, rows.start + row)
            # The first row says as a rule that something is left, and then all need not be read.
            found = float(xp.absolute(values[:1]).max())
            if found < SMALLEST_NORMAL[self._request.dtype]:
                found = float(xp.absolute(values).max())
            largest.append(found)
        self._seen(largest, (rows.stop - rows.start) * (cols.stop - cols.start))

    def _seen(self, largest: Sequence[float], count: int) -> None:
        self._largest = list(map(max, self._largest, largest))
        self._left -= count
        if self._left == 0:
            _require_not_vanished(self._request, self._largest)


def _diagonal(kernel: Any, place: Place) -> FloatArray:
    """Return the diagonal of a matrix of NumPy or on a GPU, on the host."""
    if isinstance(kernel, np.ndarray):
        return kernel.diagonal()
    return place.on_host(device_matrix(kernel, "kernel").diagonal)[:, 0]


def _values(kernel: Any, place: Place) -> tuple[Any, Any]:
    """Return a matrix as an array, where it lies if possible, and the module of that array."""
    if isinstance(kernel, np.ndarray):
        return kernel, np
    there = device_matrix(kernel, "kernel")
    try:
        return place.xp.asarray(there), place.xp
    except ImportError:
        return place.on_host(there), np


def _largest_of_diagonals(
    request: KernelRequest, rows: Sequence[int], diagonals: Sequence[FloatArray]
) -> list[float]:
    """Return the largest element of each; raise OverflowError if one is not finite."""
    largest = [float(np.maximum.reduce(np.abs(diagonal))) for diagonal in diagonals]
    for found, diagonal in zip(largest, diagonals, strict=True):
        if not math.isfinite(found):
            raise _not_finite(request, rows[int(np.argmin(np.isfinite(diagonal)))])
    return largest


def _require_not_vanished(request: KernelRequest, of_kernels: Sequence[float]) -> None:
    """Raise OverflowError if the largest elements are too small, and not 0 for good reasons."""
    if request.split != "none":  # parts of one kernel
        of_kernels = [max(of_kernels)]
    least = SMALLEST_NORMAL[request.dtype]
    if min(of_kernels) >= least:
        return
    largest = np.array(of_kernels)
    vanished = largest < least
    sides = {"X": request.place.on_host(request.X)}
    if not request.symmetric:
        sides["Z"] = request.place.on_host(request.Z)
    exist = kernels_exist(request.network.network, request.outputs, *sides.values())
    if largest[vanished].any() or np.array(exist[: len(vanished)])[vanished].any():
        sizes = [
            f"{name} with elements of at most {size_of(side):.3g}" for name, side in sides.items()
        ]
        raise OverflowError(
            f"{' and '.join(sizes)}: the largest element of the kernel is too small for "
            f"{request.dtype}: {_expected(request)}"
        )


def require_gradients_in_range(request: KernelRequest, pairs: Sequence[tuple[int, int]]) -> None:
    """Raise OverflowError if the gradients that pairs were found among left the range of numbers.

    A gradient that is not finite has no angle to others and would be left out like one that is 0.
    The largest samples are looked at, which have the largest gradients but for a small factor, and
    the first of the pairs. Where layers normalize, it is any sample that these cannot.
    """
    X = request.place.on_host(request.X)
    require_normalized(request.network, request.X)
    sizes = np.abs(X).max(axis=1)
    several = len(X) - min(_LARGEST, len(X))
    found = {int(i) for i in np.argpartition(sizes, several)[several:]}
    rows = sorted(found.union(*pairs[:1]))
    diagonals = diagonals_of(request, np.ascontiguousarray(X[rows]))
    _require_not_vanished(request, _largest_of_diagonals(request, rows, diagonals))


def free_of_scale(network: AnyNetwork, X: Any) -> Any:
    """Return samples of moderate size with the same angles between their gradients, if there are.

    See `of_moderate_size` and `rows_of_moderate_size`.
    """
    return rows_of_moderate_size(network, of_moderate_size(network, X)[0])


def rows_of_moderate_size(network: AnyNetwork, X: Any) -> Any:
    """Return the same, but for rows far larger or smaller than 1: these over powers of their own.

    No row depends on others. Samples on a GPU are returned as they are.
    """
    if not isinstance(X, np.ndarray) or not network.is_free_of_scale:
        return X
    exponents = np.frexp(np.abs(X).max(axis=1))[1]
    far = np.abs(exponents) > _SPREAD[X.dtype.name]
    if not far.any():
        return X
    powers = np.where(far, exponents, 0)[:, np.newaxis]
    scaled = np.ldexp(X, -powers)
    exact = (np.ldexp(scaled, powers) == X).all(axis=1)
    return np.where(exact[:, np.newaxis], scaled, X)


def of_moderate_size(network: AnyNetwork, X: Any) -> tuple[Any, int]:
    """Return samples X / 2^k that are neither large nor small, and k.

    Those on a GPU are returned as they are: k = 0; others see `moderating_power`.
    """
    if not isinstance(X, np.ndarray) or not network.is_free_of_scale:
        return X, 0
    sizes = np.abs(X).max(axis=1)
    power = moderating_power(network, np.frexp(sizes[sizes > 0])[1], X.dtype)
    return (np.ldexp(X, -power), power) if power and divides_exactly(X, power) else (X, 0)


def moderating_power(network: AnyNetwork, exponents: NDArray[Any], dtype: FloatDType) -> int:
    """Return the k for which samples X / 2^k are neither large nor small.

    Outputs and gradients of a network without biases whose activation is linear on either side of
    0, as ReLU is, are multiples of the size of the sample. Samples that are large or small, whose
    kernel could leave the range, are multiplied by a power of two, which loses no digit if
    `divides_exactly` says so. For other networks, and samples of very different sizes, k = 0.

    Parameters
    ----------
    network : AnyNetwork
    exponents : ndarray
        Those of the largest elements of all samples that are not zero.
    dtype : dtype
        Of the samples.
    """
    if not exponents.size or not network.is_free_of_scale:
        return 0
    largest, smallest = int(exponents.max()), int(exponents.min())
    if abs(largest) <= _MODERATE or smallest < largest - _SPREAD[dtype.name]:
        return 0
    return largest


def divides_exactly(X: FloatArray, power: int) -> bool:
    """Return whether X / 2^power loses no digit."""
    return np.array_equal(np.ldexp(np.ldexp(X, -power), power), X)


def require_outputs_in_range(placed: PlacedNetwork, X: Any, outputs: Any) -> None:
    """Raise OverflowError if outputs (n, C) at samples left the range of their numbers.

    They have if one is not finite, or if all are too small and not 0 for good reasons.
    """
    network, xp = placed.network, placed.place.xp
    if not all_finite(outputs, xp):
        i = _first_row_not_finite(outputs, xp)
        require_directions(network, placed.place.on_host(X), [i])
        raise OverflowError(
            f"X[{i}] with elements of at most {size_of(placed.place.on_host(X)[i]):.3g}: the "
            f"outputs of the network are not finite in {network.dtype}"
            f"{since_layer(network, placed.place.on_host(X)[i])}: {advice(network, network.dtype)}"
        )
    if is_small(outputs, xp) and outputs_vanished(network, placed.place.on_host(X), outputs):
        raise OverflowError(
            f"X with elements of at most {size_of(placed.place.on_host(X)):.3g}: the largest "
            f"output of the network is too small for {network.dtype}: "
            f"{advice(network, network.dtype)}"
        )


def is_small(results: Any, xp: Any) -> bool:
    """Return whether nothing is left of a result but 0 and numbers with fewer digits than others.

    An empty one is not small.
    """
    if results.size == 0:
        return False
    least = SMALLEST_NORMAL[results.dtype]
    # A few numbers say as a rule that something is left, and then all need not be read.
    first = results[(slice(0, 1),) * (results.ndim - 1)]
    if not float(xp.absolute(first).max()) < least:  # a NaN is not small
        return False
    return bool(max(float(results.max()), -float(results.min())) < least)


def products_are_lost(results: Any, vectors: Any, diagonal: Callable[[], Any]) -> bool:
    """Return whether products K V have no digits: they are small, and so are all their terms.

    Large terms may add up to nothing, and nothing comes of a kernel of 0.

    Parameters
    ----------
    results, vectors : ndarray (n, k)
        Products, and what was multiplied.
    diagonal : callable
        Returns that of the kernel (n,).
    """
    if not is_small(results, np):
        return False
    sizes = np.abs(vectors).max(axis=1)
    if not sizes.any():
        return False
    elements = diagonal().astype(np.float64)
    counted = (elements > 0) & (sizes > 0)
    largest = float((elements * sizes).max())
    return bool(counted.any()) and largest < float(SMALLEST_NORMAL[results.dtype])


def all_finite(values: Any, xp: Any = np) -> bool:
    """Return whether all elements of an array of NumPy, or of `xp`, are finite."""
    if xp is not np:
        return bool(xp.isfinite(values).all())
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    # The sum of finite numbers can overflow.
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())


def _first_row_not_finite(values: Any, xp: Any) -> int:
    return int(np.argmin(on_host(xp.isfinite(values).all(axis=1))))


def require_directions(
    network: AnyNetwork, X: FloatArray, rows: Iterable[int], name: str = "X"
) -> None:
    """Raise ValueError if a layer normalizes what is 0 of one of these samples (n, d)."""
    if isinstance(network, Network):
        return
    for row in rows:
        reason = wired_passes(network).without_direction(X[row])
        if reason is not None:
            raise ValueError(f"{name}[{row}]: {reason}")


def require_normalized(placed: PlacedNetwork, X: Any, name: str = "X") -> None:
    """Raise ValueError if there is a sample that a layer cannot normalize."""
    if not isinstance(placed.network, Network):
        finite = placed.place.xp.isfinite(placed.evaluate(X)).all(axis=1)
        rows = np.flatnonzero(np.logical_not(on_host(finite)))
        require_directions(placed.network, placed.place.on_host(X), rows, name)


def _not_finite(request: KernelRequest, row: int) -> OverflowError:
    X = request.place.on_host(request.X)
    require_directions(request.network.network, X, [row])
    # Either may be at fault for a row of K(X, Z).
    other = request.Z if request.Z is None else request.place.on_host(request.Z)
    beside = "" if other is None else f", beside Z of up to {size_of(other):.3g}"
    return OverflowError(
        f"X[{row}] with elements of at most {size_of(X[row]):.3g} (of all samples "
        f"{size_of(X):.3g}{beside}): its kernel is not finite in {request.dtype}"
        f"{since_layer(request.network.network, X[row])}: {_expected(request)}"
    )


def since_layer(network: AnyNetwork, x: FloatArray) -> str:
    """Return, for errors, which layer of a described network took a sample x (d,) out of range."""
    if isinstance(network, Network):
        return ""
    layer = wired_passes(network).first_beyond(x, float(np.finfo(network.dtype).max))
    return "" if layer is None else f", as the values after {layer} are not"


def size_of(values: NDArray[Any]) -> float:
    """Return the size of the largest element."""
    return float(np.abs(values).max())


def _expected(request: KernelRequest) -> str:
    return advice(request.network.network, request.dtype)


def advice(network: AnyNetwork, dtype: FloatDType) -> str:
    """Return what would bring a result of this precision back into the range of its numbers."""
    arrays = [array for layer in network.all_layers for array, _ in layer.arrays]
    if not all(np.isfinite(array).all() for array in arrays):
        return "the weights of the network are not finite"
    single = np.dtype(np.float32) in {network.dtype, dtype}
    precise = ", or a network of float64 (net.astype('float64')) and dtype='float64'"
    return (
        "expected samples, weight_std, bias_std and scales of activations that keep it in range"
        f"{precise if single else ''}"
    )


def diagonals_of(request: KernelRequest, X: FloatArray) -> list[FloatArray]:
    """Return the diagonals of the kernels of a few samples on the host, whatever they are."""
    placed = PlacedNetwork(request.network.network, PROCESSOR)
    outs = [np.empty((len(X), len(X)), request.dtype) for _ in range(request.count)]
    outputs = (request.outputs.start, len(request.outputs))
    PROCESSOR.fill(
        outs,
        lambda matrices, where: PROCESSOR.core.ntk(
            placed.handle, outputs, request.split, X, None, matrices, where, None
        ),
    )
    return [np.diagonal(out) for out in outs]
