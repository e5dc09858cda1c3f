# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures draw what has the attributes that they name, whatever made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import fastntk
from fastntk import figures

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    theta: Array
    depths: tuple[int, ...]
    activations: tuple[str, ...]
    infinite: Array
    width: int | None = None
    mean: Array | None = None
    deviation: Array | None = None


def test_curves_of_ones_own(tmp_path: Path) -> None:
    theta = np.linspace(0.1, 3.0, 7)
    infinite = np.stack([[theta / 2, theta / 3]])
    figure = figures.plot_angle_curves(Curves(theta, (1, 2), ("relu",), infinite))
    (axes,) = figure.axes
    assert axes.get_title() == "ReLU"
    assert axes.get_legend_handles_labels()[1] == ["gradient = input", "depth 1", "depth 2"]
    np.testing.assert_allclose(np.asarray(axes.lines[1].get_ydata(), float), np.degrees(theta / 2))
    figures.save(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_results_and_titles_say_all_settings() -> None:
    X = np.random.default_rng(0).standard_normal((6, 3))
    study = fastntk.depth_study(
        X,
        depths=[1],
        width=4,
        seeds=1,
        activations=["tanh"],
        activation_scale=1.25,
        weight_std=1.5,
        bias_std=0.5,
        dtype="float64",
        infinite=True,
        tolerance=1e-7,
        batches=3,
        progress=False,
    )
    (row, *_) = study.to_frame().to_dict("records")
    settings = {
        "activation": "tanh",
        "activation_scale": 1.25,
        "weight_std": 1.5,
        "bias_std": 0.5,
        "parametrization": "ntk",
        "dtype": "float64",
        "samples": 6,
        "batch_size": 3,
        "tolerance": 1e-7,
    }
    assert {name: row[name] for name in settings} == settings
    assert figures.plot_depth_study(study).get_suptitle() == (
        "6 samples, width 4, $\\sigma_w$ 1.5, $\\sigma_b$ 0.5, parametrization ntk, float64\n"
        "$c_\\phi$ of tanh: 1.25"
    )
    plain = fastntk.depth_study(X, depths=[0], width=4, seeds=1, activations=["relu"])
    assert not {"batch_size", "tolerance"} & set(plain.to_frame().columns)

    convergence = fastntk.convergence_study(
        X,
        [0, 1, 1, 0, 1, 0],
        [1],
        width=16,
        seeds=1,
        activation="tanh",
        activation_scale=1.25,
        batch_size=3,
        epochs=2,
        search_epochs=1,
        rate_samples=4,
        rate_steps=7,
        dtype="float64",
        progress=False,
    )
    (row,) = convergence.to_frame().to_dict("records")
    settings = {
        "width": 16,
        "batch_size": 3,
        "loss_target": 0.1,
        "activation": "tanh",
        "activation_scale": 1.25,
        "dtype": "float64",
        "samples": 6,
        "rate_samples": 4,
        "search_epochs": 1,
        "rate_steps": 7,
        "epochs": 2,
    }
    assert {name: row[name] for name in settings} == settings
    for figure in (figures.plot_convergence_study(convergence), figures.figure4(convergence)):
        assert figure.get_suptitle() == (
            "6 samples, width 16, batches of 3,\ntanh, $c_\\phi$ 1.25, float64"
        )

    linear = fastntk.linearization_error(
        X,
        X[:, 0],
        [4],
        depth=1,
        activation="tanh",
        activation_scale=1.25,
        bias_std=0.5,
        seeds=1,
        steps=3,
        learning_rate=0.01,
    )
    (row,) = linear.to_frame().to_dict("records")
    assert (row["depth"], row["steps"], row["learning_rate"], row["bias_std"]) == (1, 3, 0.01, 0.5)
    assert figures.plot_linearization(linear).get_suptitle() == (
        "depth 1, tanh, $c_\\phi$ 1.25, $\\sigma_b$ 0.5,\n3 steps of learning rate 0.01"
    )

    curves = fastntk.angle_curves([0.1], [1], ["tanh"], tolerance=1e-7, width=4, seeds=2)
    (row,) = curves.to_frame().to_dict("records")
    assert (row["tolerance"], row["width"], row["seeds"]) == (1e-7, 4, 2)
