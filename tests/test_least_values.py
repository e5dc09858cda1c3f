# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Bounds of arguments: the last value that is accepted, and the first one that is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk import activations, infinite

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.random.default_rng(3).standard_normal((4, 3))
Y = np.random.default_rng(4).standard_normal((4, 2))
LABELS = np.array([0, 1, 1, 0])
NET = fastntk.MLP([3, 4, 2])
ONE = fastntk.MLP([3, 4, 1])
K = NET.ntk(X)
TINY = 1e-300  # beside 0, which is a number that must be above 0 in many places


def packed() -> fastntk.PackedKernel:
    return fastntk.PackedKernel.from_dense(K)


def mlp(**changed: Any) -> fastntk.MLP:
    given: dict[str, Any] = {"widths": [3, 4, 2]}
    return fastntk.MLP(**(given | changed))


def train(**changed: Any) -> Any:
    given: dict[str, Any] = {"learning_rate": 0.1, "epochs": 1, "progress": False}
    return fastntk.train(NET, X, LABELS, **(given | changed))


def search(**changed: Any) -> Any:
    given: dict[str, Any] = {"epochs": 1, "grid": [0.1], "jobs": 1}
    return fastntk.find_learning_rate(NET, X, LABELS, **(given | changed))


def study(**changed: Any) -> Any:
    given: dict[str, Any] = {
        "depths": [1],
        "width": 2,
        "seeds": 1,
        "activations": ["tanh"],
        "progress": False,
    }
    return fastntk.depth_study(X, **(given | changed))


def study_with_limits(**changed: Any) -> Any:
    return study(infinite=True, **changed)


def convergence(**changed: Any) -> Any:
    given: dict[str, Any] = {"depths": [1], "width": 4, "seeds": 1, "epochs": 1, "jobs": 1}
    given |= {
        "batch_size": 2,
        "rate_samples": 2,
        "rate_steps": 2,
        "search_epochs": 1,
        "progress": False,
    }
    return fastntk.convergence_study(X, LABELS, **(given | changed))


def linearized(**changed: Any) -> Any:
    given: dict[str, Any] = {
        "widths": [4],
        "seeds": 1,
        "steps": 2,
        "depth": 1,
        "learning_rate": 0.01,
    }
    return fastntk.linearization_error(X, Y, **(given | changed))


# What is called, which argument, the last values that are accepted, the first that are refused.
CASES: list[tuple[Callable[..., Any], str, list[Any], list[Any]]] = [
    (fastntk.PackedKernel.empty, "n", [1], [0]),
    (lambda i: packed().row(i), "i", [0, 3], [-1, 4]),
    (lambda indices: packed().submatrix(indices), "indices", [[0, 3]], [[-1], [4]]),
    (lambda size: packed().blocks(size), "size", [1], [0]),
    (mlp, "widths", [[1, 1]], [[0, 1], [3, 0, 1]]),
    (mlp, "weight_std", [1e-30], [0.0]),
    (mlp, "bias_std", [0.0, 1e-30], [-1e-30]),
    (mlp, "init_scale", [1e-30, [1e-30, 1.0]], [0.0, [0.0, 1.0]]),
    (mlp, "seed", [0], [-1]),
    (lambda **k: fastntk.MLP.from_weights(NET.weights, **k), "weight_std", [1e-30], [0.0]),
    (lambda **k: fastntk.MLP.from_weights(NET.weights, **k), "bias_std", [0.0], [-1e-30]),
    (lambda **k: NET.ntk(X, **k), "outputs", [0, 1], [-1, 2]),
    (lambda **k: NET.gradient_features(X, **k), "output", [0, 1], [-1, 2]),
    (lambda **k: NET.smallest_angle(X, **k), "k", [1], [0]),
    (lambda **k: list(NET.ntk_tiles(X, **k)), "tile", [1], [0]),
    (lambda **k: fastntk.conditioning(K, **k), "k", [1, 4], [0, 5]),
    (lambda **k: fastntk.conditioning(K, **k), "feature_error", [0.0, 1e-30, math.inf], [-1e-30]),
    (lambda **k: fastntk.conditioning(K, **k), "kernel_error", [0.0, 1e-30, math.inf], [-1e-30]),
    (lambda **k: fastntk.batch_conditioning(K, **k), "batch_size", [2, 4], [1, 5]),
    (lambda **k: fastntk.ntk_depths(X, [1], **k), "width", [1], [0]),
    (train, "learning_rate", [1e-30], [0.0]),
    (train, "momentum", [0.0, 1 - 2.0**-53], [-1e-30, 1.0]),
    (train, "batch_size", [1, 4], [0]),
    (train, "epochs", [1], [0]),
    (train, "loss_target", [0.0], [-1e-30]),
    (search, "jobs", [1], [0]),
    (search, "epochs", [1], [0]),
    (search, "loss_target", [0.0, 1e-30], [-1e-30]),
    (search, "grid", [[1e-30]], [[0.0]]),
    (lambda **k: fastntk.learning_rate_bound(NET, X, **k), "subset", [1], [0]),
    (study, "width", [1, [1]], [0, [0]]),
    (study, "weight_std", [1e-10], [0.0]),
    (study, "bias_std", [0.0], [-1e-30]),
    (study_with_limits, "tolerance", [1e-12], [0.0]),
    (study, "batches", [2, 4], [1, 5]),
    (study, "seeds", [1], [0]),
    (study, "depths", [[0]], [[-1]]),
    (convergence, "width", [1], [0]),
    (convergence, "epochs", [1], [0]),
    (convergence, "batch_size", [1], [0]),
    (convergence, "loss_target", [0.0], [-1e-30]),
    (convergence, "search_epochs", [1], [0]),
    (convergence, "rate_samples", [2, 99], [1]),
    (convergence, "rate_steps", [1], [0]),
    (convergence, "jobs", [1], [0]),
    (linearized, "widths", [[1]], [[0]]),
    (linearized, "steps", [1], [0]),
    (linearized, "learning_rate", [1e-30], [0.0]),
    (lambda **k: fastntk.angle_curves([1.0], depths=[1], width=4, **k), "seeds", [2], [1]),
    (
        lambda **k: fastntk.angle_curves([1.0], seeds=2, activations=["tanh"], **k),
        "width",
        [1],
        [0],
    ),
    (lambda **k: fastntk.convergence_rate(ONE, X, Y[:, 0], **k), "steps", [1], [0]),
    (lambda **k: fastntk.monte_carlo_ntk(X, seeds=2, **k), "widths", [[1]], [[0]]),
    (infinite.Network, "depth", [0, [0]], [-1]),
    (lambda **k: infinite.Network(1, **k), "weight_std", [TINY], [0.0]),
    (lambda **k: infinite.Network(1, **k), "bias_std", [0.0, TINY], [-TINY]),
    (lambda **k: infinite.Network(1, parametrization="standard", **k), "width", [1], [0]),
    (lambda **k: infinite.Network(1, "relu").predict(X, Y, X, **k), "ridge", [0.0, TINY], [-TINY]),
    (infinite.limit_kernel, "n", [1], [0]),
    (infinite.limit_condition_number, "n", [1], [0]),
    (activations.leaky_relu, "alpha", [-1e30, 1e30], [-math.inf]),
    (activations.rectified_monomial, "degree", [1], [0]),
    (activations.monomial, "degree", [1], [0]),
    (activations.hermite, "degree", [1], [0]),
    (activations.elu, "alpha", [0.0, TINY], [-TINY]),
    (activations.gaussian_nodes, "refinement", [1], [0]),
]


@pytest.mark.parametrize(
    ("call", "name", "accepted", "refused"),
    CASES,
    ids=[f"{getattr(case[0], '__qualname__', '')}-{case[1]}" for case in CASES],
)
def test_the_last_value_that_is_accepted_and_the_first_that_is_not(
    call: Callable[..., Any], name: str, accepted: list[Any], refused: list[Any]
) -> None:
    for value in accepted:
        call(**{name: value})
    for value in refused:
        with pytest.raises(ValueError, match=rf"^{name}\b"):
            call(**{name: value})
