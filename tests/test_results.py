# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What all results have in common: files that are read again, short texts, tables, and axes."""

from __future__ import annotations

import copy
import inspect
import math
import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fastntk
from fastntk import activations, figures, infinite, linearity
from fastntk._support.archives import read_archive, write_archive
from fastntk.networks.network import Network
from fastntk.networks.settings import USUAL, network_settings
from fastntk.studies import constancy_cells, convergence_cells, linearization
from fastntk.training.history import COLUMNS
from fastntk.training.result import Result

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(3)
X = RNG.standard_normal((8, 3))
LABELS = np.array([0, 1, 1, 0, 1, 0, 0, 1])
SMALL: dict[str, Any] = {"batch_size": 4, "epochs": 2}
EIGHT: Any = {"data": "eight samples"}


def make_depth_study() -> fastntk.DepthStudy:
    options: Any = {"seeds": 2, "batches": 4, "progress": False, **EIGHT}
    return fastntk.depth_study(X, depths=[0, 2], width=[4, 8], **options)


def make_convergence_study() -> fastntk.ConvergenceStudy:
    options: dict[str, Any] = {**SMALL, "search_epochs": 1, "rate_samples": 4, "rate_steps": 4}
    options |= {"width": 32, "seeds": 1, "progress": False, **EIGHT}
    # More than nine depths: the keys of the searches are numbers, and in the order of numbers.
    return fastntk.convergence_study(X, LABELS, [2, 10], **options)


def make_constancy_study() -> fastntk.ConstancyStudy:
    return fastntk.constancy_study(
        X, [0.5] * 8, [4, 8], architectures=["linear"], seeds=1, epochs=2, progress=False, **EIGHT
    )


def make_linearization_study() -> fastntk.LinearizationStudy:
    phi = activations.leaky_relu(0.3)
    options: Any = {"activation": phi, "seeds": 2, "steps": 3, **EIGHT}
    return fastntk.linearization_error(X, X[:, 0], [4, 8], **options)


def make_angle_curves() -> fastntk.AngleCurves:
    return fastntk.angle_curves([0.5, 1.0], [1, 3], ["relu", "identity"], width=4, seeds=2)


def make_history() -> fastntk.History:
    net = fastntk.MLP([3, 5, 2], activation="gelu", bias_std=0.1, dtype="float32")
    return fastntk.train(
        net, X, LABELS, learning_rate=0.1, validation=(X, LABELS), probe=X[:3], **SMALL, **EIGHT
    )


def make_regression_history() -> fastntk.History:
    return fastntk.train(
        fastntk.MLP([3, 5, 1]), X, X[:, 0], loss="mse", learning_rate=0.1, epochs=2, **EIGHT
    )


def make_search() -> fastntk.LearningRateSearch:
    return fastntk.find_learning_rate(
        fastntk.MLP([3, 5, 2]), X, LABELS, grid=[0.1, 1e6], loss_target=0.1, **SMALL, **EIGHT
    )


def make_monte_carlo() -> fastntk.MonteCarlo:
    return fastntk.monte_carlo_ntk(X, [4, 8], seeds=2, depth=1, **EIGHT)


# How each is made, and the names of its panels.
RESULTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "depth": (make_depth_study, ("smallest_angle", "condition_number")),
    "convergence": (make_convergence_study, ("loss", "epochs", "rates")),
    "constancy": (
        make_constancy_study,
        (
            "hessian_norm",
            "gradient_norm",
            "relative_change",
            "weight_change",
            "weight_change_max",
            "linear_error",
        ),
    ),
    "linearization": (make_linearization_study, ("error",)),
    "angles": (make_angle_curves, ("relu", "identity")),
    "history": (make_history, ("loss", "accuracy")),
    "monte carlo": (make_monte_carlo, ("fluctuation",)),
    "regression": (make_regression_history, ("loss", "weight_change")),
    "search": (make_search, ("final_loss", "epochs_to_target")),
}
_MADE: dict[str, Any] = {}


@pytest.fixture(params=RESULTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def result(name: str) -> Any:
    if name not in _MADE:
        _MADE[name] = RESULTS[name][0]()
    return _MADE[name]


def require_same(one: Any, other: Any) -> None:
    """Require two results to be the same to the bit, and of the same types."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, fastntk.MLP):
        require_same((one.weights, repr(one)), (other.weights, repr(other)))
    elif isinstance(one, activations.Activation):
        assert one == other
    elif is_dataclass(one):
        for field in fields(one):
            require_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        require_same(tuple(one.items()), tuple(other.items()))
    elif isinstance(one, tuple):
        for first, second in zip(one, other, strict=True):
            require_same(first, second)
    else:
        np.testing.assert_array_equal(one, other)  # NaN is NaN


def test_files_are_read_again(result: Any, tmp_path: Path) -> None:
    path = tmp_path / "result.npz"
    result.save(path)
    found = type(result).load(path)
    require_same(found, result)
    assert found == result
    assert hash(found) == hash(result)
    pd.testing.assert_frame_equal(found.to_frame(), result.to_frame(), check_exact=True)
    result.save(path)  # an earlier state of the same


def test_results_that_differ_are_not_equal(result: Any) -> None:
    """In any of their attributes, arrays and parts of parts among them."""
    assert result != "another"
    for field in fields(result):
        value = getattr(result, field.name)
        assert replace(result, **{field.name: changed(value)}) != result, field.name
        assert replace(result, **{field.name: copied(value)}) == result, field.name


def changed(value: Any) -> Any:  # noqa: PLR0911 - a line for each type
    """Return another value of the same type, with a change deep in it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, np.ndarray):
        other = value.copy()
        other.flat[-1] = changed(value.flat[-1].item())
        return other
    if isinstance(value, fastntk.MLP):
        weights = [w.copy() for w in value.weights]
        weights[-1][-1, -1] += 1
        layers = [
            replace(layer, weights=w)
            for layer, w in zip(value.network.layers, weights, strict=True)
        ]
        return fastntk.MLP.of_network(value.network.with_layers(layers))
    if isinstance(value, activations.Activation):
        return activations.leaky_relu(0.7)
    if isinstance(value, tuple) and value:
        return (*value[:-1], changed(value[-1]))
    if isinstance(value, dict) and value:
        *_, last = value
        return {**value, last: changed(value[last])}
    if isinstance(value, str):
        return f"{value}?"
    if is_dataclass(value) and not isinstance(value, type):
        first = fields(value)[0].name
        return replace(value, **{first: changed(getattr(value, first))})
    if isinstance(value, (int, float)):
        return 7.0 if math.isnan(value) else value + 1
    return ("another",)


def copied(value: Any) -> Any:
    """Return an equal value of other arrays and other objects of NaN."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, fastntk.MLP):
        return fastntk.MLP.of_network(value.network.copy())
    if isinstance(value, tuple):
        return tuple(map(copied, value))
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, float):
        return float(str(value))
    return value


def test_tables_are_written(result: Any, tmp_path: Path) -> None:
    result.save(tmp_path / "result.csv")
    frame = pd.read_csv(tmp_path / "result.csv")
    pd.testing.assert_frame_equal(frame, result.to_frame(), check_dtype=False)


# What the tables of all results say of the networks, and of trainings.
OF_NETWORKS = {
    *("width", "depth", "activation", "activation_scale", "weight_std", "bias_std"),
    *("parametrization", "dtype", "seed", "samples", "data"),
}
OF_TRAININGS = {"learning_rate", "batch_size", "loss_function", "momentum"}
WITHOUT_TRAININGS = {"depth", "angles", "monte carlo"}
# Angle curves are of two samples at each angle; their seeds are those below the number of seeds.
NOT_OF_ANGLES = {"seed", "samples", "data"}


def tables_of(result: Any) -> list[pd.DataFrame]:
    methods = ("to_frame", "curves", "learning_rates", "probe_frame")
    return [getattr(result, method)() for method in methods if hasattr(result, method)]


def test_tables_have_all_settings(name: str, result: Any) -> None:
    expected = OF_NETWORKS - (NOT_OF_ANGLES if name == "angles" else set())
    expected |= set() if name in WITHOUT_TRAININGS else OF_TRAININGS
    for frame in tables_of(result):
        assert expected <= set(frame.columns)
        assert not frame[sorted(expected)].isna().any(axis=None)
        if name != "angles" and len(frame):
            assert set(frame["data"]) == {"eight samples"}
            assert set(frame["samples"]) == {8}
    settings = result.settings
    assert set(settings) < set(result.to_frame().columns)
    for column, value in settings.items():
        assert (result.to_frame()[column] == value).all()


def test_all_kinds_of_results_are_looked_at() -> None:
    kinds = {type(make()) for make, _ in RESULTS.values()}
    assert set(Result.__subclasses__()) == kinds
    assert not any(kind.__subclasses__() for kind in kinds)


@pytest.mark.parametrize(
    ("place", "make"),
    [
        (convergence_cells, make_convergence_study),
        (constancy_cells, make_constancy_study),
        (linearization, make_linearization_study),
    ],
)
def test_studies_say_what_their_networks_were_trained_with(
    place: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[dict[str, Any]] = []

    def spied(*args: Any, **given: Any) -> fastntk.History:
        history = fastntk.train(*args, **given)
        trained.append(history.settings)
        return history

    monkeypatch.setattr(place, "train", spied)
    study = make()
    shared = (OF_NETWORKS | OF_TRAININGS) & set(study.settings) - {"data"}
    assert len(shared) >= 10
    for settings in trained:
        assert {key: settings[key] for key in shared} == {
            key: study.settings[key] for key in shared
        }
    assert len(trained) >= len(study.results)


def test_searches_of_studies_say_what_those_of_users_do() -> None:
    (_, search), alone = make_convergence_study().searches.items(), make_search()
    (depth, found) = search
    net = fastntk.MLP([3, *[32] * depth, 2], dtype="float32")
    same = fastntk.find_learning_rate(
        net, X, LABELS, batch_size=4, epochs=1, loss_target=0.1, **EIGHT
    )
    assert found.settings == same.settings | {"bound": found.bound}
    assert set(alone.settings) == set(same.settings)


def test_settings_of_trainings() -> None:
    net = fastntk.MLP(
        [3, 5, 4, 2], weight_std=1.1, bias_std=0.3, output_activation="square", seed=2**100,
        init_scale=[1.0, 0.5, 2.0],
    )  # fmt: skip
    history = fastntk.train(
        net, X, np.eye(2)[LABELS], loss="mse", learning_rate=0.3, batch_size=3, momentum=0.5,
        seed=7, layer_rates=[1.0, 0.5, 0.0], loss_target=1e-9,
    )  # fmt: skip
    assert history.settings == {
        "width": "5-4",
        "depth": 2,
        "activation": "relu",
        "activation_scale": net.activation_scale,
        "output_activation": "square",
        "weight_std": 1.1,
        "bias_std": 0.3,
        "parametrization": "ntk",
        "dtype": "float64",
        "init_seed": 2**100,
        "init_scale": "1; 0.5; 2",
        "loss_function": "mse",
        "learning_rate": 0.3,
        "batch_size": 3,
        "momentum": 0.5,
        "seed": 7,
        "samples": 8,
        "layer_rates": "1, 1; 0.5, 0.5; 0, 0",
        "loss_target": 1e-9,
    }


def test_how_weights_were_drawn_is_known_as_long_as_it_holds(tmp_path: Path) -> None:
    net = fastntk.MLP([3, 5, 2], seed=2**100, init_scale=0.5)
    history = fastntk.train(net, X, LABELS, learning_rate=0.1, keep_every=1)
    history.save(tmp_path / "history.npz")
    history.net.save(tmp_path / "net.npz")
    for same in (
        *(net, net.linear(), net.astype("float32"), history.net, *history.networks.values()),
        fastntk.MLP.load(tmp_path / "net.npz"),
        fastntk.History.load(tmp_path / "history.npz").net,
        copy.deepcopy(net),
    ):
        assert (same.seed, same.init_scale) == (2**100, 0.5)
    assert fastntk.MLP([3, 5, 2], init_scale=[0.5, 2.0]).init_scale == (0.5, 2.0)
    given = fastntk.MLP.from_weights(net.weights)
    assert (given.seed, given.init_scale) == (None, None)
    assert given.digest() == net.digest()  # it is that of the function alone
    again = fastntk.train(given, X, LABELS, learning_rate=0.1)
    assert {"init_seed", "init_scale"} == set(history.settings) - set(again.settings)


def test_names_of_data_that_are_no_text(tmp_path: Path) -> None:
    """Files may be called so, and commands call their samples by the files."""
    result = fastntk.monte_carlo_ntk(X, [4], seeds=2, depth=1, data="a\udcff")
    result.save(tmp_path / "x.csv")
    assert pd.read_csv(tmp_path / "x.csv")["data"].tolist() == ["a?"]
    with pytest.raises(TypeError, match="data=3: expected a string"):
        fastntk.monte_carlo_ntk(X, [4], data=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (fastntk.MLP([3, 2]), (0, "ntk", 1.0, 0.0)),
        (fastntk.MLP([3, 6, 2], parametrization="standard"), (6, "standard", math.nan, math.nan)),
        (fastntk.MLP([3, 6, 6, 2], weight_std=1.5, bias_std=0.1), (6, "ntk", 1.5, 0.1)),
    ],
)
def test_settings_of_networks(net: fastntk.MLP, expected: tuple[Any, ...]) -> None:
    columns = ("width", "parametrization", "weight_std", "bias_std")
    settings = network_settings(net.network)
    np.testing.assert_equal(tuple(settings[column] for column in columns), expected)
    assert settings["output_activation"] == "identity"


def test_settings_of_layers_that_differ() -> None:
    first, last = fastntk.MLP([3, 6, 2], bias_std=0.1).network.layers
    layers = (replace(first, weight_scale=7.0), last)
    network = Network.of_layers(layers, activations.leaky_relu(0.3), 1.0, activations.Softmax())
    settings = network_settings(network)
    assert settings["parametrization"] == "mixed"
    assert math.isnan(settings["weight_std"])
    assert settings["activation"] == "leaky_relu(0.3)"
    assert settings["output_activation"] == "softmax"


def test_usual_settings_are_those_of_networks() -> None:
    parameters = inspect.signature(fastntk.MLP).parameters
    assert {name: parameters[name].default for name in USUAL} == USUAL
    of_limit = inspect.signature(infinite.Network).parameters
    for name in ("weight_std", "bias_std"):
        assert of_limit[name].default == USUAL[name]


def test_files_of_version_1(tmp_path: Path) -> None:
    """They have no settings of trainings, and no names of data sets."""
    for made, kind, fields_of_2 in (
        (make_history, "training history", ["options"]),
        (make_monte_carlo, "Monte Carlo study", ["tolerance", "seeds", "data"]),
    ):
        result, path = made(), tmp_path / f"{kind}.npz"
        result.save(path)
        header, arrays = read_archive(path, "path", f"fastntk {kind}", (3,), "one")
        for name in fields_of_2:
            del header["content"]["fields"][name]
        write_archive(path, header | {"version": 1}, arrays)
        found = type(result).load(path)
        np.testing.assert_array_equal(found.to_frame()["width"], result.to_frame()["width"])
        assert "data" not in found.settings


def test_depth_studies_of_version_2(tmp_path: Path) -> None:
    """They have plain networks only, and do not say so."""
    result, path = make_depth_study(), tmp_path / "x.npz"
    result.save(path)
    header, arrays = read_archive(path, "path", "fastntk depth study", (3,), "one")

    def without_architectures(value: Any) -> Any:
        if isinstance(value, dict):
            later = {"architecture", "residual_scale", "own_architectures"}
            return {k: without_architectures(v) for k, v in value.items() if k not in later}
        return [without_architectures(v) for v in value] if isinstance(value, list) else value

    earlier = without_architectures(header)
    assert earlier != header
    write_archive(path, earlier | {"version": 2}, arrays)
    assert fastntk.DepthStudy.load(path) == result


def test_names_of_files_with_other_endings(tmp_path: Path) -> None:
    history = make_history()
    (tmp_path / "link.npz").symlink_to(tmp_path / "data")
    for name in ("UPPER.NPZ", "link.npz"):
        history.save(tmp_path / name)
        require_same(fastntk.History.load(tmp_path / name), history)
    assert (tmp_path / "data").is_file()


def test_other_files_are_not_lost(tmp_path: Path) -> None:
    history, path = make_history(), tmp_path / "x.npz"
    make_search().save(path)
    for result in (history, make_regression_history()):
        with pytest.raises(FileExistsError, match=r"path: a file is there that is not a part of"):
            result.save(path)
        result.save(path, overwrite=True)
    columns: dict[str, Any] = {name: np.append(getattr(history, name), 1.0) for name in COLUMNS}
    longer = replace(history, **columns)
    history.save(path, overwrite=True)
    longer.save(path)  # goes on where the other one ended
    with pytest.raises(FileExistsError):
        history.save(path)


def test_a_table_is_not_what_is_loaded(tmp_path: Path) -> None:
    search = make_search()
    search.save(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"x\.csv': not a .*; expected a name that ends in \.npz"):
        fastntk.LearningRateSearch.load(tmp_path / "x.csv")
    search.save(tmp_path / "x.npz")
    (tmp_path / "x.npz").rename(tmp_path / "x.csv")  # what has another name is known all the same
    assert repr(fastntk.LearningRateSearch.load(tmp_path / "x.csv")) == repr(search)


def test_what_is_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(FileNotFoundError, match=r"x\.npz"):
        fastntk.History.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"not a file written by History\.save, or damaged"):
        fastntk.History.load(path)
    make_search().save(path, overwrite=True)
    with pytest.raises(ValueError, match=r"path='.*': expected a file written by History\.save"):
        fastntk.History.load(path)
    content = path.read_bytes()
    damaged = content.replace("loss_target".encode("utf-32-le"), "loss_tarket".encode("utf-32-le"))
    assert damaged != content
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"not a file written by LearningRateSearch\.save, or da"):
        fastntk.LearningRateSearch.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 4}, "has version 4 of the format; expected 1 or 2 or 3"),
        ({"content": {"class": "History", "fields": {}}}, "not a learning rate search that this"),
        ({"content": {"class": "LearningRateSearch", "fields": {}}}, "has other fields"),
        ({"content": {"array": "array7"}}, "array7"),
        ({"content": 3}, "it holds a int"),
        ({"content": {"activation": "none", "parameters": []}}, "none"),
    ],
)
def test_files_of_newer_versions(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    make_search().save(path)
    header, arrays = read_archive(path, "path", "fastntk learning rate search", (3,), "one")
    write_archive(path, header | change, arrays)
    with pytest.raises(ValueError, match=rf"path='.*x\.npz': .*{re.escape(message)}"):
        fastntk.LearningRateSearch.load(path)


def test_polynomials_are_in_files(tmp_path: Path) -> None:
    phi = activations.polynomial(0.2, 0.7, 1 / 3)
    study = replace(make_linearization_study(), activation=phi)
    study.save(tmp_path / "x.npz")
    assert type(study).load(tmp_path / "x.npz") == study


def test_functions_of_users_are_in_tables_only(tmp_path: Path) -> None:
    phi = activations.custom(np.tanh, name="mine")
    study = replace(make_linearization_study(), activation=phi)
    study.save(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"activation=.*: expected an activation that fastntk"):
        study.save(tmp_path / "x.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_texts_are_short_and_true(name: str, result: Any) -> None:
    text = repr(result)
    assert len(text) <= 250
    assert " at 0x" not in text
    assert "\n" not in text
    assert text.startswith(f"<{type(result).__name__}: ")
    expected = {
        "depth": "16 networks, relu, identity; depths 0, 2; widths 4, 8; 8 samples",
        "convergence": "2 trainings, relu; depths 2, 10; width 32; 8 samples",
        "constancy": "2 networks, linear; widths 4, 8; 8 samples",
        "linearization": "4 networks, leaky_relu; depth 2; widths 4, 8",
        "angles": "relu, identity; depths 1, 3; 2 angles; beside 2 networks of width 4",
        "monte carlo": "activation relu, depth 1, widths 4, 8, seeds 2, samples 8, rate ",
        "history": f"2 epochs, completed; loss {make_loss(result):.4g}; MLP(",
        "regression": f"2 epochs, completed; loss {make_loss(result):.4g}; MLP(",
        "search": "best 0.1 of 2 from 0.1 to 1e+06; bound ",
    }
    assert expected[name] in text


def make_loss(result: Any) -> float:
    return float(getattr(result, "loss", [0.0])[-1])


def test_notebooks_show_a_table(result: Any) -> None:
    shown = result._repr_html_()
    assert shown.startswith(f"<p>&lt;{type(result).__name__}: ")
    assert shown.count("<table") == 1
    frame = getattr(result, "summary", result.to_frame)()
    for column in frame.columns:
        assert (f"<th>{column}</th>" in shown) == (column not in result.settings)
    for setting in result.settings:
        assert f"{setting} " in shown


def test_plots_return_axes_that_notebooks_show(name: str, result: Any, tmp_path: Path) -> None:
    panels = RESULTS[name][1]
    axes = result.plot()
    assert len(plt.get_fignums()) == 1  # what an inline backend shows after a cell
    figure = plt.gcf()
    assert figure.axes == (list(axes) if len(panels) > 1 else [axes])
    assert all(isinstance(each, Axes) and each.get_xlabel() for each in figure.axes)
    figures.save(axes, tmp_path / "x.svg")
    assert b"<svg" in (tmp_path / "x.svg").read_bytes()


def test_plots_on_axes_of_the_users(name: str, result: Any) -> None:
    panels = RESULTS[name][1]
    ylabels = [each.get_ylabel() for each in np.ravel(result.plot())]
    plt.close("all")
    own = Figure().subplots(1, len(panels), squeeze=False)[0]
    drawn = result.plot(own)
    assert list(np.ravel(drawn)) == list(own)
    assert [each.get_ylabel() for each in own] == ylabels
    for panel, label in zip(panels, ylabels, strict=True):
        axes = Figure().subplots()
        assert result.plot(ax=axes, panel=panel) is axes
        assert axes.get_ylabel() == label
        assert axes.get_xlabel()
        assert axes.lines
    assert not plt.get_fignums()


def test_angle_curves_of_activations_that_are_no_names() -> None:
    curves = fastntk.angle_curves([0.5], [1], [activations.leaky_relu(0.1)])
    assert "leaky_relu(0.1)" in repr(curves)
    assert "leaky_relu(0.1)" in curves._repr_html_()
    assert "leaky_relu(0.1)" in curves.plot().get_title()


def test_titles_of_the_users_stay() -> None:
    _, axes = plt.subplots()
    axes.set_title("mine")
    make_regression_history().plot(axes, panel="loss")
    assert axes.get_title() == "mine"
    axes.remove()
    with pytest.raises(TypeError, match=r"ax=.*: expected axes of Matplotlib"):
        make_regression_history().plot(axes, panel="loss")
    plt.close("all")


def test_bad_axes() -> None:
    study, (one, two) = make_depth_study(), Figure().subplots(1, 2)
    expected = "expected 2 axes of Matplotlib, or panel=… for one of 'smallest_angle', 'cond"
    for ax in (one, [one], [one, two, one], 3, [one, "two"]):
        with pytest.raises(TypeError, match=rf"ax=.*: {re.escape(expected)}"):
            study.plot(ax)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"ax='here': expected axes of Matplotlib$"):
        study.plot("here", panel="smallest_angle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"panel='kappa': expected one of 'smallest_angle', "):
        study.plot(panel="kappa")
    assert not plt.get_fignums()


def test_what_was_a_figure_still_does_what_one_does(tmp_path: Path) -> None:
    axes = make_depth_study().plot()
    with pytest.warns(
        DeprecationWarning, match=r"plot\(\) returns axes.*plot\(\)\.figure\.savefig"
    ):
        axes.savefig(tmp_path / "x.png")
    with pytest.warns(DeprecationWarning, match=r"figure\.axes"):
        assert axes.axes == list(axes)
    assert axes.figure is plt.gcf()
    with pytest.raises(AttributeError, match="nothing_of_it"):
        _ = axes.nothing_of_it


def test_fluctuations_and_their_slope() -> None:
    result = make_monte_carlo()
    axes: Any = result.plot()
    marks, line = axes.lines
    np.testing.assert_array_equal(marks.get_ydata(), result.fluctuation)
    assert line.get_label() == f"slope {-result.rate:.2f}".replace("-", "−")
    # Through two points there is a line.
    np.testing.assert_allclose(line.get_ydata(), result.fluctuation)
    one = fastntk.monte_carlo_ntk(X, [4], seeds=2, depth=1).plot(Figure().subplots())
    assert isinstance(one, Axes)
    assert len(one.lines) == 1
    (first, second) = result.to_frame()["mean_error"]
    limit = np.linalg.norm(result.limit)
    assert first == pytest.approx(np.linalg.norm(result.mean[0] - result.limit) / limit, abs=0)
    assert second == pytest.approx(np.linalg.norm(result.mean[1] - result.limit) / limit, abs=0)


def test_one_is_no_plural() -> None:
    study = make_linearization_study()
    one = repr(replace(study, results=study.results[:1]))
    assert one == "<LinearizationStudy: 1 network, leaky_relu; depth 2; widths 4>"


def test_long_tables_are_cut() -> None:
    search = make_search()
    candidate = search.candidates[0]
    many = replace(
        search,
        candidates=tuple(replace(candidate, learning_rate=0.01 * k) for k in range(1, 101)),
    )
    assert 20 <= many._repr_html_().count("<tr") <= 23
    assert "best 0.1 of 100 from 0.01 to 1; " in repr(many)


NET = fastntk.MLP([3, 6, 2], activation="tanh", bias_std=0.1)
K = NET.ntk(X)
OTHERS: dict[str, tuple[Any, str]] = {
    "batches": (
        lambda: fastntk.batch_conditioning(K + np.eye(8), batch_size=4),
        r"<BatchConditioning: batches 2, resolved 2, mean [\d.]+, std [\d.]+>",
    ),
    "drift": (
        lambda: linearity.kernel_drift([NET, NET, NET], X),
        r"<KernelDrift: networks 3, steps 2, change 0, κ [\d.e+]+>",
    ),
    "change": (
        lambda: linearity.kernel_change(NET, X, np.zeros(NET.n_parameters), 2),
        r"<KernelChange: positions \[0.5, 1\], relative_change \[0, 0\], alignment \[1, 1\]>",
    ),
    "norms": (
        lambda: linearity.hessian_norm(NET, X),
        r"<HessianNorms: values \(8,\) float64, errors \(8,\) float64, resolved \(8,\) bool>",
    ),
    "monte carlo": (
        make_monte_carlo,
        r"<MonteCarlo: activation relu, depth 1, widths 4, 8, seeds 2, samples 8, rate -?[\d.]+>",
    ),
    "linear": (NET.linearize, r"<LinearizedMLP: around MLP\(.*\)>"),
    "linear training": (
        lambda: NET.linearize().fit(X, np.zeros((8, 2))),
        r"<LinearizedTraining: n 8, eigenvalues \(16,\) float64>",
    ),
    "kernels": (
        lambda: infinite.kernels(X, depth=1),
        r"<Kernels: nngp \(8, 8\) float64, ntk \(8, 8\) float64>",
    ),
    "prediction": (
        lambda: infinite.predict(X, X[:, 0], X, depth=1, ridge=1.0),
        r"<Prediction: mean \(8,\) float64, covariance .*>",
    ),
    "regression": (
        lambda: infinite.Regression(X, depth=1, ridge=0.5),
        r"<Regression: ntk, 8 samples, ridge 0.5, Architecture\(depth=1, .*\)>",
    ),
    "deep network": (
        lambda: fastntk.MLP([3, 5, 5, *[4] * 60, 1]),
        r"MLP\(widths=\(3, 5, 5, 4 × 60, 1\), .*\)",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_short_texts_of_others(name: str) -> None:
    made, expected = OTHERS[name]
    text = repr(made())
    assert re.fullmatch(expected, text), text
    assert len(text) <= 250


def cells(shown: str) -> list[list[str]]:
    """Return the cells of a table of HTML, row by row."""
    rows = re.findall(r"<tr.*?>(.*?)</tr>", shown, re.DOTALL)
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in rows]


def test_networks_in_notebooks() -> None:
    shown = NET._repr_html_()
    assert "MLP(widths=(3, 6, 2), activation=&#x27;tanh&#x27;" in shown
    assert cells(shown) == [
        ["layer", "widths", "parameters"],
        ["1", "3 → 6", "24"],
        ["2", "6 → 2", "14"],
    ]
    assert fastntk.MLP([3, 2])._repr_html_().endswith("<td>6</td></tr></table>")


def test_conditioning_in_notebooks() -> None:
    result = fastntk.conditioning(np.diag([1.0, 2.0, 4.0]), bounds=True)
    found = {row[0]: row[1] for row in cells(result._repr_html_())[1:]}
    assert found["λ_max"] == "4"
    assert found["λ_min"] == "1"
    assert found["κ"] == "4"
    assert found["rank"] == "3 of 3"
    assert found["effective rank"] == "1.75"
    assert result.bounds is not None
    assert found["κ is certain to lie in"] == str(result.bounds.condition_number)
    singular = fastntk.conditioning(np.ones((3, 3)), bounds=False)
    found = {row[0]: row[1] for row in cells(singular._repr_html_())[1:]}
    assert found["λ_min"] == "unresolved"
    assert found["κ"].startswith("≥ ")
    assert found["κ"] in str(singular).replace("κ ≥", "≥")
    assert found["rank"] == "1 of 3"
    assert "κ is certain to lie in" not in found


def test_other_tables_in_notebooks() -> None:
    for name in ("batches", "drift", "change"):
        result = OTHERS[name][0]()
        rows = cells(result._repr_html_())
        assert rows[0] == list(result.to_frame().columns)
        assert len(rows) == 1 + len(result.to_frame())
