# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels and training on every set of instructions that this processor has, and with GEMM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastntk import _core

# Each way to a kernel, against the product of the gradients themselves: of odd numbers of samples,
# of widths that fill no register, of two outputs whose Δ lie side by side, in the precisions of the
# network and of the kernel; and of so many samples that weights are packed once for all blocks.
_PROGRAM = """
import sys
import numpy as np
import fastntk
from fastntk import _core, layers

assert _core.panel_instructions() == sys.argv[1]
rng = np.random.default_rng(1)
rounding = {"float32": 2e-5, "float64": 1e-13}

def check(kernel, expected, dtype):
    assert kernel.shape == expected.shape
    assert np.max(np.abs(kernel - expected)) <= rounding[dtype] * np.max(np.abs(expected))

for own, dtype in [("float32", "float32"), ("float64", "float64"), ("float32", "float64"),
                   ("float64", "float32")]:
    coarser = "float32" if "float32" in (own, dtype) else "float64"
    net = fastntk.MLP([3, 37, 129, 6, 2], bias_std=0.5, dtype=own)
    exact = net.astype("float64")
    samples = rng.standard_normal((70, 3)).astype(own)
    F = [exact.gradient_features(samples.astype("float64"), output=c) for c in range(2)]
    pairs = np.einsum("aip,bjp->ijab", F, F)
    trace = np.einsum("ijaa->ij", pairs)
    for n in [1, 2, 3, 5, 8, 13, 17, 24, 25, 47, 49, 63, 70]:
        first = 3 * n % 69
        X, Z = samples[:n], samples[first:]
        check(net.ntk(X, dtype=dtype), trace[:n, :n], coarser)
        check(net.ntk(X, Z, dtype=dtype), trace[:n, first:], coarser)
        check(net.ntk(X, outputs="full", dtype=dtype), pairs[:n, :n], coarser)
        check(net.ntk(X, Z, outputs="full", dtype=dtype), pairs[:n, first:], coarser)
        check(net.ntk(X, outputs=1, dtype=dtype), pairs[:n, :n, 1, 1], coarser)
        check(net.ntk_by_layer(X, dtype=dtype).sum(0), trace[:n, :n], coarser)
        check(net.ntk(X, dtype=dtype, out="packed").to_dense(), trace[:n, :n], coarser)
        if n > 1:
            norms = np.sqrt(np.diag(trace)[:n])
            cosines = trace[:n, :n] / np.outer(norms, norms)
            largest = np.max(cosines[np.tril_indices(n, -1)])
            found = np.cos(net.smallest_angle(X).angle)
            assert abs(found - largest) <= rounding[coarser]

    many = rng.standard_normal((211, 3)).astype(own)
    kernel = sum(f @ f.T for f in
                 (exact.gradient_features(many.astype("float64"), output=c) for c in range(2)))
    check(net.ntk(many, dtype=dtype), kernel, coarser)
    v = rng.standard_normal((211, 2))
    check(net.ntk_operator(many, dtype=dtype) @ v.astype(dtype), kernel @ v, coarser)

# A network of layers, of so many samples that weights are packed once. Where there are products of
# panels, the bits of a sample are those that it has alone.
block = layers.Residual([layers.LayerNorm(), layers.Dense(37), layers.ReLU(), layers.Dense(135)])
described = fastntk.Network([layers.Dense(135, bias_std=0.5), block, layers.Dense(2)], inputs=3)
for dtype in rounding:
    net = described.sample(dtype=dtype)
    exact = net.astype("float64")
    samples = rng.standard_normal((400, 3)).astype(dtype)
    kernel = sum(f @ f.T for f in
                 (exact.gradient_features(samples.astype("float64"), output=c) for c in range(2)))
    found = net.ntk(samples)
    check(found, kernel, dtype)
    for rows in [slice(0, 1), slice(5, 12), slice(100, 149), slice(399, 400)]:
        few = net.ntk(samples[rows], samples)
        check(few, kernel[rows], dtype)
        if sys.argv[1] != "generic":
            assert (few == found[rows]).all()
"""


# Steps of so many samples that they are taken in panels, and a last, smaller batch: against the
# explicit ones, of widths that fill no register.
_TRAINING = """
import sys
import numpy as np
import fastntk
from fastntk import _core

assert _core.panel_instructions() == sys.argv[1]
sys.path.insert(0, sys.argv[2])
import reference
from training_problems import orders, rows_of

rng = np.random.default_rng(1)
X = rng.standard_normal((77, 5))
for dtype, rounding in [("float32", 1e-4), ("float64", 1e-11)]:
    for loss, activation in [("mse", "tanh"), ("cross_entropy", "relu")]:
        y = rng.standard_normal((77, 3)) if loss == "mse" else rng.integers(0, 3, 77)
        net = fastntk.MLP([5, 19, 13, 3], activation=activation, bias_std=0.5, dtype=dtype)
        for momentum in [0.0, 0.5]:
            history = fastntk.train(net, X.astype(dtype), y.astype(dtype) if loss == "mse" else y,
                                    loss=loss, learning_rate=0.1, batch_size=66, seed=3,
                                    momentum=momentum, epochs=1)
            expected = reference.ReferenceNetwork.like(net.astype("float64"), bias_std=0.5)
            losses = reference.descend(expected, X, rows_of(y), loss, 0.1, orders(77, 66, 1, 3),
                                       momentum)
            mean = np.dot(losses, [66, 11]) / 77
            assert abs(history.loss[0] - mean) <= rounding * abs(mean)
            for weights, by_hand in zip(history.net.weights, expected.weights, strict=True):
                assert np.max(np.abs(weights - by_hand)) <= rounding * np.max(np.abs(by_hand))
"""


def _run(instructions: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", *arguments],
        env={**os.environ, "FASTNTK_INSTRUCTIONS": instructions},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("instructions", ["avx512", "avx2", "neon", "generic"])
@pytest.mark.parametrize("program", [_PROGRAM, _TRAINING], ids=["kernels", "training"])
def test_every_size(program: str, instructions: str) -> None:
    completed = _run(instructions, program, instructions, str(Path(__file__).parent))
    if "this processor has" in completed.stderr:
        assert instructions not in (_core.panel_instructions(), "generic")
        pytest.skip(completed.stderr.splitlines()[-1])
    assert completed.returncode == 0, completed.stderr


def test_instructions_that_there_are_not() -> None:
    completed = _run("abacus", "import fastntk")
    assert completed.returncode != 0
    last = completed.stderr.splitlines()[-1]
    assert last.startswith("ImportError: the environment variable FASTNTK_INSTRUCTIONS is ")
    assert '"abacus"' in last
    assert '"generic"' in last
