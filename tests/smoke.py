# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether an installed wheel works: python tests/smoke.py, which needs no compiler and no pytest.

A few numbers that are known otherwise, from each part that is compiled: the core, what it borrows
of SciPy, and what Numba compiles.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import fastntk


def expect(holds: object, what: str) -> None:
    if not holds:
        raise SystemExit(f"fastntk {fastntk.__version__} from {fastntk.__file__}: wrong: {what}")


def main() -> None:
    X = np.random.default_rng(0).standard_normal((60, 5))
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-4)):
        net = fastntk.MLP([5, 64, 64, 2], dtype=dtype)
        F = net.gradient_features(X.astype(dtype), output=0).astype(np.float64)
        K = net.ntk(X.astype(dtype), outputs=0)
        expect(np.allclose(K, F @ F.T, rtol=tolerance, atol=tolerance), f"the kernel in {dtype}")

    net = fastntk.MLP([5, 256, 256, 1])
    K = net.ntk(X)
    found = fastntk.conditioning(K, **net.ntk_errors(X))
    values = np.linalg.eigvalsh(K)
    expect(np.isclose(found.condition_number, values[-1] / values[0]), "κ")
    expect(found.bounds is not None, "bounds")
    expect(found.bounds and found.condition_number in found.bounds.condition_number, "bounds of κ")

    y = np.sign(X[:, 0])
    history = fastntk.train(net, X, y, loss="mse", learning_rate=0.5, epochs=50)
    expect(history.loss[-1] < history.loss[0] / 2, "training")

    for activation in ("relu", "erf"):  # one of each compiled recursion
        limit = fastntk.infinite.ntk(X, depth=2, activation=activation)
        wide = fastntk.MLP([5, 2000, 2000, 1], activation=activation).ntk(X)
        distance = np.linalg.norm(wide - limit) / np.linalg.norm(limit)
        expect(distance < 0.1, f"the limit, {activation}")

    with tempfile.TemporaryDirectory() as folder:
        net.save(Path(folder) / "net.npz")
        expect(fastntk.MLP.load(Path(folder) / "net.npz").digest() == net.digest(), "files")


if __name__ == "__main__":
    main()
