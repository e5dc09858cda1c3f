# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Each argument of the public functions does something, unless it says how and not what.

An argument that is taken and forgotten on the way, with a default in its place, shows here: each is
given a value with which the result must be another one, or the same to the bit. What the right
results are is for other tests.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import fastntk
from fastntk import infinite, linearity
from fastntk.activations import leaky_relu
from fastntk.architectures import Architecture
from fastntk.sklearn import NTKRegressor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RNG = np.random.default_rng(5)
X = RNG.standard_normal((6, 3))
Z = RNG.standard_normal((4, 3))
Y = RNG.standard_normal((6, 2))
LABELS = np.array([0, 1, 1, 0, 1, 0])
NET = fastntk.MLP([3, 5, 4, 2], bias_std=0.3)
SEEDED = fastntk.MLP([3, 5, 4, 2], bias_std=0.3, seed=2)
LINEAR = NET.linearize().fit(X, Y)
K = NET.ntk(X)


@dataclass(frozen=True)
class Case:
    """A call, and what its arguments do.

    Attributes
    ----------
    function : callable
    call : dict
        Arguments to which a change is made, one at a time.
    changes : dict
        By argument: values with which the result must be another one.
    same : dict
        By argument: values with which it must be the same to the bit.
    given : dict
        By argument: others that have to be given for it to matter.
    beside : dict
        By argument: others that have to be given with it, and not without.
    """

    function: Callable[..., Any]
    call: dict[str, Any]
    changes: dict[str, Any]
    same: dict[str, Any] = field(default_factory=dict)
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    beside: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.function.__qualname__


def silent(*_: object) -> None:
    """A progress report that is not looked at."""


# Networks of infinite width.
WIDE: dict[str, Any] = {
    "depth": 3,
    "activation": "gelu",
    "weight_std": 1.5,
    "bias_std": 0.4,
}
WIDE_OPTIONS: dict[str, Any] = {
    "activation_scale": 1.0,
    "parametrization": "standard",
    "width": 5,
    "layer_weights": [1.0, 0.5, 0.25],
    "tolerance": 1e-2,
}
# These matter in another network: a width in the standard parametrization, a tolerance with a
# series.
WIDE_GIVEN: dict[str, Any] = {
    "width": {"parametrization": "standard", "width": 7},
    "tolerance": {"activation": "sigmoid", "weight_std": 3.0},
}
WIDE_TANGENT: dict[str, Any] = {  # these matter to the tangent kernel alone
    "parametrization": {"kernel": "ntk"},
    "width": {"kernel": "ntk", "parametrization": "standard", "width": 7},
    "layer_weights": {"kernel": "ntk"},
}
WIDE_BESIDE: dict[str, Any] = {"parametrization": {"width": 5}}
# Of conjugate gradients alone; the last two matter where a preconditioner does not do all.
ITERATED: dict[str, Any] = {
    "preconditioner_rank": {"solver": "cg", "ridge": 0.1},
    "max_iterations": {"solver": "cg", "ridge": 0.1, "preconditioner_rank": 0},
    "solver_tolerance": {"solver": "cg", "ridge": 0.1, "preconditioner_rank": 0},
}
TRAINING_DOES_NOT_LOOK_AT: dict[str, Any] = {"progress": silent, "device": None}

NETWORK = Case(
    lambda: None,
    {"widths": [3, 5, 4, 2]},
    {
        "widths": [3, 5, 5, 2],
        "activation": leaky_relu(0.2),
        "weight_std": 1.5,
        "bias_std": 0.4,
        "parametrization": "standard",
        "activation_scale": 1.0,
        "init_scale": 0.5,
        "seed": 1,
        "dtype": "float32",
    },
)


def network_kernel(**settings: Any) -> Any:
    return fastntk.MLP(**settings).ntk(X)


def from_weights(**settings: Any) -> Any:
    return fastntk.MLP.from_weights(**settings).ntk(X)


def regression(
    *, X: Any, Z: Any = Z, y: Any = Y, covariance: bool = False, time: float = np.inf, **others: Any
) -> Any:
    return infinite.Regression(X, **others).predict(Z, y, covariance=covariance, time=time)


def fitted(**given: Any) -> Any:
    found = NET.linearize().fit(X, Y, **given)
    if given["solver"] == "eigh":
        return found.outputs(Z, time=np.inf)
    return found.outputs(Z)


def neural_kernel(**settings: Any) -> Any:
    return infinite.NeuralKernel(**settings)(X)


def estimator(**settings: Any) -> Any:
    return NTKRegressor(**settings).fit(X, Y).predict(Z)


def wide_kernel(**settings: Any) -> Any:
    return infinite.Network(**settings).ntk(X)


def report(directory: Path, **settings: Any) -> Any:
    found = fastntk.kernel_report(directory=directory, **settings)
    numbers = {each.name: getattr(found, each.name) for each in fields(found)}
    return {name: value for name, value in numbers.items() if name != "seconds"}


CASES = [
    Case(network_kernel, NETWORK.call, NETWORK.changes),
    Case(
        from_weights,
        {"weights": NET.weights, "biases": NET.biases, "bias_std": 0.3},
        {
            "weights": [2 * w for w in NET.weights],
            "biases": [2 * np.asarray(b) for b in NET.biases or ()],
            "activation": "tanh",
            "weight_std": 1.5,
            "bias_std": 0.4,
            "parametrization": "standard",
            "activation_scale": 1.0,
            "dtype": "float32",
        },
        given={"parametrization": {"bias_std": None}},
    ),
    Case(
        NET.ntk,
        {"X": X},
        {
            "X": 2 * X,
            "Z": Z,
            "outputs": 1,
            "layer_weights": [1.0, 0.5, 0.25],
            "dtype": "float32",
        },
        {"out": np.empty((6, 6)), "overwrite": True, "progress": silent, "device": None},
    ),
    Case(
        NET.ntk_by_layer,
        {"X": X},
        {"X": 2 * X, "Z": Z, "outputs": 1, "dtype": "float32"},
        {"progress": silent, "device": None},
    ),
    Case(
        NET.conjugate_kernel,
        {"X": X},
        {"X": 2 * X, "Z": Z, "dtype": "float32"},
        {"progress": silent, "device": None},
    ),
    Case(
        NET.ntk_tiles,
        {"X": X},
        {
            "X": 2 * X,
            "Z": Z,
            "tile": 4,
            "outputs": 1,
            "layer_weights": [1.0, 0.5, 0.25],
            "dtype": "float32",
        },
        {"device": None},
    ),
    Case(
        NET.ntk_operator,
        {"X": X},
        {
            "X": 2 * X,
            "outputs": 1,
            "layer_weights": [1.0, 0.5, 0.25],
            "dtype": "float32",
        },
        {"device": None, "block_rows": 6},
    ),
    Case(
        fastntk.conjugate_gradients,
        {"K": NET.ntk_operator(X), "y": Y},
        {
            "K": NET.ntk_operator(2 * X),
            "y": 2 * Y,
            "ridge": 0.1,
            "preconditioner_rank": 2,
            "tolerance": 0.5,
            "max_iterations": 1,
            "seed": 1,
        },
        {"progress": silent},
        given={
            "tolerance": {"preconditioner_rank": 0},
            "max_iterations": {"preconditioner_rank": 0},
            "seed": {"preconditioner_rank": 2},
        },
    ),
    Case(
        fitted,
        {"solver": "cg"},
        {
            "solver": "eigh",
            "outputs": "diagonal",
            "layer_weights": [1.0, 0.5, 0.25],
            "ridge": 0.1,
            "preconditioner_rank": 2,
            "tolerance": 0.5,
            "max_iterations": 1,
        },
        {"progress": silent, "block_rows": 6},
        given={
            "tolerance": {"preconditioner_rank": 0},
            "max_iterations": {"preconditioner_rank": 0},
        },
    ),
    Case(
        NET.gradient_features,
        {"X": X},
        {"X": 2 * X, "output": 1},
        {"progress": silent, "device": None},
    ),
    Case(NET.jacobian, {"X": X}, {"X": 2 * X}, {"progress": silent, "device": None}),
    Case(NET.input_jacobian, {"X": X}, {"X": -X}, {"device": None}),
    Case(
        NET.smallest_angle,
        {"X": X},
        {"X": X**2, "k": 2},
        {"progress": silent, "device": None},
    ),
    Case(
        fastntk.conditioning,
        {"K": K},
        {
            "K": 2 * K,
            "bounds": False,
            "k": 2,
            "eigenvectors": True,
            "feature_error": 1e-3,
            "kernel_error": 1e-3,
            "method": "cholesky",
        },
        {"progress": silent, "overwrite": False},
    ),
    Case(
        fastntk.batch_conditioning,
        {"K": K, "batch_size": 4},
        {
            "K": K[:5, :5],
            "batch_size": 3,
            "seed": 1,
            "drop_last": False,
            "feature_error": 1e-3,
            "kernel_error": 1e-3,
        },
        {"progress": silent},
        given={"drop_last": {"batch_size": 5}, "feature_error": {}},
    ),
    Case(
        fastntk.ntk_depths,
        {"X": X, "depths": [1, 2], "width": 5},
        {
            "X": 2 * X,
            "depths": [1, 3],
            "width": 6,
            "activation": "tanh",
            "activation_scale": 1.0,
            "weight_std": 1.5,
            "bias_std": 0.4,
            "parametrization": "standard",
            "seed": 1,
            "shared": False,
            "network_dtype": "float32",
            "dtype": "float32",
        },
        {"progress": silent, "device": None},
    ),
    Case(
        fastntk.depth_study,
        {"X": X, "depths": [1, 2], "width": 5, "seeds": [1, 2], "progress": False},
        {
            "X": 2 * X,
            "architecture": ["plain", "postnorm"],
            "residual_scale": [1, 0.5],
            "depths": [1, 3],
            "width": [5, 6],
            "seeds": [1, 3],
            "activations": ["tanh"],
            "activation_scale": 1.0,
            "weight_std": 1.5,
            "bias_std": 0.4,
            "parametrization": "standard",
            "dtype": "float64",
            "infinite": True,
            "tolerance": 1e-2,
            "batches": 3,
            "bounds": True,
        },
        {"progress": silent, "client": None, "store": None, "data": "some"},
        given={
            "tolerance": {"infinite": True, "activations": ["sigmoid"], "weight_std": 3.0},
            "residual_scale": {"architecture": "residual"},
        },
    ),
    Case(
        infinite.edge_of_chaos,
        {"activation": "tanh", "bias_std": 0.3},
        {
            "activation": "erf",
            "bias_std": 0.2,
            "architecture": "postnorm",
            "activation_scale": 1.0,
        },
    ),
    Case(
        Architecture.network,
        {"self": Architecture("residual"), "depth": 2, "inputs": 3},
        {
            "self": Architecture("prenorm"),
            "depth": 3,
            "inputs": 4,
            "width": 5,
            "outputs": 2,
            "activation": "tanh",
            "activation_scale": 1.0,
            "weight_std": 1.5,
            "bias_std": 0.4,
        },
    ),
    Case(
        fastntk.monte_carlo_ntk,
        {"X": X, "widths": [4, 6], "seeds": [1, 2], "depth": 1},
        {
            "X": 2 * X,
            "widths": [4, 7],
            "seeds": [1, 3],
            "depth": 2,
            "activation": "gelu",
            "activation_scale": 1.0,
            "weight_std": 1.5,
            "bias_std": 0.4,
            "tolerance": 1e-2,
        },
        {"progress": silent, "client": None, "data": "some"},
        given={"tolerance": {"activation": "sigmoid", "weight_std": 3.0}},
    ),
    Case(
        fastntk.angle_curves,
        {"theta": [0.5, 1.0], "depths": [1, 2], "activations": ["relu"]},
        {
            "theta": [0.5, 1.5],
            "depths": [1, 3],
            "activations": ["gelu"],
            "activation_scale": 1.0,
            "tolerance": 1e-2,
            "width": 5,
            "seeds": 3,
        },
        {"progress": silent},
        given={
            "activation_scale": {"activations": ["gelu"]},
            "tolerance": {"activations": ["sigmoid"], "activation_scale": 8.0},
            "seeds": {"width": 5},
        },
    ),
    Case(
        fastntk.convergence_study,
        {
            "X": X,
            "y": LABELS,
            "depths": [1],
            "width": 6,
            "seeds": [1, 2],
            "batch_size": 3,
            "epochs": 3,
            "rate_samples": 4,
            "rate_steps": 60,
            "progress": False,
        },
        {
            "X": X**3,
            "y": 1 - LABELS * np.arange(6) % 2,
            "depths": [2],
            "width": 7,
            "seeds": [1, 3],
            "test": (Z, np.array([0, 1, 0, 1])),
            "activation": "gelu",
            "activation_scale": 1.0,
            "batch_size": 2,
            "epochs": 4,
            "loss_target": 5.0,
            "search_epochs": 1,
            "rate_samples": 5,
            "rate_steps": 5,
            "dtype": "float64",
        },
        {
            "progress": silent,
            "client": None,
            "store": None,
            "jobs": 1,
            "data": "some",
            "device": None,
        },
    ),
    Case(
        fastntk.find_learning_rate,
        {"net": NET, "X": X, "y": LABELS, "epochs": 3, "batch_size": 3},
        {
            "net": fastntk.MLP([3, 5, 4, 2], seed=2),
            "X": 2 * X,
            "y": 1 - LABELS,
            "loss": "mse",
            "batch_size": 2,
            "epochs": 4,
            "criterion": "largest_stable",
            "loss_target": 5.0,
            "grid": [0.25, 0.5],
            "momentum": 0.5,
            "layer_rates": [1.0, 0.5, 0.25],
            "seed": 1,
        },
        {"progress": silent, "jobs": 1, "data": "some", "device": None},
        given={"loss": {"y": np.eye(2)[LABELS]}},
    ),
    Case(
        fastntk.learning_rate_bound,
        {"net": NET, "X": X, "subset": 4},
        {
            "net": fastntk.MLP([3, 5, 4, 2], seed=2),
            "X": 2 * X,
            "loss": "mse",
            "layer_rates": [1.0, 0.5, 0.25],
            "subset": 3,
            "seed": 1,
        },
    ),
    Case(
        fastntk.convergence_rate,
        {"net": fastntk.MLP([3, 64, 1]), "X": X, "y": Y[:, 0], "steps": 40},
        {"net": fastntk.MLP([3, 64, 1], seed=2), "X": 2 * X, "y": Y[:, 1], "steps": 30},
        {"progress": silent},
    ),
    Case(
        fastntk.linearization_error,
        {"X": X, "y": Y[:, 0], "widths": [4, 8], "seeds": 2, "steps": 3},
        {
            "X": 2 * X,
            "y": Y[:, 1],
            "widths": [4, 9],
            "Z": Z,
            "depth": 1,
            "activation": "tanh",
            "activation_scale": 1.0,
            "bias_std": 0.3,
            "seeds": [0, 2],
            "steps": 4,
            "learning_rate": 0.05,
        },
        {"progress": silent, "data": "some"},
    ),
    Case(
        fastntk.train,
        {"net": NET, "X": X, "y": LABELS, "learning_rate": 0.3, "epochs": 2, "batch_size": 4},
        {
            "net": fastntk.MLP([3, 5, 4, 2], seed=2),
            "X": 2 * X,
            "y": 1 - LABELS,
            "loss": "mse",
            "learning_rate": 0.4,
            "epochs": 3,
            "batch_size": 3,
            "momentum": 0.5,
            "seed": 1,
            "validation": (Z, np.array([0, 1, 0, 1])),
            "trainable": [True, False, True],
            "layer_rates": [1.0, 0.5, 0.25],
            "loss_target": 50.0,
            "probe": Z,
            "probe_every": 3,
            "keep_every": 3,
        },
        {"progress": silent, "device": None, "callback": silent, "callback_every": 2}
        | {"checkpoint": None, "inplace": False, "data": "some"},
        given={
            "loss": {"y": np.eye(2)[LABELS]},
            "probe_every": {"probe": Z},
            "callback_every": {"callback": silent},
        },
    ),
    Case(
        fastntk.constancy_study,
        {
            "X": X,
            "y": 0.4 + 0.1 * LABELS,
            "widths": [4],
            "architectures": ["linear", "bottleneck"],
            "seeds": 1,
            "hessian_samples": 2,
            "epochs": 5,
            "loss_target": 0.1,
        },
        {
            "X": X**2,
            "y": 0.4 + 0.2 * LABELS,
            "widths": [5],
            "architectures": ["linear"],
            "depth": 1,
            "bottleneck": 1,
            "activation": "gelu",
            "seeds": 2,
            "hessian_samples": 3,
            "learning_rate": 0.2,
            "epochs": 6,
            "loss_target": 0.2,
        },
        {
            "progress": silent,
            "client": None,
            "store": None,
            "jobs": 1,
            "data": "some",
        },
        given={"epochs": {"loss_target": 1e-9}},
    ),
    Case(
        linearity.hessian_operator,
        {"net": NET, "X": X},
        {
            "net": SEEDED,
            "X": X**2,
            "output": 1,
            "coefficients": np.arange(6),
        },
        {"device": None},
    ),
    Case(
        linearity.loss_hessian,
        {"net": NET, "X": X, "y": np.eye(2)[LABELS]},
        {
            "net": SEEDED,
            "X": X**2,
            "y": np.eye(2)[1 - LABELS],
            "loss": "mse",
            "part": "gauss_newton",
        },
        {"device": None},
    ),
    Case(
        linearity.kernel_change,
        {"net": NET, "X": X, "direction": np.ones(NET.n_parameters)},
        {
            "net": fastntk.MLP([3, 5, 4, 2], seed=2),
            "X": X**2,
            "direction": np.arange(NET.n_parameters),
            "steps": 2,
            "layer_weights": [1.0, 0.5, 0.25],
        },
        {"progress": silent, "device": None},
        beside={"net": {"direction": np.ones(NET.n_parameters - 11)}},
    ),
    Case(
        linearity.kernel_drift,
        {"networks": {0: NET, 2: SEEDED}, "X": X},
        {
            "networks": {0: NET, 3: SEEDED},
            "X": X**2,
            "linear": LINEAR,
            "learning_rate": 0.2,
        },
        {"progress": silent, "device": None},
        given={"learning_rate": {"linear": LINEAR, "learning_rate": 0.1}},
        beside={"linear": {"learning_rate": 0.1}},
    ),
    Case(
        wide_kernel,
        {"depth": 2},
        WIDE | WIDE_OPTIONS,
        given=WIDE_GIVEN,
        beside=WIDE_BESIDE,
    ),
    *(
        Case(
            function,
            {"X": X, "depth": 2},
            {"X": X**2, "Z": Z, "normalize": True, "dtype": "float32"} | WIDE,
            {"out": np.empty((6, 6)), "overwrite": True, "progress": silent},
        )
        for function in (infinite.ntk, infinite.nngp)
    ),
    Case(
        infinite.kernels,
        {"X": X, "depth": 2},
        {"X": X**2, "Z": Z, "normalize": True} | WIDE,
        {"progress": silent},
    ),
    Case(
        infinite.ntk_tiles,
        {"X": X, "depth": 2},
        {"X": X**2, "Z": Z, "tile": 4, "normalize": True, "dtype": "float32"} | WIDE,
    ),
    Case(
        infinite.ntk_operator,
        {"X": X, "depth": 2},
        {"X": X**2, "normalize": True, "dtype": "float32"} | WIDE,
    ),
    Case(
        infinite.conditioning,
        {"X": X, "depths": [1, 2]},
        {"X": X**2, "depths": [1, 3], "normalize": True}
        | {name: value for name, value in WIDE.items() if name != "depth"},
        {"progress": silent},
    ),
    Case(
        infinite.smallest_angle,
        {"X": X, "depth": 2},
        {"X": X**2, "k": 2} | WIDE,
        {"progress": silent},
        given={"weight_std": {"bias_std": 0.4}},  # without a bias it is a scale
    ),
    *(
        Case(
            function,
            {"theta": [0.5, 1.0], "depth": 2},
            {"theta": [0.5, 1.5]} | WIDE,
            given={"weight_std": {"bias_std": 0.4}},
        )
        for function in (infinite.embedding_angle, infinite.gradient_angle)
    ),
    Case(
        infinite.predict,
        {"X": X, "y": Y, "Z": Z, "depth": 2},
        {
            "X": X**3,
            "y": 2 * Y,
            "Z": 2 * Z,
            "kernel": "nngp",
            "ridge": 0.1,
            "time": 3.0,
            "steps": 4,
            "learning_rate": 0.02,
            "covariance": True,
            "solution": "least_squares",  # by eigenvectors: other last bits
            "solver": "cg",
            "preconditioner_rank": 1,
            "max_iterations": 1,
            "solver_tolerance": 0.5,
            **WIDE,
        },
        given={"learning_rate": {"steps": 4, "learning_rate": 0.01}} | ITERATED,
        beside={"steps": {"learning_rate": 0.01}},
    ),
    Case(
        regression,
        {"X": X, "depth": 2},
        {
            "X": X**3,
            "Z": 2 * Z,
            "y": 2 * Y,
            "covariance": True,
            "time": 3.0,
            "kernel": "nngp",
            "ridge": 0.1,
            "solution": "least_squares",
            "solver": "cg",
            "preconditioner_rank": 1,
            "max_iterations": 1,
            "solver_tolerance": 0.5,
            **WIDE,
            **WIDE_OPTIONS,
        },
        given=WIDE_GIVEN | {"tolerance": WIDE_GIVEN["tolerance"] | {"time": 3.0}} | ITERATED,
        beside=WIDE_BESIDE,
    ),
    Case(
        neural_kernel,
        {"depth": 2},
        {"kernel": "ntk", **WIDE, **WIDE_OPTIONS},
        given=WIDE_GIVEN | WIDE_TANGENT,
        beside=WIDE_BESIDE,
    ),
    Case(
        estimator,
        {"depth": 2, "bias_std": 0.1},
        {
            "kernel": "nngp",
            "ridge": 0.1,
            "solution": "least_squares",
            "random_state": 1,
            **WIDE,
            **WIDE_OPTIONS,
        },
        given={
            "random_state": {"width": 5, "random_state": 0},
            "parametrization": {"width": 5, "random_state": 0},
            "tolerance": {"activation": "sigmoid", "weight_std": 3.0},
        },
    ),
]


def numbers(value: Any) -> Any:  # noqa: PLR0911 (one for each kind of result)
    """Return what a result says, in what can be compared; not how long it took."""
    # The frame of a Monte Carlo study has relative numbers alone.
    if hasattr(value, "to_frame") and not isinstance(value, fastntk.MonteCarlo):
        parts = [value.to_frame()]
        parts += [
            getattr(value, name)() for name in ("curves", "probe_frame") if hasattr(value, name)
        ]
        dropped = ["seconds", "kernel_seconds", "analysis_seconds", "memory_bytes"]
        # What a table says of the arguments tells nothing of what was done with them.
        dropped += getattr(value, "settings", {})
        frames = [part.drop(columns=dropped, errors="ignore").to_dict("list") for part in parts]
        return [*frames, list(getattr(value, "networks", ()))]
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        said = {"data", *getattr(value, "settings", {})}
        kept = [each.name for each in fields(value) if each.name not in said]
        return {name: numbers(getattr(value, name)) for name in kept}
    if isinstance(value, dict):
        return {key: numbers(each) for key, each in value.items()}
    if inspect.isgenerator(value):
        return [numbers(each) for each in value]
    if isinstance(value, (list, tuple)):
        return [numbers(each) for each in value]
    if hasattr(value, "matmat"):
        return numbers(value @ np.eye(value.shape[1]))
    return value


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, float)):
        a, b = np.asarray(a), np.asarray(b)
        return (
            a.shape == b.shape
            and a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    return bool(a == b)


@pytest.mark.filterwarnings("ignore:.*right-hand sides have not converged")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_argument_does_something(case: Case) -> None:
    function = case.function
    parameters = inspect.signature(function).parameters
    known = case.call.keys() | case.changes.keys() | case.same.keys()
    named = {
        name for name, each in parameters.items() if each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert named <= known, named - known
    for name in case.changes | case.same:
        base = case.call | case.given.get(name, {})
        value = (case.changes | case.same)[name]
        unchanged = numbers(function(**base))
        changed = numbers(function(**(base | {name: value} | case.beside.get(name, {}))))
        assert same(changed, unchanged) == (name in case.same), name
