# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is stored is known by all that decides its numbers: keys of cells and of checkpoints.

A setting that a key forgets makes a study return the numbers of another one.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from training_problems import assert_same_bits, problem

import fastntk
from fastntk import activations
from fastntk.architectures import Architecture
from fastntk.layers import Dense, LayerNorm, ReLU, Residual, RMSNorm
from fastntk.studies.convergence_cells import ConvergenceSettings
from fastntk.studies.depth_cells import Measurement
from fastntk.studies.depth_families import FiniteFamily, InfiniteFamily
from fastntk.studies.described_families import FiniteDescribedFamily, InfiniteDescribedFamily
from fastntk.studies.identities import description_identity

if TYPE_CHECKING:
    from pathlib import Path

X = np.arange(12.0).reshape(4, 3) + 1.0

FINITE = FiniteFamily(
    label="relu",
    activation=activations.get("relu"),
    activation_scale=None,
    weight_std=1.5,
    bias_std=0.25,
    width=8,
    seed=3,
    parametrization="ntk",
    dtype="float32",
)
INFINITE = InfiniteFamily(
    label="relu",
    activation=activations.get("relu"),
    activation_scale=None,
    weight_std=1.5,
    bias_std=0.25,
    tolerance=1e-10,
)
CHANGES: dict[str, Any] = {
    "activation": activations.get("tanh"),
    "activation_scale": 1.25,
    "weight_std": 1.75,
    "bias_std": 0.5,
    "width": 9,
    "seed": 4,
    "parametrization": "standard",
    "dtype": "float64",
    "tolerance": 1e-9,
}


def test_a_cell_of_the_depth_study() -> None:
    settings = Measurement(X, batch_size=2, bounds=True).cell(FINITE, 5).settings
    # Digests and names are the same for ever: others make stores look empty.
    samples = hashlib.sha256(b"float64 (4, 3) " + X.astype("<f8").tobytes()).hexdigest()
    assert settings == {
        "samples": samples,
        "activation": ["relu"],
        "weight_std": 1.5,
        "bias_std": 0.25,
        "width": 8,
        "seed": 3,
        "parametrization": "ntk",
        "dtype": "float32",
        "depth": 5,
        "batches": 2,
        "bounds": True,
        "algorithm": 3,
        "fastntk": fastntk.__version__,
    }
    others = Measurement(X, batch_size=None, bounds=False).cell(INFINITE, 5).settings
    changed = {"width": "infinite", "batches": None, "bounds": False}
    left_out = {"seed", "parametrization", "dtype"}
    assert others == {k: v for k, v in (settings | changed).items() if k not in left_out}


@pytest.mark.parametrize("family", [FINITE, INFINITE], ids=["finite", "infinite"])
def test_all_fields_of_a_family_are_in_its_settings(family: Any) -> None:
    for field in fields(family):
        if field.name == "label" or (family is INFINITE and field.name in {"width", "seed"}):
            continue
        changed = replace(family, **{field.name: CHANGES[field.name]})
        assert changed.settings(5) != family.settings(5), field.name


def described(**others: Any) -> fastntk.Network:
    settings: dict[str, Any] = {"width": 8, "bias_std": 0.25} | others
    return Architecture("prenorm").network(2, 3, **settings)


DESCRIBED = FiniteDescribedFamily(
    label="relu",
    called="prenorm",
    networks={2: described()},
    width=8,
    seed=3,
    dtype="float32",
)
DESCRIBED_LIMIT = InfiniteDescribedFamily(
    label="relu", called="prenorm", networks={2: described()}, tolerance=1e-10
)


def test_a_cell_of_networks_that_are_described() -> None:
    """All that a description says is in its digest, which is the same for ever."""
    layers = description_identity(described())
    assert DESCRIBED.settings(2) == {"layers": layers, "seed": 3, "dtype": "float32"}
    assert DESCRIBED_LIMIT.settings(2) == {"layers": layers, "width": "infinite"}
    assert replace(DESCRIBED_LIMIT, tolerance=1e-9).settings(2) != DESCRIBED_LIMIT.settings(2)
    for other in (replace(DESCRIBED, seed=4), replace(DESCRIBED, dtype="float64")):
        assert other.settings(2) != DESCRIBED.settings(2)
    # Whatever it is called: the same networks are the same cells.
    assert replace(DESCRIBED, called="mine", label="x").settings(2) == DESCRIBED.settings(2)
    others = [
        described(width=9),
        described(activation="tanh"),
        described(activation=activations.leaky_relu(0.1)),
        described(activation=activations.leaky_relu(0.2)),
        described(activation=activations.custom(np.tanh, name="one")),
        described(activation=activations.custom(np.arctan, name="one")),
        described(activation_scale=1.25),
        described(weight_std=1.75),
        described(bias_std=0.5),
        described(outputs=2),
        Architecture("prenorm").network(3, 3, width=8, bias_std=0.25),
        Architecture("prenorm").network(2, 4, width=8, bias_std=0.25),
        Architecture("postnorm").network(2, 3, width=8, bias_std=0.25),
        Architecture("prenorm", residual_scale=0.5).network(2, 3, width=8, bias_std=0.25),
        fastntk.Network([Dense(8, trained=False), Dense(1)], inputs=3),
        fastntk.Network([Dense(8, trained=(0, 1)), Dense(1)], inputs=3),
        fastntk.Network([Dense(8), LayerNorm(gain=True), Dense(1)], inputs=3),
        fastntk.Network([Dense(8), LayerNorm(epsilon=0.5), Dense(1)], inputs=3),
        fastntk.Network([Dense(8), RMSNorm(), Dense(1)], inputs=3),
        fastntk.Network([Residual([Dense(8)], projection=Dense(8)), Dense(1)], inputs=3),
        fastntk.Network(
            [Residual([Dense(8)], projection=Dense(8, bias_std=1)), Dense(1)], inputs=3
        ),
    ]
    small = fastntk.Network([Residual([Dense(3), ReLU()]), Dense(1, trained=(1, 0))], inputs=3)
    dense = '["Dense", {"width": %d, "weight_std": 1.0, "bias_std": 0.0, "trained": %s}]'
    phi = '["Activation", {"activation": ["relu"], "scale": null}]'
    block = f'{{"layers": [{dense % (3, "true")}, {phi}], "scale": 1.0, "projection": null}}'
    text = f'[3, [["Residual", {block}], {dense % (1, "[1.0, 0.0]")}]]'
    assert description_identity(small) == hashlib.sha256(text.encode()).hexdigest()
    digests = [description_identity(each) for each in (described(), *others)]
    assert len(set(digests)) == len(digests)


SETTINGS = ConvergenceSettings(
    X=X,
    y=np.array([0, 1, 1, 0]),
    classes=2,
    test=None,
    depths=(1, 2),
    seeds=(5, 6),
    width=7,
    activation=activations.get("relu"),
    activation_scale=None,
    batch_size=2,
    epochs=30,
    loss_target=0.1,
    search_epochs=4,
    rate_samples=3,
    rate_steps=50,
    jobs=1,
    device=None,
)
# What each argument of a study of convergence decides: searches, trainings, rates.
DECIDES: dict[str, tuple[Any, set[str]]] = {
    "X": (2 * X, {"search", "training", "rate"}),
    "y": (np.array([1, 1, 1, 0]), {"search", "training", "rate"}),
    "classes": (3, {"search", "training", "rate"}),
    "test": ((X, np.zeros(4, np.int64)), {"training"}),
    "depths": ((1, 2, 3), set()),
    "seeds": ((6, 5), {"search"}),  # the first one is that of the search
    "width": (8, {"search", "training", "rate"}),
    "activation": (activations.get("gelu"), {"search", "training", "rate"}),
    "activation_scale": (1.0, {"search", "training", "rate"}),
    "batch_size": (3, {"search", "training"}),
    "epochs": (31, {"training"}),
    "loss_target": (0.2, {"search"}),
    "search_epochs": (5, {"search"}),
    "rate_samples": (4, {"rate"}),
    "rate_steps": (51, {"rate"}),
    "jobs": (2, set()),
    "device": ("cuda", set()),  # as another BLAS: its results differ in the last bits
}


def cells(settings: ConvergenceSettings) -> dict[str, Any]:
    return {
        "search": settings.search(1).settings,
        "training": settings.training(1, 5, 0.5).settings,
        "rate": settings.rate(1, 5).settings,
    }


def test_all_settings_of_a_convergence_study_are_in_its_keys() -> None:
    plain = cells(SETTINGS)
    assert {field.name for field in fields(SETTINGS)} == DECIDES.keys()
    for name, (value, decided) in DECIDES.items():
        changed = cells(replace(SETTINGS, **{name: value}))
        assert {kind for kind in plain if changed[kind] != plain[kind]} == decided, name
    assert SETTINGS.training(2, 5, 0.5).settings != plain["training"]
    assert SETTINGS.training(1, 6, 0.5).settings != plain["training"]
    assert SETTINGS.training(1, 5, 0.25).settings != plain["training"]
    assert SETTINGS.rate(2, 5).settings != plain["rate"] != SETTINGS.rate(1, 6).settings
    assert SETTINGS.search(2).settings != plain["search"]
    in_float32 = cells(replace(SETTINGS, X=X.astype(np.float32)))
    assert {kind for kind in plain if in_float32[kind] != plain[kind]} == set(plain)
    assert plain["training"]["dtype"] == "float64"


def test_names_in_the_keys_of_a_convergence_study() -> None:
    common = {"study", "X", "y", "classes", "width", "activation", "depth", "seed"}
    common |= {"algorithm", "fastntk"}
    training = {"batch_size", "dtype", "epochs"}
    plain = cells(SETTINGS)
    assert plain["search"].keys() == common | training | {"loss_target"}
    assert plain["training"].keys() == common | training | {"learning_rate", "test"}
    assert plain["rate"].keys() == common | {"samples", "steps"}
    assert [plain[kind]["study"] for kind in ("search", "training", "rate")] == [
        "convergence: learning rate",
        "convergence: training",
        "convergence: rate",
    ]
    assert {plain[kind]["algorithm"] for kind in plain} == {1}
    assert (SETTINGS.n_cells, plain["rate"]["activation"]) == (2 * (1 + 2 * 2), ["relu"])
    samples = hashlib.sha256(b"float64 (4, 3) " + X.astype("<f8").tobytes()).hexdigest()
    assert {plain[kind]["X"] for kind in plain} == {samples}
    scaled = replace(SETTINGS, activation_scale=1.5)
    assert scaled.rate(1, 5).settings["activation_scale"] == 1.5


def ignored(*_: object) -> None:
    """A callback that does nothing."""


# For each argument of `train` another value, and as what a checkpoint knows it. What it does not
# depend on has None.
ARGUMENTS: dict[str, tuple[Any, str | None]] = {
    "net": (fastntk.MLP([5, 6, 3], seed=1, bias_std=0.2), "net"),
    "X": (problem("cross_entropy", seed=1)[0], "X"),
    "y": (problem("cross_entropy", seed=1)[1], "y"),
    "loss": ("mse", "loss"),
    "learning_rate": (0.2, "learning_rate, trainable or layer_rates"),
    "epochs": (3, None),
    "batch_size": (4, "batch_size"),
    "momentum": (0.25, "momentum"),
    "data": ("other", None),
    "seed": (1, "seed"),
    "validation": (problem("cross_entropy", seed=2), "validation"),
    "trainable": ([True, False], "learning_rate, trainable or layer_rates"),
    "layer_rates": ([1.0, 0.5], "learning_rate, trainable or layer_rates"),
    "loss_target": (1e-3, "loss_target"),
    "callback": (ignored, None),
    "callback_every": (2, None),
    "keep_every": (None, None),  # stands beside no checkpoint
    "probe": (problem("cross_entropy", seed=3)[0][:4], "probe"),
    "probe_every": (2, "probe_every"),
    "checkpoint": ("other.npz", None),
    "inplace": (False, None),
    "device": (None, None),
    "progress": (False, None),
}
NETWORKS = {
    "net": fastntk.MLP([5, 6, 3], seed=1, bias_std=0.2),
    "activation": fastntk.MLP([5, 6, 3], bias_std=0.2, activation="gelu", activation_scale=2**0.5),
    "activation ": fastntk.MLP([5, 6, 3], bias_std=0.2, activation_scale=1.0),
    "scales": fastntk.MLP([5, 6, 3], bias_std=0.2, weight_std=1.5),
    "scales ": fastntk.MLP([5, 6, 3], bias_std=0.3),
}


def test_a_checkpoint_continues_one_call_and_no_other(tmp_path: Path) -> None:
    assert ARGUMENTS.keys() == inspect.signature(fastntk.train).parameters.keys()
    inputs, labels = problem("cross_entropy")
    targets = np.eye(3)[labels]  # of either loss
    first: dict[str, Any] = {
        "net": fastntk.MLP([5, 6, 3], bias_std=0.2),
        "X": inputs,
        "y": targets,
        "learning_rate": 0.1,
        "epochs": 2,
        "batch_size": 5,
        "momentum": 0.5,
        "probe": inputs[:3],
        "callback": ignored,
        "checkpoint": tmp_path / "c.npz",
    }
    trained = fastntk.train(**first)
    for name, (value, known_as) in ARGUMENTS.items():
        if name == "checkpoint":
            continue
        call = first | {name: value}
        if known_as is None:
            fastntk.train(**(call | {"epochs": 2}))
        else:
            with pytest.raises(ValueError, match=f"of the same call, but {known_as} differ; remov"):
                fastntk.train(**call)
    for name, net in NETWORKS.items():
        with pytest.raises(ValueError, match=f"of the same call, but {name.strip()} differ; remov"):
            fastntk.train(**(first | {"net": net}))
    again = fastntk.train(**first)
    assert_same_bits(again.net, trained.net)


def test_what_a_training_that_goes_on_knows_of_its_start(tmp_path: Path) -> None:
    """A loss that is 1000 times that at the start is divergence after a resumption as well."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((6, 2)), np.zeros((6, 1))
    net = fastntk.MLP([2, 1])
    # The loss grows by a steady factor in each epoch.
    largest = np.linalg.eigvalsh(net.ntk(inputs))[-1] / len(inputs)
    call: dict[str, Any] = {"loss": "mse", "learning_rate": 3.5 / largest}
    whole = fastntk.train(net, inputs, targets, epochs=30, **call)
    assert whole.status == "diverged"
    assert 3 < whole.epochs < 12
    path = tmp_path / "c.npz"
    half = fastntk.train(net, inputs, targets, epochs=3, checkpoint=path, **call)
    assert half.status == "completed"
    resumed = fastntk.train(net, inputs, targets, epochs=30, checkpoint=path, **call)
    assert (resumed.status, resumed.epochs) == ("diverged", whole.epochs)
    # It stays diverged.
    assert fastntk.train(net, inputs, targets, epochs=40, checkpoint=path, **call).epochs == (
        whole.epochs
    )
