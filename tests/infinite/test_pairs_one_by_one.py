# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A kernel of many pairs has at each place what the pair has by itself.

Formulas are checked at single pairs elsewhere, and kernels of a set with itself are symmetric: a
row in place of a column shows in kernels of two sets alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from activation_cases import FUNCTIONS, identify

from fastntk import infinite

if TYPE_CHECKING:
    from fastntk.activations import Activation

RNG = np.random.default_rng(11)
X = RNG.standard_normal((2, 4)) * np.array([[1.0], [0.3]])
Z = np.concatenate([RNG.standard_normal((2, 4)), X[1:2] + 1e-9, -X[:1] - 1e-8])

# A layer of one kind before another takes the recursion for all of them.
MIXED: list[Any] = [["relu", "erf"], ["abs", "gelu", "leaky_relu"], ["sign", "relu"]]


def require_the_same(activation: Any, bias_std: float) -> None:
    depth = len(activation) if isinstance(activation, list) else 2
    net = infinite.Network(depth, activation, weight_std=0.8, bias_std=bias_std)
    kinds = [net.nngp]
    if all(dual.no_derivative is None for dual in net.layers.duals):
        kinds.append(net.ntk)
    for kernel in kinds:
        K = kernel(X, Z)
        for i, x in enumerate(X):
            for j, z in enumerate(Z):
                alone = kernel(x[np.newaxis], z[np.newaxis])[0, 0]
                assert K[i, j] == pytest.approx(alone, rel=1e-11, abs=1e-13 * np.abs(K).max())
        np.testing.assert_allclose(kernel(Z, X), K.T, rtol=1e-11, atol=1e-13 * np.abs(K).max())


@pytest.mark.parametrize("activation", FUNCTIONS, ids=identify)
def test_activations(activation: Activation) -> None:
    require_the_same(activation, 0.3)


@pytest.mark.parametrize("activations", MIXED, ids="-".join)
@pytest.mark.parametrize("bias_std", [0.0, 0.3])
def test_several_activations(activations: list[Any], bias_std: float) -> None:
    require_the_same(activations, bias_std)
