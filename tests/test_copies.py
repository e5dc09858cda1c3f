# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Copies and pickles of what computes: the same results to the last bit."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk import infinite

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.random.default_rng(0).standard_normal((20, 5))
V = np.random.default_rng(1).standard_normal((20, 3))
NET = fastntk.MLP([5, 16, 2], bias_std=0.1)


def in_use() -> infinite.Network:
    """Return a network with compiled loops, which lie elsewhere in another process."""
    limit = infinite.Network(1, "erf", bias_std=0.1)
    limit.ntk(X)
    return limit


# How it is made, and what is asked of it.
MADE: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "operator": (lambda: NET.ntk_operator(X), lambda K: K @ V),
    "operator of an output": (
        lambda: NET.ntk_operator(X, outputs=1, dtype="float32"),
        lambda K: K @ V,
    ),
    "operator of all pairs": (
        lambda: NET.ntk_operator(X, outputs="full", layer_weights=[1.0, 0.5]),
        lambda K: K @ np.repeat(V, 2, axis=0),
    ),
    "operator of blocks": (lambda: NET.ntk_operator(X, block_rows=3), lambda K: K @ V),
    "composed operator": (lambda: 2 * NET.ntk_operator(X), lambda K: K @ V),
    "packed": (lambda: NET.ntk(X, out="packed"), lambda K: K @ V),
    "fit": (
        lambda: NET.linearize().fit(X, V[:, :2], layer_weights=[1.0, 0.5]),
        lambda fit: (
            fit.outputs(X[:3], time=1.0),
            fit.loss(time=[1.0, np.inf]),
            fit.parameter_change(time=2.0),
            fit.eigenvalues,
        ),
    ),
    "fit of each output": (
        lambda: NET.linearize().fit(X, V[:, :2], outputs="diagonal"),
        lambda fit: fit.outputs(X[:3], time=1.0),
    ),
    "fit by conjugate gradients": (
        lambda: NET.linearize().fit(X, V[:, :2], solver="cg", ridge=0.1),
        lambda fit: (fit.outputs(X[:3]), fit.parameter_change(), fit.residuals),
    ),
    "network": (lambda: NET, lambda net: (net.ntk(X), net(X))),
    "linear model": (NET.linearize, lambda model: model(X, np.ones(NET.n_parameters))),
    "regression": (
        lambda: infinite.Regression(X, depth=2),
        lambda regression: regression.predict(X[:3], V, time=3.0).mean,
    ),
    "regression by conjugate gradients": (
        lambda: infinite.Regression(X, depth=2, ridge=0.1, solver="cg"),
        lambda regression: regression.predict(X[:3], V).mean,
    ),
    "limit": (lambda: infinite.Network(depth=2), lambda net: net.ntk(X)),
    "limit in use": (in_use, lambda net: net.ntk(X)),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": partial(
            lambda made, protocol: pickle.loads(pickle.dumps(made, protocol)), protocol=protocol
        )
        for protocol in (2, pickle.HIGHEST_PROTOCOL)
    },
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", MADE)
def test_copies_give_the_same_bits(name: str, how: str) -> None:
    make, asked = MADE[name]
    made = make()
    copied = COPIES[how](made)
    assert type(copied) is type(made)
    expected, found = asked(made), asked(copied)
    if not isinstance(expected, tuple):
        expected, found = (expected,), (found,)
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


def test_pickled_operators_are_small() -> None:
    """They hold weights and samples, and not the features."""
    net, samples = fastntk.MLP([5, 300, 1]), np.ones((500, 5))
    size = len(pickle.dumps(net.ntk_operator(samples)))
    weights = sum(layer.nbytes for layer in net.weights)
    assert size < weights + samples.nbytes + 4000 < 2 * 500 * 300 * 8


@pytest.mark.parametrize("what", ["weights", "samples"])
def test_an_operator_of_what_has_changed_since_is_not_pickled(what: str) -> None:
    net, samples = fastntk.MLP([5, 16, 1]), X.copy()
    operator = net.ntk_operator(samples)
    (net.weights[0] if what == "weights" else samples)[0, 0] += 1e-9
    expected = operator @ V
    with pytest.raises(pickle.PicklingError, match="have been changed since this operator"):
        pickle.dumps(operator)
    assert np.array_equal(copy.deepcopy(operator) @ V, expected)
