# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How training ends, what watches it, and what interrupts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import assert_ctrl_c_stops
from training_problems import (
    Array,
    assert_same_bits,
    assert_same_history,
    orders,
    problem,
)

import fastntk
from fastntk.training.probe import ProbeResult


def test_stops_at_a_target() -> None:
    X, y = problem("cross_entropy")
    net = fastntk.MLP([5, 64, 3])
    full = fastntk.train(net, X, y, learning_rate=1.0, epochs=30)
    target = float(full.loss[10])
    history = fastntk.train(net, X, y, learning_rate=1.0, epochs=30, loss_target=target)
    assert history.status == "target reached"
    assert history.epochs == 11
    assert np.array_equal(history.loss, full.loss[:11])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [30.0, 1e30])
@pytest.mark.parametrize("epochs", [1, 50])
def test_divergence_is_a_result(dtype: str, rate: float, epochs: int, tmp_path: Path) -> None:
    X, y = problem("mse", n=20)
    net = fastntk.MLP([5, 30, 30, 3], dtype=dtype)
    run = partial(
        fastntk.train,
        net,
        X,
        y,
        loss="mse",
        learning_rate=rate,
        epochs=epochs,
        batch_size=5,
        validation=(X, y),
        probe=X,
        checkpoint=tmp_path / "c.npz",
    )
    history = run()
    assert history.status == "diverged"
    assert history.epochs < 3
    assert len(history.probe) == history.epochs
    history.to_frame()
    history.plot()
    again = run()
    assert again.status == "diverged"
    assert again.to_frame().equals(history.to_frame())


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize(("n", "batch", "epochs"), [(2, 1, 1), (3, 2, 1), (4, 2, 1), (3, 3, 2)])
def test_what_counts_is_the_worst_batch_at_the_start(
    n: int, batch: int, epochs: int, factor: float
) -> None:
    """A thousand times the mean over as few samples as a batch has, those of the largest losses.

    f(x) = w x, y = 0: a step on a batch multiplies w by 1 − η mean(x²).
    """
    x = np.ones(n)
    x[-1] = 3
    fewest = 1 if n == 3 and batch == 2 else batch
    worst = np.sort(x**2 / 2)[-fewest:].mean()
    first, second = (np.mean(x[rows] ** 2) for rows in orders(n, batch, epochs, seed=0)[:2])
    rate = (1 + np.sqrt(1000 * factor * worst / (second / 2))) / first
    net = fastntk.MLP.from_weights([np.array([[1.0]])])
    run = partial(fastntk.train, net, x[:, np.newaxis], np.zeros(n), loss="mse", learning_rate=rate)
    for every in (None, 1):
        watch = None if every is None else lambda *_: None
        history = run(epochs=epochs, batch_size=batch, callback=watch, callback_every=every)
        assert history.status == ("completed" if factor < 1 else "diverged")


@pytest.mark.parametrize("layered", [False, True])
def test_a_first_batch_that_fits_is_no_measure(layered: bool) -> None:
    """The loss of that one sample is a thousandth of those of others, and training is stable."""
    X, y = np.sqrt(11.0) * np.eye(11), np.ones(11)
    net: Any = fastntk.MLP([11, 1], seed=1)
    if layered:
        (weights,) = (layer.weights for layer in net.network.layers)
        described = fastntk.Network([fastntk.layers.Dense(1)], inputs=11)
        net = described.sample()
        net.network.layers[0].weights[...] = weights
    first = orders(11, 1, 1, seed=5)[0]
    losses = (net(X)[:, 0] - y) ** 2
    assert losses.max() > 1000 * losses[first].mean()
    history = fastntk.train(
        net, X, y, loss="mse", learning_rate=0.1, batch_size=1, epochs=3, seed=5
    )
    assert (history.status, history.epochs) == ("completed", 3)
    assert history.loss[2] < history.loss[1] < history.loss[0]


def test_nothing_is_a_multiple_of_no_loss() -> None:
    """The loss at the start, w²/2, is below all numbers."""
    net = fastntk.MLP.from_weights([np.array([[1e-170]])])
    history = fastntk.train(net, [[1.0]], [0.0], loss="mse", learning_rate=1e20, epochs=2)
    assert history.status == "completed"
    assert history.loss[0] == 0
    assert history.loss[1] == pytest.approx(5e-301, rel=1e-12, abs=0)


def test_losses_whose_sum_is_not_finite_are_divergence() -> None:
    losses = np.ones(10)
    losses[orders(10, 4, 1, seed=0)[2]] = 1.2e308
    net, X = fastntk.MLP([1, 1]), np.ones((10, 1))
    y = net(X)[:, 0] - np.sqrt(2.0) * np.sqrt(losses)
    history = fastntk.train(net, X, y, loss="mse", learning_rate=1e-320, batch_size=4)
    assert (history.status, history.loss[0]) == ("diverged", np.inf)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_whose_kernel_overflows_are_divergence(dtype: str) -> None:
    """A single step leads there: no loss has been seen that would say so."""
    X, y = problem("mse", n=20)
    net = fastntk.MLP([5, 30, 30, 3], dtype=dtype)
    called: list[int] = []
    history = fastntk.train(
        net,
        X,
        y,
        loss="mse",
        learning_rate=1e150,
        epochs=3,
        probe=X[:4],
        callback=lambda step, _: called.append(step),
    )
    assert (history.status, history.epochs, called) == ("diverged", 1, [])
    assert [result.step for result in history.probe] == [0]


@pytest.mark.parametrize("power", [-240, 240])
def test_a_probe_of_any_size(power: int) -> None:
    """Weights times 2ᵖ of a bias-free network of two layers are a kernel times 2²ᵖ."""
    X, y = problem("mse", n=20)
    net = fastntk.MLP([5, 30, 3])

    def first_and_last(p: int) -> tuple[ProbeResult, ProbeResult]:
        weights = [np.ldexp(w, p) for w in net.weights]
        start = fastntk.MLP.from_weights(weights)
        # The gradient of the weights is 2ᵖ times (f − y), of which f is 2²ᵖ times itself.
        targets = np.ldexp(y, 2 * p)
        rate = float(np.ldexp(0.1, -2 * p))
        history = fastntk.train(start, X, targets, loss="mse", learning_rate=rate, probe=X[:4])
        return history.probe[0], history.probe[-1]

    for expected, found in zip(first_and_last(0), first_and_last(power), strict=True):
        assert found.eigenvalue_max == np.ldexp(expected.eigenvalue_max, 2 * power)
        assert found.eigenvalue_min == np.ldexp(expected.eigenvalue_min, 2 * power)
        assert found.condition_number == expected.condition_number
        assert (found.relative_change, found.angle) == (expected.relative_change, expected.angle)


def test_a_kernel_of_zero_has_no_direction() -> None:
    X, y = np.abs(problem("mse", n=9)[0]), problem("mse", n=9)[1]
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((3, 4))])
    history = fastntk.train(dead, X, y, loss="mse", learning_rate=0.1, probe=X)
    for result in history.probe:
        assert result.eigenvalue_max == 0
        assert np.isnan([result.relative_change, result.angle]).all()


def test_callback_and_probe_come_every_so_many_steps() -> None:
    X, y = problem("cross_entropy", n=20)
    net = fastntk.MLP([5, 30, 3])
    seen: list[tuple[int, Array]] = []
    history = fastntk.train(
        net,
        X,
        y,
        learning_rate=0.3,
        epochs=3,
        batch_size=6,
        callback=lambda step, now: seen.append((step, now.ntk(X[:5]))),
        callback_every=5,
        probe=X[:5],
        probe_every=5,
    )
    assert [step for step, _ in seen] == [5, 10]
    assert [result.step for result in history.probe] == [0, 5, 10]
    initial = net.ntk(X[:5])
    for result, (_, K) in zip(history.probe[1:], seen, strict=True):
        change = np.linalg.norm(K - initial) / np.linalg.norm(initial)
        assert result.relative_change == pytest.approx(change, rel=1e-9, abs=0)
        cosine = np.sum(K * initial) / np.linalg.norm(K) / np.linalg.norm(initial)
        assert result.angle == pytest.approx(np.arccos(cosine), rel=1e-6, abs=0)
        spectrum = fastntk.conditioning(K)
        assert result.condition_number == pytest.approx(spectrum.condition_number, rel=1e-6, abs=0)
    assert (history.probe[0].relative_change, history.probe[0].angle) == (0.0, 0.0)
    assert list(history.probe_frame()["step"]) == [0, 5, 10]
    assert list(history.probe_frame().columns)[:7] == [
        "step",
        "eigenvalue_min",
        "eigenvalue_max",
        "condition_number",
        "resolved",
        "relative_change",
        "angle",
    ]
    assert list(history.probe_frame().columns)[7:] == list(history.settings)
    ends = []
    fastntk.train(
        net, X, y, learning_rate=0.3, epochs=2, batch_size=6, callback=lambda s, _: ends.append(s)
    )
    assert ends == [4, 8]


def test_progress_counts_steps() -> None:
    X, y = problem("cross_entropy")
    seen: list[tuple[str, int, int]] = []
    fastntk.train(
        fastntk.MLP([5, 4, 3]),
        X,
        y,
        learning_rate=0.1,
        epochs=2,
        batch_size=5,
        progress=lambda *step: seen.append(step),
    )
    assert seen[-1] == ("epoch 2 of 2", 6, 6)
    assert ("epoch 1 of 2", 3, 6) in seen


CHECKPOINTED = """
import sys
import time
import numpy as np
import fastntk

rng = np.random.default_rng(0)
X, y = rng.standard_normal((60, 5)), rng.integers(0, 3, 60)
net = fastntk.MLP([5, 40, 3], bias_std=0.3)

def wait_to_be_killed(step, now):
    # In the middle of the twelfth epoch of nine steps, where nothing is written.
    if sys.argv[2] and step == 104:
        print(step, flush=True)
        time.sleep(600)

history = fastntk.train(
    net, X, y, learning_rate=0.2, epochs=40, batch_size=7, momentum=0.5, probe=X[:4],
    validation=(X, y), checkpoint=sys.argv[1],
    callback=wait_to_be_killed, callback_every=4,
)
history.net.save(sys.argv[3])
history.to_frame().drop(columns="seconds").to_pickle(sys.argv[3] + ".history")
history.probe_frame().to_pickle(sys.argv[3] + ".probe")
"""


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    import pandas as pd

    def arguments(checkpoint: str, wait: str, result: str) -> list[str]:
        paths = str(tmp_path / checkpoint), wait, str(tmp_path / result)
        return [sys.executable, "-c", CHECKPOINTED, *paths]

    subprocess.run(arguments("whole.npz", "", "whole-net.npz"), check=True)
    with subprocess.Popen(
        arguments("cut.npz", "wait", "cut-net.npz"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "104\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut-net.npz").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".cut")] == []
    subprocess.run(arguments("cut.npz", "", "cut-net.npz"), check=True)
    assert_same_bits(
        fastntk.MLP.load(tmp_path / "whole-net.npz"), fastntk.MLP.load(tmp_path / "cut-net.npz")
    )
    for what in ("history", "probe"):
        whole, cut = (
            pd.read_pickle(tmp_path / f"{name}-net.npz.{what}") for name in ("whole", "cut")
        )
        assert whole.equals(cut)


def test_more_epochs_continue_a_checkpoint(tmp_path: Path) -> None:
    X, y = problem("cross_entropy", n=20)
    net = fastntk.MLP([5, 10, 3])
    arguments: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 6, "momentum": 0.5}
    path = tmp_path / "c.npz"
    fastntk.train(net, X, y, epochs=2, checkpoint=path, **arguments)
    fastntk.train(net, X, y, epochs=5, checkpoint=path, inplace=True, **arguments)
    expected = fastntk.train(fastntk.MLP([5, 10, 3]), X, y, epochs=5, **arguments)
    assert_same_bits(net, expected.net)
    fresh = fastntk.MLP([5, 10, 3])
    assert_same_history(
        fastntk.train(fresh, X, y, epochs=5, checkpoint=path, **arguments), expected
    )
    with pytest.raises(ValueError, match="epochs=3: expected at least the 5 of the checkpoint"):
        fastntk.train(fresh, X, y, epochs=3, checkpoint=path, **arguments)


def test_checkpoints_of_other_calls_and_other_files(tmp_path: Path) -> None:
    X, y = problem("cross_entropy")
    net = fastntk.MLP([5, 10, 3])
    path = tmp_path / "c.npz"
    arguments: dict[str, Any] = {"learning_rate": 0.1, "checkpoint": path}
    fastntk.train(net, X, y, **arguments)
    bits = path.read_bytes()
    with pytest.raises(ValueError, match=r"of the same call, but X, y, batch_size differ; rem"):
        fastntk.train(net, X[:-1], y[:-1], **arguments)
    with pytest.raises(ValueError, match=r"of the same call, but learning_rate, trainable or lay"):
        fastntk.train(net, X, y, **{**arguments, "learning_rate": 0.2})
    with pytest.raises(ValueError, match=r"of the same call, but net differ"):
        fastntk.train(fastntk.MLP([5, 10, 3], seed=1), X, y, **arguments)
    assert path.read_bytes() == bits
    with pytest.raises(ValueError, match=r"checkpoint='c.txt': expected a file that ends in .npz"):
        fastntk.train(net, X, y, **{**arguments, "checkpoint": "c.txt"})
    net.save(path, overwrite=True)
    with pytest.raises(
        ValueError, match=r"checkpoint=.*expected a checkpoint written by fastntk.train"
    ):
        fastntk.train(net, X, y, **arguments)
    path.write_bytes(bits[:-200])
    with pytest.raises(ValueError, match=r"checkpoint=.*not a checkpoint .*, or damaged"):
        fastntk.train(net, X, y, **arguments)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_stops_within_a_second_and_leaves_whole_steps() -> None:
    program = """
        import sys
        import numpy as np
        import fastntk

        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((20000, 64)), rng.integers(0, 3, 20000)
        net = fastntk.MLP([64, 512, 512, 3])
        start = [w.copy() for w in net.weights]
        started = []

        def progress(stage, done, total):
            if done > 0 and not started:
                started.append(True)
                print("started", flush=True)

        arguments = dict(learning_rate=0.1, batch_size=100)
        try:
            fastntk.train(net, X, y, epochs=50, inplace=True, progress=progress, **arguments)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        else:
            sys.exit("the work was done before the signal came")
        if all(np.array_equal(a, b) for a, b in zip(start, net.weights)):
            sys.exit("nothing was done before the signal came")
        # The state after some whole number of steps.
        again = fastntk.MLP([64, 512, 512, 3])
        class Found(Exception): pass
        def compare(step, now):
            if all(np.array_equal(a, b) for a, b in zip(now.weights, net.weights)):
                raise Found
        try:
            fastntk.train(again, X, y, epochs=50, callback=compare, callback_every=1, **arguments)
        except Found:
            print("whole", flush=True)
        """
    assert_ctrl_c_stops(program, then="whole")
