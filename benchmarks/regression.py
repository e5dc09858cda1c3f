# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernel regression of very many samples, without the kernel: time, memory, residual, error.

``python -m benchmarks.regression`` (n 50 000, width 512, depth 3) fits the linear model around a
network by conjugate gradients, in a process that may have 2 GiB at most, and predicts other
samples. It fails if the residual, computed with a product of its own, is above the tolerance, or
the memory is above the limit.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

import fastntk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--inputs", type=int, default=50)
    parser.add_argument("--ridge", type=float, default=0.1)
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--block-rows", type=int, help="features in blocks of so many samples")
    parser.add_argument("--most-gib", type=float, default=2.0)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    X = random.standard_normal((given.n + 1000, given.inputs))
    y = np.tanh(X[:, 0] + X[:, 1]) + X[:, 2] * X[:, 3] + 0.1 * random.standard_normal(len(X))
    net = fastntk.MLP([given.inputs, *[given.width] * given.depth, 1], dtype=given.dtype)
    wall, used = time.perf_counter(), time.process_time()
    fitted = net.linearize().fit(
        X[: given.n],
        y[: given.n],
        solver="cg",
        ridge=given.ridge,
        preconditioner_rank=given.rank,
        tolerance=given.tolerance,
        block_rows=given.block_rows,
        progress=True,
    )
    seconds, processor = time.perf_counter() - wall, time.process_time() - used
    wall = time.perf_counter()
    there = fitted.outputs(X[given.n :])[:, 0]
    predicting = time.perf_counter() - wall
    error = np.square(there - y[given.n :]).mean() / y[given.n :].var()
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"n {given.n}, width {given.width}, depth {given.depth}, {given.dtype}, ridge "
        f"{given.ridge:g}, rank {given.rank}: {seconds:.1f} s ({processor:.1f} s of processor), "
        f"{int(fitted.iterations[0])} iterations, residual {fitted.residuals[0]:.2e}, peak memory "
        f"{gib:.2f} GiB; 1000 other samples in {predicting:.2f} s, squared error {error:.3f} of "
        "their variance"
    )
    assert fitted.converged.all(), f"residual {fitted.residuals[0]:.2e} above {given.tolerance:g}"
    assert gib <= given.most_gib, f"{gib:.2f} GiB of memory: more than {given.most_gib:g}"


if __name__ == "__main__":
    main()
