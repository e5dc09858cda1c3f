# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the bars say that calls show on a terminal."""

from __future__ import annotations

import io
import sys
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

import fastntk
from fastntk import infinite, linearity
from fastntk._support.progress import monitored
from fastntk.symmetric.cholesky import Cholesky

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 4))
Y = (X[:, 0] > 0).astype(int)
NET = fastntk.MLP([4, 8, 2], activation="tanh")
K = NET.ntk(X)
TRAINING: dict[str, Any] = {"learning_rate": 0.1, "epochs": 2, "batch_size": 6}


class Bar:
    """Stands in for tqdm's, and remembers what it was told."""

    made: ClassVar[list[Bar]] = []

    def __init__(self, *, desc: str, leave: bool, file: Any) -> None:
        assert file is sys.stderr
        assert not leave
        self.title, self.seen, self.total, self.n = desc, list[str](), 0, 0
        Bar.made.append(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None: ...

    def set_description(self, text: str, refresh: bool) -> None:
        assert not refresh
        title, _, stage = text.partition(": ")
        assert title == self.title
        self.seen.append(stage)

    def update(self, steps: int) -> None:
        self.n += steps
        assert 0 <= self.n <= self.total


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """The bars that have been made since the test began."""
    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Bar, "made", made := list[Bar]())
    return made


def cholesky(progress: bool) -> None:
    Cholesky.of(K + np.eye(len(K)), progress=progress)


CALLS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "Cholesky": (lambda: cholesky(progress=True), ["Cholesky"]),
    "ntk": (lambda: NET.ntk(X, progress=True), ["kernel"]),
    "smallest_angle": (lambda: NET.smallest_angle(X, progress=True), ["features", "closest pairs"]),
    "jacobian": (lambda: NET.jacobian(X, progress=True), ["gradient features"]),
    "conditioning": (
        lambda: fastntk.conditioning(np.diag(np.arange(1.0, 81.0)), progress=True),
        ["conditioning"],
    ),
    "batch_conditioning": (
        lambda: fastntk.batch_conditioning(K, batch_size=4, progress=True),
        ["batches"],
    ),
    "train": (lambda: fastntk.train(NET, X, Y, progress=True, **TRAINING), ["training"]),
    "find_learning_rate": (
        lambda: fastntk.find_learning_rate(
            NET, X, Y, grid=[0.05, 0.1, 0.2], batch_size=6, epochs=1, progress=True
        ),
        ["learning rate"],
    ),
    "hessian_vector_product": (
        lambda: linearity.hessian_vector_product(NET, X, np.ones(NET.n_parameters), progress=True),
        ["Hessian products"],
    ),
    "hessian_norm": (
        lambda: linearity.hessian_norm(NET, X[:2], progress=True),
        ["Hessian norms"],
    ),
    "constancy_study": (
        lambda: fastntk.constancy_study(
            X, [0.5] * len(X), [4], architectures=["linear"], seeds=2, epochs=1, progress=True
        ),
        ["constancy"],
    ),
    "kernel_change": (
        lambda: linearity.kernel_change(NET, X, np.ones(NET.n_parameters), progress=True),
        ["kernel change"],
    ),
    "kernel_drift": (lambda: linearity.kernel_drift([NET, NET], X, progress=True), ["drift"]),
    "angle_curves": (
        lambda: fastntk.angle_curves([0.5], [1], ["relu"], width=8, progress=True),
        ["random networks"],
    ),
    "monte_carlo_ntk": (
        lambda: fastntk.monte_carlo_ntk(X, [4], seeds=2, progress=True),
        ["random networks"],
    ),
    "depth_study": (
        lambda: fastntk.depth_study(X, depths=[1], width=8, seeds=1, progress=True),
        ["depth study"],
    ),
    "infinite.ntk": (lambda: infinite.ntk(X, depth=1, progress=True), ["kernel"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_titles(name: str, bars: list[Bar]) -> None:
    call, titles = CALLS[name]
    call()
    assert list(dict.fromkeys(bar.title for bar in bars)) == titles
    for bar in bars:
        assert bar.seen or bar.total == 0
        # A search ends where the best rate is clear.
        assert bar.n == bar.total or bar.title == "learning rate"


def test_the_tasks_of_a_study_have_names(bars: list[Bar]) -> None:
    fastntk.convergence_study(
        X, Y, [1], width=8, seeds=1, epochs=1, batch_size=6, rate_samples=4, rate_steps=4
    )
    named = list(dict.fromkeys(stage for bar in bars for stage in bar.seen))
    assert named == ["depth 1, learning rate", "depth 1, training", "depth 1, rate"]


def test_nothing_is_shown_unless_asked_for(
    bars: list[Bar], capsys: pytest.CaptureFixture[str]
) -> None:
    NET.ntk(X, progress=False)
    assert not bars
    assert capsys.readouterr() == ("", "")


def test_logs_have_a_line_every_half_minute(
    bars: list[Bar], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    times = iter([100.0, 101.0, 129.9, 130.0, 159.9, 160.0, 295.4])
    with monitored(True, "study", clock=lambda: next(times)) as report:
        assert report is not None
        for done in range(1, 7):
            report("depth 3", done, 40)
    assert not bars
    output, errors = capsys.readouterr()
    assert not output
    assert errors.splitlines() == [
        "study: depth 3, 3 of 40 after 0:30 min",
        "study: depth 3, 5 of 40 after 1:00 min",
        "study: depth 3, 6 of 40 after 3:15 min",
    ]


def test_short_runs_leave_nothing_in_logs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    NET.ntk(X, progress=True)
    assert capsys.readouterr() == ("", "")


def test_without_tqdm_terminals_have_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    times = iter([0.0, 31.0])
    with monitored(True, "study", clock=lambda: next(times)) as report:
        assert report is not None
        report("depth 3", 1, 2)
    assert capsys.readouterr().err == "study: depth 3, 1 of 2 after 0:31 min\n"


@pytest.mark.parametrize("kernel", [True, False])
def test_notebooks_have_bars_of_their_own(
    kernel: bool, bars: list[Bar], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell of IPython has a kernel in a notebook, and none on a terminal."""
    shell = SimpleNamespace(kernel=object()) if kernel else SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    NET.ntk(X, progress=True)
    assert [bar.title for bar in bars] == ["kernel"] * kernel


def test_notebooks_without_widgets_have_bars_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no warning that asks for them."""
    shell = SimpleNamespace(kernel=object(), config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", SimpleNamespace())  # by which tqdm knows
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for module in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        NET.ntk(X, progress=True)
    assert not caught
    assert "kernel: " in written.getvalue()
