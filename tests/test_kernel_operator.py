# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Elements of a tangent kernel that is not formed, and its products from blocks of samples."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tolerances import assert_close

import fastntk
from fastntk.linearity import kernel_operator
from fastntk.linearity.kernel_rows import tree_sum

X = np.random.default_rng(0).standard_normal((150, 6))
NET = fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=2)
SOME = [7, 149, 0, 7, 64]


def normal(*shape: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(1).standard_normal(shape)


@pytest.mark.parametrize("block_rows", [None, 64, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", ["trace", 1])
def test_elements_are_those_of_the_kernel(outputs: Any, dtype: str, block_rows: Any) -> None:
    options: dict[str, Any] = {
        "outputs": outputs,
        "dtype": dtype,
        "layer_weights": [1.0, 0.5, 0.25],
    }
    for net in (NET, fastntk.MLP([6, 260, 300, 2], dtype=dtype)):
        K, operator = net.ntk(X, **options), net.ntk_operator(X, block_rows=block_rows, **options)
        assert operator.diagonal().dtype == operator.columns([0]).dtype == K.dtype
        assert_close(operator.diagonal(), np.diagonal(K), dtype)
        assert_close(operator.columns(SOME), K[:, SOME], dtype)


@pytest.mark.parametrize("block_rows", [None, 64])
def test_elements_of_all_pairs_of_outputs(block_rows: Any) -> None:
    options: dict[str, Any] = {"outputs": "full", "layer_weights": [1.0, 0.5, 0.25]}
    K = NET.ntk(X, **options).transpose(0, 2, 1, 3).reshape(450, 450)
    operator = NET.ntk_operator(X, block_rows=block_rows, **options)
    some = [7, 449, 0, 7, 200, 8]
    assert np.array_equal(operator.diagonal(), np.diagonal(K))
    assert np.array_equal(operator.columns(some), K[:, some])


def test_elements_of_a_network_in_single_precision() -> None:
    net = NET.astype("float32")
    operator = net.ntk_operator(X, dtype="float64")
    K = NET.ntk(X)
    assert_close(operator.columns(SOME), K[:, SOME], "float32")
    # Those of the operator's own products, to all digits of float64.
    assert_close(operator.columns(SOME), operator @ np.eye(150)[:, SOME], "float64")
    assert_close(operator.diagonal(), np.diagonal(operator @ np.eye(150)), "float64")


@pytest.mark.parametrize("outputs", ["trace", "full", 2])
def test_products_from_blocks(outputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With features that are kept, or some, or none, the same bits."""
    whole = NET.ntk_operator(X, outputs=outputs)
    V = normal(whole.shape[0], 2)
    found = []
    for fit in (4, 0, 2):
        monkeypatch.setattr(
            kernel_operator._LocalProducts, "_blocks_that_fit", lambda _, fit=fit: fit
        )
        operator = NET.ntk_operator(X, outputs=outputs, block_rows=40)
        assert_close(operator @ V, whole @ V, "float64")
        found.append(operator @ V)
        assert np.array_equal(pickle.loads(pickle.dumps(operator)) @ V, found[0])
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(NET.ntk_operator(X, outputs=outputs, block_rows=150) @ V, whole @ V)


def test_what_changes_later_does_not_change_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_operator, "_KEPT_SHARE", 0.0)
    net, samples = fastntk.MLP([6, 8, 1]), X.copy()
    operator = net.ntk_operator(samples, block_rows=50)
    before = operator @ normal(150)
    net.weights[0][0, 0] += 1.0
    samples[0, 0] += 1.0
    assert np.array_equal(operator @ normal(150), before)


@pytest.mark.parametrize(
    ("count", "tree"),
    [
        (1, "0"),
        (2, "(01)"),
        (3, "((01)2)"),
        (5, "(((01)(23))4)"),
        (7, "(((01)(23))((45)6))"),
        (8, "(((01)(23))((45)(67)))"),
    ],
)
def test_the_tree(count: int, tree: str) -> None:
    assert tree_sum(map(str, range(count)), lambda a, b: f"({a}{b})") == tree


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([150], r"indices\[0\]=150: expected an integer of at least 0 and at most 149"),
        ([0, -1], r"indices\[1\]=-1: expected"),
        ([], r"indices=\[\]: expected at least one integer"),
    ],
)
def test_bad_indices(indices: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NET.ntk_operator(X).columns(indices)


def test_bad_blocks() -> None:
    with pytest.raises(ValueError, match="block_rows=0: expected an integer of at least 1"):
        NET.ntk_operator(X, block_rows=0)
