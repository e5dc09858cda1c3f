# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Writes neural_tangents.npz: kernels of residual and normalized networks by neural-tangents.

In float64, in an environment of its own, see tests/infinite/make_reference.py.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from neural_tangents import stax  # noqa: E402

WEIGHT_STD, BIAS_STD = 1.3, 0.4


def dense(width: int = 64, bias: float | None = BIAS_STD) -> Any:
    return stax.Dense(width, WEIGHT_STD, bias, parameterization="ntk")


def residual(*branch: Any) -> Any:
    return stax.serial(
        stax.FanOut(2), stax.parallel(stax.Identity(), stax.serial(*branch)), stax.FanInSum()
    )


def norm() -> Any:
    return stax.LayerNorm(axis=-1, eps=0.0)


NETWORKS = {
    "residual": [dense(), *[residual(dense(), stax.Relu(), dense())] * 2, dense(1)],
    "prenorm": [
        dense(),
        *[residual(norm(), dense(), stax.Relu(), dense())] * 3,
        norm(),
        stax.Relu(),
        dense(1),
    ],
    "postnorm": [
        dense(),
        residual(dense(), stax.Erf(1.0, 1.0, 0.0), dense(bias=None)),
        norm(),
        residual(dense(), stax.Erf(1.0, 1.0, 0.0), dense(bias=None)),
        norm(),
        dense(1),
    ],
    "nested": [
        dense(),
        residual(dense(), residual(stax.Gelu(), dense()), stax.Gelu(), dense()),
        dense(1),
    ],
}


def main() -> None:
    X = np.random.default_rng(20).standard_normal((5, 4))
    found: dict[str, Any] = {"X": X}
    for name, layers in NETWORKS.items():
        kernels = stax.serial(*layers)[2](X, None, ("nngp", "ntk"))
        found[f"{name}_nngp"], found[f"{name}_ntk"] = map(np.asarray, (kernels.nngp, kernels.ntk))
    np.savez_compressed(Path(__file__).with_name("neural_tangents.npz"), **found)


if __name__ == "__main__":
    main()
