# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The script for a GPU, with the processor in its place: it runs, and it sees what is wrong."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from benchmarks import gpu, roofline
from benchmarks.gpu import Accelerator, Case, Timing, difference

import fastntk
from fastntk import activations

if TYPE_CHECKING:
    from collections.abc import Callable

STAND_IN = Accelerator("processor", np, {}, lambda: None, 2**30)


def test_cases_cover_what_the_core_has() -> None:
    found = list(gpu.cases(quick=False))
    for activation, dtype in itertools.product(activations.FINITE_WIDTH, ("float32", "float64")):
        chosen = [case for case in found if (case.activation, case.dtype) == (activation, dtype)]
        assert {case.bias_std > 0 for case in chosen} == {True, False}
    assert {len(case.widths) - 2 for case in found} == {0, 1, 2, 3}
    assert {case.widths[-1] for case in found} == {1, 2, 3}
    for case in found[:12]:
        X, Z = case.samples()
        assert (len(X), len(Z)) == (case.n, case.m)


@pytest.mark.parametrize("case", list(gpu.cases(quick=True))[::5], ids=str)
def test_the_processor_agrees_with_itself(case: Case) -> None:
    assert gpu.check_case(case, STAND_IN) == []


SMALL = Case("tanh", "float64", (5, 33, 31, 2), 17, 9, "ntk", 0.1, 1)


class Wrong(fastntk.MLP):
    """A network whose kernels are wrong in one way; `wrong` gets and returns the right ones."""

    wrong: Callable[[Any], Any]

    def ntk(self, *arguments: Any, **options: Any) -> Any:
        on_device = options.pop("device", None) == "wrong"
        K = super().ntk(*arguments, **options)
        return type(self).wrong(K.copy()) if on_device else K


def one_wrong_entry(K: Any) -> Any:
    K[3, 4] += 1e-9 * np.abs(K).max()
    return K


CALLS = itertools.count()


def not_a_number(K: Any) -> Any:
    K[-1, -1] = np.nan
    return K


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (one_wrong_entry, "trace differs by"),
        (one_wrong_entry, "not symmetric to the last bit"),
        (not_a_number, "cross differs by nan"),
        (lambda K: K[:-1], "trace has shape (16, 17), expected (17, 17)"),
        (lambda K: K * (1 + next(CALLS) * 2.0**-52), "not the same twice"),
    ],
)
def test_wrong_kernels_are_seen(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Any], Any], expected: str
) -> None:
    monkeypatch.setattr(Wrong, "wrong", staticmethod(wrong), raising=False)
    right = Case.network

    def network(case: Case, dtype: str | None = None) -> Any:
        net = right(case, dtype)
        net.__class__ = Wrong
        return net

    monkeypatch.setattr(Case, "network", network)
    names = {"trace", "cross"}
    every = gpu.quantities
    monkeypatch.setattr(
        gpu,
        "quantities",
        lambda *where: {k: v for k, v in every(*where).items() if k in names},
    )
    device = Accelerator("wrong", np, {"device": "wrong"}, lambda: None, 2**30)
    problems = gpu.check_case(SMALL, device)
    assert any(expected in problem for problem in problems), problems
    monkeypatch.setattr(gpu, "cases", lambda _: [SMALL])
    monkeypatch.setattr(gpu, "layered_networks", lambda _: [])
    assert not gpu.check(device, quick=True)


def test_difference() -> None:
    ones = np.ones((3, 3))
    assert difference(ones, ones, "float64") is None
    assert difference(ones + 5e-13, ones, "float64") is None
    assert difference(ones + 5e-12, ones, "float64") is not None
    assert difference(ones + 5e-12, ones, "float64", slack=10.0) is None
    assert difference(ones + 5e-6, ones, "float32") is None
    assert difference(0.1 + 5e-13, 0.1, "float64") is not None
    assert difference(0.1 + 5e-13, 0.1, "float64", scale=1.0) is None
    assert difference(1e-6 + 2e-15, 1e-6, "float64") is not None
    assert difference(1e-6 + 2e-15, 1e-6, "float64", rounded=1.0) is None
    assert difference(np.full((3, 3), np.nan), ones, "float64") is not None
    assert difference(np.ones(3), ones, "float64") is not None
    assert difference(np.full((3, 3), 1e-300), np.zeros((3, 3)), "float64") is not None


def test_timings_and_their_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_SECONDS_A_JOB", 0.0)
    monkeypatch.setattr(gpu, "_LAUNCHES", 10)
    rates = gpu.measured_rates(STAND_IN, size=64, copied=4096)
    assert all(rate > 0 for rate in rates.matrix_rate.values())
    assert rates.bandwidth > 0
    found = list(gpu.timings(STAND_IN, [(40, 5, 16, 2)]))
    assert [timing.job.split(",")[0] for timing in found] == [
        "kernel", "16 products", "kernel", "kernel", "16 products", "smallest angle", "epoch",
    ]  # fmt: skip
    text = gpu.table(found, rates)
    assert all(timing.job in text for timing in found)
    # What does not fit is left out.
    tiny = Accelerator("processor", np, {}, lambda: None, 1000)
    jobs = [timing.job for timing in gpu.timings(tiny, [(40, 5, 16, 2)])]
    assert not any(job.startswith("kernel") for job in jobs)


def test_measured_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "seconds_of", lambda *_: 0.5)
    rates = gpu.measured_rates(STAND_IN, size=64, copied=4096)
    assert rates.matrix_rate == rates.vector_rate == dict.fromkeys(roofline.ITEMSIZE, 4.0 * 64**3)
    assert rates.bandwidth == 4 * 4096  # read and written
    assert rates.launch_seconds == 0.5 / gpu._LAUNCHES


def test_columns_of_the_table() -> None:
    rates = roofline.Gpu("made up", {"float64": 1e12}, {"float64": 1e12}, 1e12, launch_seconds=0.0)
    steps = [roofline.Step("gemm", "float64", 4e9, 1e6, 1, is_gemm=True, useful=0.5)]
    ms, rate, share, expected, on_paper = Timing("job", 0.02, steps, 2.0).columns(rates)
    assert (ms, expected) == pytest.approx((20.0, 8.0), rel=1e-9, abs=0)
    assert (rate, share) == pytest.approx((0.2, 0.2), rel=1e-9, abs=0)
    assert on_paper == pytest.approx(2e3 * 4e9 / 67e12, rel=1e-9, abs=0)


def test_the_end_of_work_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(gpu, "_SECONDS_A_JOB", 0.0)
    device = Accelerator("recorder", np, {}, lambda: done.append("waited"), 2**30)
    gpu.seconds_of(device, lambda: done.append("worked"))
    assert done == ["worked", "waited"] * 4


def test_without_a_gpu_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fastntk.cuda, "why_not", lambda: "there is none")
    assert gpu.main([]) == gpu.NO_GPU == 2
    assert capsys.readouterr().out == "nothing was run on a GPU: there is none\n"
    monkeypatch.setattr(fastntk.cuda, "why_not", lambda: None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert gpu.main([]) == 2
    assert "pip install cupy-cuda13x" in capsys.readouterr().out


def test_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_accelerator", lambda: STAND_IN)
    for right, status in ((True, 0), (False, 1)):
        monkeypatch.setattr(gpu, "check", lambda *_, right=right: right)
        assert gpu.main(["--no-timings"]) == status
