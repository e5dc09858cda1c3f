# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Writes neural_tangents.npz: kernels by neural-tangents, in float64, that the tests compare with.

In an environment of its own:

    pip install 'neural-tangents==0.6.5' 'jax[cpu]==0.4.25' 'numpy<2' 'scipy<1.13'
    python tests/infinite/make_reference.py
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from neural_tangents import stax  # noqa: E402

WEIGHT_STD, BIAS_STD, WIDTH = 1.3, 0.4, 512
DEPTHS = (1, 3)

ACTIVATIONS = {
    "identity": stax.Identity(),
    "relu": stax.Relu(),
    "leaky_relu": stax.LeakyRelu(0.3),
    "abrelu": stax.ABRelu(-0.4, 1.5),
    "abs": stax.Abs(),
    "sign": stax.Sign(),
    "rectified_monomial_2": stax.RectifiedMonomial(2),
    "rectified_monomial_3": stax.RectifiedMonomial(3),
    "monomial_2": stax.Monomial(2),
    "monomial_3": stax.Monomial(3),
    "polynomial": stax.Polynomial([0.2, 0.7, -0.3, 0.1]),
    "erf": stax.Erf(1.0, 0.8, 0.3),
    "gelu": stax.Gelu(),
    "sin": stax.Sin(1.0, 1.4, 0.3),
    "cos": stax.Cos(1.0, 1.4, 0.3),
    "exp": stax.Exp(1.0, 0.3),
    "gaussian": stax.Gaussian(1.0, -0.7),
    "rbf": stax.Rbf(0.6),
    "gabor": stax.Gabor(),
    "exp_normalized": stax.ExpNormalized(0.8, 0.0),
}


def network(
    activation: Any,
    depth: int,
    weight_std: float = WEIGHT_STD,
    bias_std: float = BIAS_STD,
    *,
    standard: bool = False,
) -> Any:
    """Return kernel_fn of a fully connected network."""
    parametrization = "standard" if standard else "ntk"
    b_std = bias_std if bias_std > 0 else None
    layers = []
    for _ in range(depth):
        layers += [
            stax.Dense(WIDTH, weight_std, b_std, parameterization=parametrization),
            activation,
        ]
    layers.append(stax.Dense(1, weight_std, b_std, parameterization=parametrization))
    return stax.serial(*layers)[2]


def main() -> None:
    """Compute all kernels and write them."""
    generator = np.random.default_rng(0)
    X, Z = generator.standard_normal((6, 4)), generator.standard_normal((5, 4))
    Z[0] = -2 * X[0]  # opposite, and with another norm
    arrays: dict[str, Any] = {"X": X, "Z": Z}
    for name, activation in ACTIVATIONS.items():
        for depth in DEPTHS:
            for label, other in (("XX", None), ("XZ", Z)):
                kernel = network(activation, depth)(X, other, ("nngp", "ntk"))
                arrays[f"{name}/{depth}/{label}/nngp"] = kernel.nngp
                arrays[f"{name}/{depth}/{label}/ntk"] = kernel.ntk
    # A polynomial that assumes inputs of unit norm, and no biases.
    sphere = 2 * X / np.linalg.norm(X, axis=1, keepdims=True)
    arrays["sphere"] = sphere
    for depth in DEPTHS:
        kernel = network(stax.Hermite(3), depth, 1.0, 0.0)(sphere, None, ("nngp", "ntk"))
        arrays[f"hermite_3/{depth}/nngp"], arrays[f"hermite_3/{depth}/ntk"] = kernel
    for depth in DEPTHS:
        for bias_std in (0.0, BIAS_STD):
            kernel_fn = network(stax.Relu(), depth, WEIGHT_STD, bias_std, standard=True)
            arrays[f"standard/{depth}/{bias_std}"] = kernel_fn(X, None, "ntk")
    np.savez_compressed(
        Path(__file__).with_name("neural_tangents.npz"),
        allow_pickle=False,
        **{key: np.asarray(value) for key, value in arrays.items()},
    )


if __name__ == "__main__":
    main()
