# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Reports of single large kernels: their numbers, and that no finished step is repeated."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastntk
from fastntk._cli import cli
from fastntk._support import memory
from fastntk.eigenvalues import conditioning
from fastntk.studies import large_kernel

X = np.random.default_rng(0).standard_normal((300, 7))
NET = fastntk.MLP([7, 64, 64, 1], dtype="float32")


def test_the_numbers(tmp_path: Path) -> None:
    report = fastntk.kernel_report(NET, X, tmp_path, bounds=True, progress=False)
    K = NET.ntk(X, dtype="float64")
    error = float(np.sqrt(3) * np.finfo(np.float64).eps)
    expected = fastntk.conditioning(K, feature_error=error)
    proved = expected.widened(**NET.ntk_errors(X, dtype="float64"))
    assert proved.bounds is not None
    assert expected.bounds is not None
    assert proved.bounds.condition_number.lower < expected.bounds.condition_number.lower
    assert report.n == 300
    assert report.closest_pair == NET.smallest_angle(X)
    assert report.condition_number == pytest.approx(expected.condition_number, rel=1e-8, abs=0)
    assert report.noise_floor == pytest.approx(expected.noise_floor, rel=1e-9, abs=0)
    assert report.condition_number_lower < report.condition_number < report.condition_number_upper
    assert report.condition_number_upper == pytest.approx(
        proved.bounds.condition_number.upper, rel=1e-9, abs=0
    )
    assert list(tmp_path.glob("*.npy")) == []
    assert set(report.seconds) == {"closest pair", "kernel", "eigenvalues"}
    assert "κ is certainly" in str(report)


def test_a_kernel_that_does_not_fit_is_refused_before_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 4 * len(X) * (len(X) + 1)
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
    with pytest.raises(MemoryError, match=r"the packed kernel of 300 samples needs .*: take fewer"):
        fastntk.kernel_report(NET, X, tmp_path, progress=False)


def test_finished_steps_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(name: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return function(*args, **options)

        return call

    kind = type(NET)
    monkeypatch.setattr(kind, "smallest_angle", counted("angle", kind.smallest_angle))
    monkeypatch.setattr(kind, "ntk", counted("kernel", kind.ntk))

    def stopped(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(large_kernel, "conditioning", stopped)
    with pytest.raises(KeyboardInterrupt):
        fastntk.kernel_report(NET, X, tmp_path, progress=False)
    assert calls == ["angle", "kernel"]
    assert len(list(tmp_path.glob("kernel-*.npy"))) == 1

    monkeypatch.setattr(large_kernel, "conditioning", counted("eigenvalues", conditioning))
    report = fastntk.kernel_report(NET, X, tmp_path, keep_kernel=True, progress=False)
    assert calls == ["angle", "kernel", "eigenvalues"]
    assert len(list(tmp_path.glob("kernel-*.npy"))) == 1
    assert fastntk.kernel_report(NET, X, tmp_path, progress=False) == report
    assert calls == ["angle", "kernel", "eigenvalues"]
    assert list(tmp_path.glob("kernel-*.npy")) == []

    # Other weights are another kernel.
    other = fastntk.MLP([7, 64, 64, 1], seed=1, dtype="float32")
    assert fastntk.kernel_report(other, X, tmp_path, progress=False) != report
    assert len(calls) == 6


def test_singular_kernels(tmp_path: Path) -> None:
    report = fastntk.kernel_report(NET.linear(), X, tmp_path, progress=False)
    assert not report.resolved
    assert "unresolved" in str(report)
    assert "≥" in str(report)


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"X has shape \(1, 7\): expected at least two samples"):
        fastntk.kernel_report(NET, X[:1], tmp_path)
    with pytest.raises(ValueError, match="expected 7 columns"):
        fastntk.kernel_report(NET, X[:, :3], tmp_path)
    assert list(tmp_path.iterdir()) == []


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[128 + 8 * 1000 + 6] ^= 0x10
    file.write_bytes(content)


def foreign(file: Path) -> None:
    NET.ntk(X[:20], out="packed", dtype="float64").save(file, overwrite=True)


def of_other_samples(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fastntk.kernel_report(NET, X + 1.0, folder, keep_kernel=True, progress=False)
        other = next(Path(folder).glob("kernel-*.npy"))
        file.write_bytes(other.read_bytes())


def of_an_earlier_version(file: Path) -> None:
    np.save(file, np.load(file))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


@pytest.mark.parametrize(
    "damage", [flip_a_bit, foreign, of_other_samples, of_an_earlier_version, cut]
)
def test_a_kernel_that_is_damaged_or_foreign_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    def stopped(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(large_kernel, "conditioning", stopped)
        with pytest.raises(KeyboardInterrupt):
            fastntk.kernel_report(NET, X, tmp_path, progress=False)
    file = next(tmp_path.glob("kernel-*.npy"))
    whole = file.read_bytes()
    damage(file)
    with pytest.warns(RuntimeWarning, match=rf"{file.name}': not a .*; it is computed again"):
        report = fastntk.kernel_report(NET, X, tmp_path, keep_kernel=True, progress=False)
    assert file.read_bytes() == whole
    expected = fastntk.kernel_report(NET, X, tmp_path / "fresh", progress=False)
    assert report.condition_number == expected.condition_number
    # A kernel that was kept is checked in the same way.
    damage(file)
    with pytest.warns(RuntimeWarning, match="it is computed again"):
        fastntk.kernel_report(NET, X, tmp_path, bounds=True, keep_kernel=True, progress=False)
    assert file.read_bytes() == whole


def test_the_kernel_in_the_file(tmp_path: Path) -> None:
    fastntk.kernel_report(NET, X, tmp_path, keep_kernel=True, progress=False)
    kernel = fastntk.PackedKernel.load(next(tmp_path.glob("kernel-*.npy")))
    assert np.array_equal(kernel.data, NET.ntk(X, out="packed", dtype="float64").data)


def test_the_command(tmp_path: Path) -> None:
    arguments = ["kernel", "digits", "--subset", "300", "--width", "64", "--depth", "2"]
    result = CliRunner().invoke(cli, [*arguments, "--bounds", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "300 samples" in result.output
    assert "smallest angle" in result.output
    bad = CliRunner().invoke(cli, ["kernel", "digits", "--depth", "-1", "--out", str(tmp_path)])
    assert bad.exit_code == 1
    assert "depth=-1: expected at least 0" in bad.output
