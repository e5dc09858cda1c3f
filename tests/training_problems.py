# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Problems to train on, the order of their batches, and whether two runs are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import fastntk

Array = npt.NDArray[Any]


def problem(
    loss: str, n: int = 12, d: int = 5, outputs: int = 3, seed: int = 0
) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if loss == "mse":
        return X, rng.standard_normal((n, outputs))
    return X, rng.integers(0, outputs, n)


def rows_of(y: Array, outputs: int = 3) -> Array:
    return np.eye(outputs)[y] if y.ndim == 1 else y


def orders(n: int, batch: int, epochs: int, seed: int) -> list[npt.NDArray[np.intp]]:
    """The batches of all epochs, one after the other."""
    result: list[npt.NDArray[np.intp]] = []
    for epoch in range(epochs):
        order = np.arange(n)
        if batch < n:
            stream = np.random.Philox(np.random.SeedSequence(seed, spawn_key=(epoch,)))
            order = np.random.Generator(stream).permutation(n)
        result += [order[first : first + batch] for first in range(0, n, batch)]
    return result


def parameters(net: fastntk.MLP | fastntk.FiniteNetwork) -> list[Array]:
    return [array for layer in net.network.layers for array, _ in layer.arrays]


def assert_same_bits(
    a: fastntk.MLP | fastntk.FiniteNetwork, b: fastntk.MLP | fastntk.FiniteNetwork
) -> None:
    assert all(np.array_equal(x, y) for x, y in zip(parameters(a), parameters(b), strict=True))


def assert_same_history(a: fastntk.History[Any], b: fastntk.History[Any]) -> None:
    left, right = a.to_frame(), b.to_frame()
    assert left.drop(columns="seconds").equals(right.drop(columns="seconds"))
    assert (a.status, a.probe) == (b.status, b.probe)
    assert_same_bits(a.net, b.net)
