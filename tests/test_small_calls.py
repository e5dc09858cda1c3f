# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What small calls do beside their arithmetic: counted, not timed."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import fastntk
import fastntk._core as _core
from fastntk._support import blas_threads, memory, threads
from fastntk._support.blas_threads import SingleThreadedBlas
from fastntk.networks.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.random.default_rng(0).standard_normal((20, 10))
Y = np.zeros((20, 1))


def train(net: fastntk.MLP) -> fastntk.History:
    return fastntk.train(net, X, Y, loss="mse", learning_rate=1e-3)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often the costly questions were asked."""
    result: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            result[name] += 1
            return function(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    count(memory, "available_memory")
    count(os, "open")
    count(SingleThreadedBlas, "enter")
    count(Network, "new_handle")
    count(np.random, "SeedSequence")
    return result


@pytest.mark.parametrize("call", [train, lambda net: net.ntk(X), lambda net: net(X[:1])])
def test_a_small_call_asks_once_or_not_at_all(
    call: Callable[[fastntk.MLP], object], calls: Counter[str]
) -> None:
    net = fastntk.MLP([10, 64, 64, 1])
    calls.clear()
    call(net)
    assert calls == {"enter": 1, "new_handle": 1}
    calls.clear()
    call(net)
    assert calls == {"enter": 1}


def test_a_small_call_reads_no_memory_that_a_large_one_does(calls: Counter[str]) -> None:
    net = fastntk.MLP([10, 64, 64, 1])
    net.ntk(np.ones((400, 10)))
    assert calls["available_memory"] == 1
    assert calls["open"] >= 1


def test_a_blas_of_one_thread_is_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[tuple[str, int]] = []
    libraries = {"one": 1, "many": 4, "some": 2}
    counts = [
        (lambda n=n: n, lambda n, name=name: set_to.append((name, n)))
        for name, n in libraries.items()
    ]
    monkeypatch.setattr(blas_threads, "_counts", lambda: counts)
    blas = SingleThreadedBlas()
    for _ in range(2):
        assert blas.enter(shared=False) == 1
        assert set_to == [("many", 1), ("some", 1)]
        blas.leave(shared=False)
        assert set_to[2:] == [("many", 4), ("some", 2)]
        set_to.clear()


def test_a_pool_asks_for_the_room_that_is_not_known_of(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def has_address_space(size: int) -> bool:
        asked.append(size / 2**20)
        return True

    monkeypatch.setattr(threads, "has_address_space", has_address_space)
    with threadpool_limits(2, user_api="blas"):
        for jobs, expected in ((2, [28]), (3, [28, 42])):
            found = threads.map_in_threads(abs, range(-6, 0), jobs, threading.Event())
            assert list(found) == [6, 5, 4, 3, 2, 1]
            assert asked == expected
            asked.clear()


def test_a_pool_of_one_has_all_threads() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = [library["num_threads"] for library in blas_threads.blas_libraries()]

        def limits(_: int) -> list[int]:
            return [library["num_threads"] for library in blas_threads.blas_libraries()]

        assert list(threads.map_in_threads(limits, range(2), 1, threading.Event())) == 2 * [before]


def test_copies_have_views_of_their_own() -> None:
    net = fastntk.MLP([10, 6, 1])
    K, handle = net.ntk(X), net.network.handle()
    assert net.network.handle() is handle
    for twin in (copy.copy(net.network), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        network = twin if isinstance(twin, Network) else twin.network
        assert network.handle() is not handle
        assert np.array_equal(fastntk.MLP.of_network(network).ntk(X), K)
    doubled = copy.deepcopy(net)
    doubled.weights[1][...] *= 2.0
    assert not np.array_equal(doubled.ntk(X), K)
    assert np.array_equal(net.ntk(X), K)


@pytest.mark.parametrize("psi", ["identity", "tanh", "softmax"])
@pytest.mark.parametrize("bias_std", [0.0, 0.3])
@pytest.mark.parametrize("widths", [[10, 3], [10, 6, 5, 3]])
def test_a_network_with_weights_of_its_own(psi: str, bias_std: float, widths: list[int]) -> None:
    net = fastntk.MLP(widths, output_activation=psi, bias_std=bias_std)
    network = net.network.with_kernel_weights([(0.5, 2.0)] * (len(widths) - 1))
    results = [fastntk.MLP.of_network(network.copy())]  # without a view, and with a copy of one
    expected = fastntk.MLP.of_network(network).ntk(X)
    results.append(fastntk.MLP.of_network(network.copy()))
    assert "handle_on_processor" in vars(results[1].network)
    for result in results:
        assert np.array_equal(result.ntk(X), expected)
        for layer in result.network.layers:
            layer.weights[...] = 0.0
            if layer.bias is not None:
                layer.bias[...] = 0.0
        assert not np.array_equal(result(X), net(X))
        assert np.array_equal(result(X[:5]), result(X[5:10]))
    assert np.array_equal(fastntk.MLP.of_network(network).ntk(X), expected)


def test_parameters_of_other_layers_are_refused() -> None:
    net = fastntk.MLP([10, 6, 3])
    handle, arrays = net.network.handle(), [(w, None) for w in net.weights]
    with pytest.raises(ValueError, match="arrays: expected one entry for each layer of a network"):
        handle.with_parameters(arrays[:1])
    with pytest.raises(ValueError, match="weights: expected a matrix with 6 columns"):
        handle.with_parameters([arrays[0], (np.ones((3, 5)), None)])


def test_a_view_sees_what_becomes_of_the_weights() -> None:
    net = fastntk.MLP([10, 6, 1])
    before, weights = net(X), net.weights[1]
    weights *= 2.0
    assert np.array_equal(net(X), 2.0 * before)


@pytest.mark.parametrize("seed", range(5))
def test_threads_may_share_a_network_from_the_first_call_on(seed: int) -> None:
    net = fastntk.MLP([10, 30, 30, 1], seed=seed)
    results: list[Any] = []
    meeting = threading.Barrier(4)

    def work() -> None:
        meeting.wait(60)
        results.append(net.ntk(X))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 4
    assert all(np.array_equal(K, net.ntk(X)) for K in results)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_how_far_parameters_have_moved(dtype: str) -> None:
    """To the bits that NumPy's sums of blocks have."""
    rng = np.random.default_rng(0)
    total, largest, arrays = 0.0, 0.0, []
    for count in (
        1,
        7,
        8,
        9,
        63,
        127,
        128,
        129,
        1000,
        4097,
        2**16 - 1,
        2**16,
        2**16 + 9,
        3 * 2**16,
    ):
        now, then = (rng.standard_normal(count).astype(dtype) for _ in range(2))
        arrays.append((now, then))
        difference = now.astype(np.float64) - then.astype(np.float64)
        for first in range(0, count, 2**16):
            total += float(np.square(difference[first : first + 2**16]).sum())
        largest = max(largest, float(np.abs(difference).max()))
        found = _core.parameter_change([now for now, _ in arrays], [then for _, then in arrays])
        assert found == (total, largest)


@pytest.mark.parametrize("n", [1, 2, 9, 20, 130, 9001])
def test_mean_outcomes(n: int) -> None:
    """To the bits of NumPy's means of columns."""
    outcomes = np.random.default_rng(n).standard_normal((n, 2)) ** 2
    assert _core.mean_outcomes(outcomes) == tuple(outcomes.mean(axis=0).tolist())


@pytest.mark.parametrize("where", [0, 5, 11])
def test_a_parameter_that_is_not_a_number_is_not_lost(where: int) -> None:
    now = np.arange(12.0)
    now[where] = np.nan
    square, largest = _core.parameter_change([now, np.ones(3)], [np.zeros(12), np.full(3, 9.0)])
    assert np.isnan(square)
    assert np.isnan(largest)
    now[where] = -np.inf
    assert _core.parameter_change([now], [np.zeros(12)]) == (np.inf, np.inf)


def test_arrays_that_do_not_fit_are_refused() -> None:
    a = np.ones((2, 3))
    with pytest.raises(ValueError, match="then: expected as many arrays as now"):
        _core.parameter_change([a, a], [a])
    with pytest.raises(ValueError, match="then: expected arrays of the sizes of now"):
        _core.parameter_change([a, a], [a, np.ones(5)])
    with pytest.raises(TypeError):
        _core.parameter_change([a], [a.astype(np.float32)])  # type: ignore[arg-type, unused-ignore]
