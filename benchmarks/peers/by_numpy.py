# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What NumPy and SciPy make of the workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy
from scipy.linalg import eigvalsh

from benchmarks.peers.serving import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.peers.serving import Prepare

    Array = npt.NDArray[Any]


def ntk_by_hand(X: Array, weights: Sequence[Array]) -> Array:
    """Return the kernel as a careful NumPy user computes it: the same structure, whole matrices."""
    scales = [1 / np.sqrt(w.shape[1]) for w in weights]
    hs, gates = [X], []
    for w, scale in zip(weights[:-1], scales, strict=False):
        z = np.asarray(scale, X.dtype) * (hs[-1] @ w.T)
        gates.append((np.sqrt(2) * (z > 0)).astype(X.dtype))
        hs.append(z * gates[-1])
    K: Array = hs[-1] @ hs[-1].T * np.asarray(scales[-1] ** 2, X.dtype)
    delta = np.ones((len(X), 1), X.dtype)
    for layer in reversed(range(len(gates))):
        delta = gates[layer] * (
            np.asarray(scales[layer + 1], X.dtype) * (delta @ weights[layer + 1])
        )
        gram = hs[layer] @ hs[layer].T * np.asarray(scales[layer] ** 2, X.dtype)
        gram *= delta @ delta.T
        K += gram
    return K


def weights_of(arrays: Mapping[str, Any]) -> list[Any]:
    """Return W0, W1, … of the arrays of a workload."""
    return [arrays[f"W{i}"] for i in range(sum(name.startswith("W") for name in arrays))]


def _ntk(arrays: Mapping[str, Any], _: Mapping[str, Any]) -> Callable[[], Any]:
    X, weights = arrays["X"], weights_of(arrays)
    return lambda: ntk_by_hand(X, weights)


def _eigvalsh(arrays: Mapping[str, Any], _: Mapping[str, Any]) -> Callable[[], Any]:
    K = arrays["K"]

    def ends() -> Any:
        values = eigvalsh(K)
        return [values[0], values[-1]]

    return ends


PREPARE: dict[str, Prepare] = {"ntk": _ntk, "conditioning": _eigvalsh}


if __name__ == "__main__":
    serve(PREPARE, {"numpy": np.__version__, "scipy": scipy.__version__})
