# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Bad input: an error that names the argument, its value and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastntk
from fastntk._support import memory


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"widths": [3]}, ValueError, r"widths=\[3\]: expected at least the input dimension"),
        ({"widths": []}, ValueError, r"widths=\[\]: expected at least one integer"),
        ({"widths": [3, 0, 1]}, ValueError, r"widths\[1\]=0: expected an integer of at least 1"),
        ({"widths": [3, 2.5, 1]}, TypeError, r"widths\[1\]=2.5: expected an integer"),
        ({"widths": [3, True]}, TypeError, r"widths\[1\]=True: expected an integer"),
        ({"widths": 5}, TypeError, "widths=5: expected a sequence of integers"),
        ({"activation": "rleu"}, ValueError, "activation='rleu': expected one of 'identity', 're"),
        ({"activation": 3}, ValueError, "activation=3: expected one of"),
        ({"weight_std": 0.0}, ValueError, "weight_std=0.0: expected a finite number above 0"),
        ({"weight_std": float("nan")}, ValueError, "weight_std=nan: expected a finite number"),
        ({"weight_std": "1"}, TypeError, "weight_std='1': expected a finite number"),
        ({"bias_std": -1}, ValueError, "bias_std=-1: expected a finite number of at least 0"),
        ({"activation_scale": 0}, ValueError, "activation_scale=0: expected a finite number abov"),
        ({"seed": -1}, ValueError, "seed=-1: expected an integer of at least 0"),
        ({"seed": 1.0}, TypeError, "seed=1.0: expected an integer of at least 0"),
        ({"dtype": "int32"}, ValueError, "dtype='int32': expected 'float32' or 'float64'"),
    ],
)
def test_bad_networks(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fastntk.MLP(**{"widths": [3, 4, 1], **arguments})


BAD_SAMPLES: list[tuple[Any, type[Exception], str]] = [
    (np.ones(3), ValueError, r"X has shape \(3,\): expected a matrix, one sample a row"),
    (np.ones((2, 2, 3)), ValueError, r"X has shape \(2, 2, 3\): expected a matrix"),
    (5.0, ValueError, r"X has shape \(\): expected a matrix"),
    (np.ones((0, 3)), ValueError, r"X has shape \(0, 3\): expected at least one row and column"),
    (np.ones((2, 4)), ValueError, r"X has shape \(2, 4\): expected 3 columns, one for each input"),
    ([[1, 2, np.nan]], ValueError, r"X\[0, 2\]=.*nan.*: expected .* finite .*\(1 of 3 are not\)"),
    ([[1, -np.inf, 0]], ValueError, r"X\[0, 1\]=.*-inf"),
    ([[1j, 0, 0]], TypeError, "X has dtype complex128: expected real numbers"),
    ([["a", "b", "c"]], TypeError, "X has dtype <U1: expected real numbers"),
    ([[None, 1, 2]], TypeError, "X has dtype object: expected real numbers"),
]


@pytest.mark.parametrize(("X", "error", "message"), BAD_SAMPLES)
def test_bad_samples(X: Any, error: type[Exception], message: str) -> None:
    net = fastntk.MLP([3, 4, 1])
    for call in (net, net.ntk, net.gradient_features):
        with pytest.raises(error, match=message):
            call(X)
    with pytest.raises(error, match=message.replace("X", "Z", 1)):
        net.ntk(np.ones((2, 3)), X)


def test_numbers_that_overflow_in_float32() -> None:
    net = fastntk.MLP([2, 4, 1], dtype="float32")
    with pytest.raises(ValueError, match=r"X\[0, 1\]=.*1e\+300.*: expected .* finite in float32"):
        net([[1.0, 1e300]])


@pytest.mark.parametrize(
    ("outputs", "error"),
    [(2, ValueError), (-1, ValueError), ("sum", TypeError), (1.0, TypeError), (None, TypeError)],
)
def test_bad_outputs(outputs: Any, error: type[Exception]) -> None:
    net = fastntk.MLP([3, 4, 2])
    with pytest.raises(error, match="outputs="):
        net.ntk(np.ones((2, 3)), outputs=outputs)


def test_bad_precision_of_a_kernel() -> None:
    with pytest.raises(ValueError, match="dtype='float16': expected 'float32' or 'float64'"):
        fastntk.MLP([3, 4, 1]).ntk(np.ones((2, 3)), dtype="float16")


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    net = fastntk.MLP([3, 100, 1])
    X = np.ones((1000, 3))
    with pytest.raises(
        MemoryError,
        match=r"the kernel of 1000 × 1000 in float64 .* needs 9\.2 MiB, but 976\.6 KiB .*"
        r"fewer samples or dtype='float32'",
    ):
        net.ntk(X)
    with pytest.raises(MemoryError, match=r"2 kernels of 1000 × 1000 in float32 and the feat"):
        fastntk.ntk_depths(X, [1, 2], width=5, network_dtype="float32")
    with pytest.raises(MemoryError, match=r"1000 × 400 matrix of gradient features .*ask for the"):
        net.gradient_features(X)


def test_a_kernel_of_astronomical_size_is_refused() -> None:
    X = np.broadcast_to(np.ones((1, 1)), (10**7, 1))
    with pytest.raises(MemoryError, match=r"10000000 × 10000000 in float64 .* needs 7\d\d\.\d TiB"):
        fastntk.MLP([1, 1]).ntk(X)


def test_available_memory_is_plausible() -> None:
    available = memory.available_memory()
    assert available is None or 10**7 < available < 10**15


def test_available_memory_respects_control_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    limit, usage = tmp_path / "max", tmp_path / "current"
    limit.write_text("5000\n")
    usage.write_text("2000\n")
    monkeypatch.setattr(memory, "_CGROUP_FILES", ((str(limit), str(usage)),))
    assert memory.available_memory() == 3000
    limit.write_text("max\n")
    assert memory.available_memory() != 3000


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**41, "2.0 TiB")],
)
def test_human_bytes(count: int, text: str) -> None:
    assert memory.human_bytes(count) == text
