# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The tangent kernel as an operator whose rows are in blocks, here without a cluster.

With one: tests/test_cluster.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tolerances import assert_close

import fastntk
from fastntk._support import worker_memory
from fastntk._support.worker_memory import KEPT
from fastntk.kernels.features import Features
from fastntk.linearity import kernel_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

da = pytest.importorskip("dask.array", reason="needs fastntk[distributed]")
zarr = pytest.importorskip("zarr", reason="needs fastntk[distributed]")
dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((150, 6))
NET = fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=2)
SOME = [7, 149, 0, 7, 64]


@pytest.fixture(autouse=True)
def in_this_thread() -> Iterator[None]:
    KEPT.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize("chunks", [37, 1000])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"outputs": 1, "dtype": "float32"},
        {"outputs": "full"},
        {"layer_weights": [1, 0, 0.5]},
    ],
)
def test_the_bits_of_blocks_in_this_process(chunks: int, options: dict[str, Any]) -> None:
    here = NET.ntk_operator(X, block_rows=chunks, **options)
    spread = distributed.ntk_operator(NET, X, chunks=chunks, **options)
    assert (spread.shape, spread.dtype) == (here.shape, here.dtype)
    V = RANDOM.standard_normal((here.shape[0], 2))
    assert np.array_equal(spread @ V, here @ V)
    assert np.array_equal(spread @ V[:, 0], here @ V[:, 0])
    assert np.array_equal(spread.diagonal(), here.diagonal())
    assert np.array_equal(spread.columns(SOME), here.columns(SOME))


def test_samples_of_dask_and_zarr() -> None:
    expected = NET.ntk_operator(X, block_rows=40) @ np.ones(150)
    stored = zarr.create_array({}, shape=X.shape, chunks=(50, 6), dtype="f8")
    stored[:] = X
    for given in (stored, da.from_array(X, chunks=(30, 2))):
        K = distributed.ntk_operator(NET, given, chunks=40)
        assert np.array_equal(K @ np.ones(150), expected)
        assert_close(K.columns(SOME), NET.ntk(X)[:, SOME], "float64")


def test_features_are_kept_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(Features):
        def __init__(self, network: Any, samples: Any, *given: Any, **named: Any) -> None:
            made.append(len(samples))
            super().__init__(network, samples, *given, **named)

    monkeypatch.setattr(kernel_rows, "Features", Counted)
    K = distributed.ntk_operator(NET, X, chunks=50, outputs=0)
    first = K @ np.ones(150)
    assert np.array_equal(K @ np.ones(150), first)
    assert made == [50] * 3
    KEPT.clear()
    made.clear()
    monkeypatch.setattr(worker_memory, "_room", lambda: 1.0)  # for a single block at a time
    assert np.array_equal(K @ np.ones(150), first)
    assert made == [50] * 6


def test_weights_that_change_later_do_not_change_the_operator() -> None:
    net = fastntk.MLP([6, 8, 1])
    K = distributed.ntk_operator(net, X, chunks=64)
    before = K @ np.ones(150)
    net.weights[0][0, 0] += 1.0
    KEPT.clear()
    assert np.array_equal(K @ np.ones(150), before)


def test_conjugate_gradients_of_blocks() -> None:
    targets = RANDOM.standard_normal((150, 2))
    K = distributed.ntk_operator(NET, X, chunks=64, outputs=2)
    found = fastntk.conjugate_gradients(K, targets, ridge=0.1, preconditioner_rank=30)
    assert found.converged.all()
    expected = np.linalg.solve(NET.ntk(X, outputs=2) + 0.1 * np.eye(150), targets)
    np.testing.assert_allclose(found.coefficients, expected, rtol=0, atol=1e-6)
    local = NET.ntk_operator(X, block_rows=64, outputs=2)
    same = fastntk.conjugate_gradients(local, targets, ridge=0.1, preconditioner_rank=30)
    assert np.array_equal(found.coefficients, same.coefficients)


def test_products_that_leave_the_range() -> None:
    K = distributed.ntk_operator(NET, X, chunks=64)
    with pytest.raises(OverflowError, match=r"vectors with elements of at most 1e\+308: the resu"):
        K @ np.full(150, 1e308)
    assert np.isnan(K @ np.full(150, np.nan)).all()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"net": 3}, TypeError, "net=3: expected a network of finite or infinite width"),
        ({"outputs": "diagonal"}, TypeError, "outputs='diagonal': expected 'trace', 'full' or an"),
        ({"chunks": 0}, ValueError, "chunks=0: expected an integer of at least 1, or 'auto'"),
        ({"client": "local"}, TypeError, "client='local': expected a distributed.Client"),
        ({"X": np.full((3, 6), np.nan)}, ValueError, r"X\[0, 0\]=.*nan"),
        ({"X": np.full((3, 6), 1e200)}, OverflowError, r"^X\[0\] with elements of at most 1e\+200"),
    ],
)
def test_bad_arguments(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        distributed.ntk_operator(**{"net": NET, "X": X, **given})


@pytest.mark.parametrize("outputs", ["trace", "full"])
def test_products_that_have_no_digits(outputs: Any) -> None:
    """As in this process: not where large terms add up to nothing, nor where a kernel is 0."""
    here = NET.ntk_operator(X, block_rows=50, outputs=outputs)
    spread = distributed.ntk_operator(NET, X, chunks=50, outputs=outputs)
    ones: Any = np.ones(here.shape[0])
    for K in (here, spread):
        with pytest.raises(OverflowError, match="too small for float64"):
            K @ (1e-312 * ones)
        assert not (K @ (0 * ones)).any()
        assert np.shape(K @ np.zeros((len(ones), 0))) == (len(ones), 0)
    dead = distributed.ntk_operator(fastntk.MLP([6, 9, 3]), 0 * X, chunks=50, outputs=outputs)
    assert not (dead @ ones).any()


def test_custom_functions_stay_here() -> None:
    mine = fastntk.activations.custom(lambda x: x**3, lambda x: 3 * x * x, name="mine")
    net = fastntk.MLP([X.shape[1], 8, 1], activation=mine)
    for call in (distributed.ntk_operator, distributed.ntk):
        with pytest.raises(ValueError, match=r"nor go to the workers of a cluster"):
            call(net, X)
