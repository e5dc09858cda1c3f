# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The bound on the learning rate, and the search that starts from it."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import fastntk
from fastntk._support.threads import map_in_threads
from fastntk.linearity import kernel_operator
from fastntk.training import learning_rate_search as module

Array = npt.NDArray[np.float64]

generator = np.random.default_rng(0)
X = generator.standard_normal((90, 6))
LABELS = ((X[:, 0] > 0) + 2 * (X[:, 1] > 0)).astype(int)  # 0 … 3


def largest_eigenvalue(net: fastntk.MLP, samples: Array, **options: Any) -> float:
    """λ_max of the kernel of all outputs, formed."""
    K = net.ntk(samples, outputs="full", **options)
    rows = len(samples) * net.n_outputs
    return float(np.linalg.eigvalsh(K.transpose(0, 2, 1, 3).reshape(rows, rows))[-1])


@pytest.mark.parametrize("layer_rates", [None, [1.0, 0.0, 0.0]])
@pytest.mark.parametrize("outputs", [1, 4])
def test_bound_is_that_of_the_whole_kernel(outputs: int, layer_rates: Any) -> None:
    net = fastntk.MLP([6, 32, 16, outputs], bias_std=0.2)
    top = largest_eigenvalue(net, X, layer_weights=layer_rates)
    for loss, curvature in (("mse", 1.0), ("cross_entropy", 0.5)):
        bound = fastntk.learning_rate_bound(net, X, loss=loss, layer_rates=layer_rates)
        assert bound == pytest.approx(2 * 90 / (curvature * top), rel=2e-3, abs=0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_bound_for_a_handful_of_samples(count: int) -> None:
    net = fastntk.MLP([6, 32, 1])
    bound = fastntk.learning_rate_bound(net, X[:count], loss="mse")
    assert bound == pytest.approx(2 * count / largest_eigenvalue(net, X[:count]), rel=2e-3, abs=0)


def test_bound_takes_few_products(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    products = kernel_operator.KernelProducts.__call__

    def counted(self: Any, V: Array) -> Any:
        passes.append(V.shape[1])
        return products(self, V)

    monkeypatch.setattr(kernel_operator.KernelProducts, "__call__", counted)
    net = fastntk.MLP([6, 64, 64, 4], bias_std=0.2, seed=3)
    bound = fastntk.learning_rate_bound(net, X, loss="mse")
    assert passes == [2] * len(passes)
    assert len(passes) < 12
    # The error of the eigenvalue, which is far below the residual at which the method stops.
    assert bound == pytest.approx(2 * 90 / largest_eigenvalue(net, X), rel=1e-4, abs=0)


def test_bound_does_not_depend_on_threads() -> None:
    net = fastntk.MLP([6, 64, 64, 4], dtype="float32")
    bounds = set()
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            bounds.add(fastntk.learning_rate_bound(net, X))
    assert len(bounds) == 1


def test_bound_of_subsets_errs_towards_small_rates() -> None:
    net = fastntk.MLP([6, 32, 4])
    whole = fastntk.learning_rate_bound(net, X, loss="mse")
    parts = [
        fastntk.learning_rate_bound(net, X, loss="mse", subset=15, seed=seed) for seed in range(30)
    ]
    assert parts[0] == fastntk.learning_rate_bound(net, X, loss="mse", subset=15, seed=0)
    assert len(set(parts)) > 20
    # The mean of λ_max/n over subsets is at least that of all: Jensen.
    assert np.mean(1 / np.array(parts)) > 1 / whole
    assert min(parts) > 0.3 * whole


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=6).flatmap(
        lambda z: st.tuples(
            st.just(z), st.lists(st.floats(-1, 1), min_size=len(z), max_size=len(z))
        )
    )
)
def test_curvature_of_cross_entropy_is_at_most_a_half(
    case: tuple[list[float], list[float]],
) -> None:
    logits, direction = (np.array(values) for values in case)
    p = np.exp(logits - logits.max())
    p /= p.sum()
    hessian = np.diag(p) - np.outer(p, p)
    assert direction @ hessian @ direction <= 0.5 * direction @ direction + 1e-15
    assert np.linalg.eigvalsh(hessian)[-1] <= 0.5 + 1e-15


def test_square_loss_falls_below_the_bound_and_diverges_above() -> None:
    net = fastntk.MLP([6, 1])  # depth 0: the linear model itself
    y = X @ np.arange(6.0)
    bound = fastntk.learning_rate_bound(net, X, loss="mse")
    below, above = (
        fastntk.train(net, X, y, loss="mse", learning_rate=share * bound, epochs=300)
        for share in (0.98, 1.05)
    )
    assert (np.diff(below.loss) <= 1e-12).all()
    assert above.status == "diverged"


def test_cross_entropy_falls_below_the_bound() -> None:
    net = fastntk.MLP([6, 4], seed=5)
    bound = fastntk.learning_rate_bound(net, X)
    history = fastntk.train(net, X, LABELS, learning_rate=0.98 * bound, epochs=200)
    assert (np.diff(history.loss) < 0).all()


def test_no_gradient_at_all() -> None:
    with pytest.raises(ValueError, match="the gradients of all outputs are 0 at all samples"):
        fastntk.learning_rate_bound(fastntk.MLP([6, 8, 1]), np.zeros((5, 6)))


@pytest.fixture(scope="module")
def net() -> fastntk.MLP:
    return fastntk.MLP([6, 64, 64, 4], seed=2, dtype="float32")


SEARCH: dict[str, Any] = {"batch_size": 30, "epochs": 25, "loss_target": 0.1}


def without_seconds(search: fastntk.LearningRateSearch) -> Any:
    return search.to_frame().drop(columns="seconds")


@pytest.mark.parametrize("criterion", ["fastest", "largest_stable"])
def test_search_does_not_depend_on_jobs(net: fastntk.MLP, criterion: str) -> None:
    before = [w.copy() for w in net.weights]
    searches = [
        fastntk.find_learning_rate(net, X, LABELS, criterion=criterion, jobs=jobs, **SEARCH)
        for jobs in (1, 2, 3, None)
    ]
    for other in searches[1:]:
        assert without_seconds(other).equals(without_seconds(searches[0]))
        assert other.best == searches[0].best
    assert all(np.array_equal(a, b) for a, b in zip(before, net.weights, strict=True))


def test_candidates_are_what_training_gives(net: fastntk.MLP) -> None:
    grid = [3.0, 0.5, 100.0, 3.0]
    search = fastntk.find_learning_rate(net, X, LABELS, grid=grid, seed=4, **SEARCH)
    assert [c.learning_rate for c in search.candidates] == [0.5, 3.0, 100.0]
    for candidate in search.candidates:
        history = fastntk.train(
            net, X, LABELS, learning_rate=candidate.learning_rate, seed=4, **SEARCH
        )
        assert candidate.final_loss == history.loss[-1]
        assert candidate.epochs == history.epochs
        assert candidate.status in {history.status, "unstable"}
        reached = history.status == "target reached"
        assert candidate.epochs_to_target == (
            history.epochs if reached else pytest.approx(np.nan, nan_ok=True, rel=1e-9, abs=0)
        )
    assert search.to_frame()["best"].sum() == 1


def test_frozen_layers(net: fastntk.MLP) -> None:
    frozen: dict[str, Any] = {"layer_rates": [1.0, 0.0, 0.0]}
    search = fastntk.find_learning_rate(net, X, LABELS, **frozen, **SEARCH)
    assert search.bound == fastntk.learning_rate_bound(net, X, **frozen)
    history = fastntk.train(net, X, LABELS, learning_rate=search.best, **frozen, **SEARCH)
    best = next(c for c in search.candidates if c.learning_rate == search.best)
    assert best.final_loss == history.loss[best.epochs - 1]


def test_default_grid_has_the_best_in_its_middle(net: fastntk.MLP) -> None:
    search = fastntk.find_learning_rate(net, X, LABELS, **SEARCH)
    rates = np.array([c.learning_rate for c in search.candidates])
    powers = np.log2(rates / search.bound)
    np.testing.assert_allclose(powers, np.rint(powers), atol=1e-12)
    assert (np.diff(powers.round()) == 1).all()
    assert {0, 1, 2, 3} <= set(powers.round().tolist())
    assert rates[0] < search.best < rates[-1]
    fastest = min(
        (c.epochs_to_target, c.final_loss) for c in search.candidates if c.epochs_to_target > 0
    )
    best = next(c for c in search.candidates if c.learning_rate == search.best)
    assert (best.epochs_to_target, best.final_loss) == fastest


def test_largest_stable_rate(net: fastntk.MLP) -> None:
    search = fastntk.find_learning_rate(
        net, X, LABELS, criterion="largest_stable", batch_size=30, epochs=10
    )
    stable = [c.stable for c in search.candidates]
    assert not stable[-1]
    first = stable.index(False)
    assert search.best == search.candidates[first - 1].learning_rate
    assert search.best >= search.bound


def test_largest_stable_rate_of_the_square_loss_is_the_bound() -> None:
    net, y = fastntk.MLP([6, 1]), X @ np.arange(6.0)
    bound = fastntk.learning_rate_bound(net, X, loss="mse")
    grid = [share * bound for share in (0.25, 0.5, 0.97, 1.03, 2.0)]
    search = fastntk.find_learning_rate(
        net, X, y, loss="mse", criterion="largest_stable", grid=grid, epochs=500
    )
    assert search.best == grid[2]
    statuses = [c.status for c in search.candidates]
    assert statuses[:3] == ["completed"] * 3
    assert set(statuses[3:]) <= {"unstable", "diverged"}


def test_grid_is_followed_down(monkeypatch: pytest.MonkeyPatch, net: fastntk.MLP) -> None:
    bound = fastntk.learning_rate_bound(net, X)
    monkeypatch.setattr(module, "learning_rate_bound", lambda *_, **__: 2.0**9 * bound)
    for criterion in ("fastest", "largest_stable"):
        search = fastntk.find_learning_rate(net, X, LABELS, criterion=criterion, **SEARCH)
        assert search.best < 2.0**8 * bound
        assert search.to_frame().learning_rate.is_monotonic_increasing


def test_all_rates_diverge() -> None:
    net, y = fastntk.MLP([6, 1]), X @ np.arange(6.0)
    search = fastntk.find_learning_rate(net, X, y, loss="mse", grid=[1e3, 1e4], epochs=50)
    assert np.isnan(search.best)
    assert [c.status for c in search.candidates] == ["diverged", "diverged"]
    assert all(c.epochs < 10 for c in search.candidates)  # given up early
    assert search.plot().get_ylabel() == "final loss"


def test_figure(net: fastntk.MLP) -> None:
    search = fastntk.find_learning_rate(net, X, LABELS, grid=[0.5, 3.0, 1e6], **SEARCH)
    losses, epochs = search.plot()
    assert losses.get_ylabel() == "final loss"
    assert epochs.get_ylabel() == "epochs to the target"
    crosses = [line for line in losses.lines if line.get_marker() == "x"]
    assert [np.asarray(line.get_xdata()).tolist() for line in crosses] == [[1e6]]
    without = fastntk.find_learning_rate(net, X, LABELS, grid=[0.5], batch_size=30)
    assert without.plot().get_ylabel() == "final loss"


def test_an_interrupted_search_stops_the_others(
    monkeypatch: pytest.MonkeyPatch, net: fastntk.MLP
) -> None:
    calls: list[float] = []

    def train(*arguments: Any, **options: Any) -> Any:
        calls.append(options["learning_rate"])
        if options["learning_rate"] == 1.0:
            time.sleep(0.2)
            raise ZeroDivisionError
        return fastntk.train(*arguments, **options)

    monkeypatch.setattr(module, "train", train)
    started = time.perf_counter()
    with pytest.raises(ZeroDivisionError):
        fastntk.find_learning_rate(
            net, X, LABELS, grid=[1.0, 1.5, 2.0, 2.5], epochs=10**6, batch_size=30, jobs=2
        )
    assert time.perf_counter() - started < 20
    assert not {2.0, 2.5} <= set(calls)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_map_in_threads(jobs: int) -> None:
    stop = threading.Event()
    assert list(map_in_threads(lambda i: i * i, range(7), jobs, stop)) == [i * i for i in range(7)]
    assert not stop.is_set()

    def fail(i: int) -> int:
        if i == 3:
            raise ZeroDivisionError
        return i

    done: list[int] = []
    with pytest.raises(ZeroDivisionError):
        done.extend(map_in_threads(fail, range(7), jobs, stop))
    assert done == [0, 1, 2]
    assert stop.is_set() == (jobs > 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"criterion": "best"}, ValueError, "criterion='best': expected one of 'fastest', 'larg"),
        ({"loss": "hinge"}, ValueError, "loss='hinge': expected one of"),
        ({"epochs": 0}, ValueError, "epochs=0: expected an integer of at least 1"),
        ({"jobs": 0}, ValueError, "jobs=0: expected an integer of at least 1"),
        ({"grid": []}, ValueError, r"grid=\[\]: expected at least one learning rate"),
        ({"grid": [0.1, -1.0]}, ValueError, r"grid\[1\]=-1.0: expected a finite number above 0"),
        ({"grid": [np.inf]}, ValueError, r"grid\[0\]=.*inf.*: expected a finite number above 0"),
        ({"loss_target": -1.0}, ValueError, "loss_target=-1.0: expected a finite number of at"),
        ({"batch_size": 91}, ValueError, "batch_size=91: expected at most the 90 samples"),
        ({"y": LABELS[:5]}, ValueError, "y has 5 labels: expected 90"),
        ({"X": X[:, :5]}, ValueError, r"X has shape \(90, 5\): expected 6 columns"),
    ],
)
def test_bad_arguments(
    net: fastntk.MLP, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fastntk.find_learning_rate(net, **{"X": X, "y": LABELS, **arguments})
