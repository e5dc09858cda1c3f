# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All that figures show, written out: labels, units, scales, numbers, marks and legends."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from fastntk import figures
from fastntk.figures.panels import Line, Panel, Sheet, draw, draw_panel, legend_entries
from fastntk.figures.style import PRINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SETTINGS = (
    ", $\\sigma_w$ 1, $\\sigma_b$ 0.1, parametrization ntk, float64\n"
    "$c_\\phi$ of ReLU: 1.414, linear network: 1"
)
UNRESOLVED = "$\\lambda_\\mathrm{min}$ unresolved, κ above"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
GREY = "#595959"
# The ends of the colour map of depths.
SHALLOW, DEEP = "#440154", "#5ec962"


def shown(values: Any) -> str:
    return " ".join(f"{value:.6g}" for value in np.asarray(values, dtype=float).ravel())


def described(figure: Figure) -> list[str]:
    """Return a line for the figure, each panel, and each thing in it."""
    title = figure.get_suptitle()
    result = [f"figure: {title}"] if title else []
    for axes in figure.axes:
        assert axes.get_legend() is None
        scales = f"{axes.get_xscale()}, {axes.get_yscale()}"
        if axes.get_ylim()[0] == 0:
            scales += " from 0"
        result.append(f"{axes.get_xlabel()} | {axes.get_ylabel()} | {axes.get_title()} | {scales}")
        result += contents(axes)
    for legend in figure.legends:
        result.append("legend: " + ", ".join(text.get_text() for text in legend.get_texts()))
    return result


def contents(axes: Axes) -> list[str]:
    result = []
    for line in axes.lines:
        if line.get_marker() in {"_", "|"}:  # the caps of error bars
            continue
        if line.get_marker() == line.get_linestyle() == "None":  # what the bars are at
            continue
        mark = str(line.get_marker())
        if to_hex(line.get_markerfacecolor()) != to_hex(line.get_color()):
            mark += " open"
        style = f"{to_hex(line.get_color())} {line.get_linestyle()} {mark}"
        numbers = f"{shown(line.get_xdata())} → {shown(line.get_ydata())}".strip()
        label = str(line.get_label())
        result.append(f"{'' if label.startswith('_') else label}: {style}: {numbers}")
    for collection in axes.collections:
        colour = to_hex(np.asarray(collection.get_edgecolor())[0])
        if isinstance(collection, LineCollection):
            ends = [shown(np.asarray(segment)[:, 1]) for segment in collection.get_segments()]
            result.append(f"bars: {colour}: {'; '.join(ends)}")
        if isinstance(collection, PolyCollection):
            colour = to_hex(np.asarray(collection.get_facecolor())[0])
            (path,) = collection.get_paths()
            result.append(f"band: {colour}: {shown(np.unique(np.asarray(path.vertices)[:, 1]))}")
    result += [f"at its line: {text.get_text()!r}" for text in axes.texts]
    return result


def test_angle_curves() -> None:
    curves = SimpleNamespace(
        theta=np.radians([10.0, 90.0]),
        depths=(1, 4),
        activations=("relu", "tanh"),
        infinite=np.radians([[[8.0, 60.0], [7.0, 50.0]], [[9.0, 70.0], [6.0, 40.0]]]),
        width=32,
        mean=np.radians([[[8.5, 61.0], [7.5, 51.0]], [[9.5, 71.0], [6.5, 41.0]]]),
        deviation=np.radians([[[0.5, 1.0], [0.25, 2.0]], [[1.0, 4.0], [2.0, 8.0]]]),
    )
    diagonal = f"gradient = input: {GREY} : None: 10 90 → 10 90"
    assert described(figures.plot_angle_curves(curves)) == [
        "figure: lines: infinite width; marks: width 32",
        "input angle (degrees) | gradient angle (degrees) | ReLU | linear, linear",
        diagonal,
        f"depth 1: {SHALLOW} - None: 10 90 → 8 60",
        f": {SHALLOW} None o: 10 90 → 8.5 61",
        f"depth 4: {DEEP} - None: 10 90 → 7 50",
        f": {DEEP} None o: 10 90 → 7.5 51",
        f"bars: {SHALLOW}: 8 9; 60 62",
        f"bars: {DEEP}: 7.25 7.75; 49 53",
        "input angle (degrees) | gradient angle (degrees) | tanh | linear, linear",
        diagonal,
        f"depth 1: {SHALLOW} - None: 10 90 → 9 70",
        f": {SHALLOW} None o: 10 90 → 9.5 71",
        f"depth 4: {DEEP} - None: 10 90 → 6 40",
        f": {DEEP} None o: 10 90 → 6.5 41",
        f"bars: {SHALLOW}: 8.5 10.5; 67 75",
        f"bars: {DEEP}: 4.5 8.5; 33 49",
        "legend: gradient = input, depth 1, depth 4",
    ]
    (axes, _) = figures.plot_angle_curves(curves).axes
    for axis in (axes.xaxis, axes.yaxis):
        inside = [tick for tick in axis.get_ticklocs() if 0 < tick < 90]
        assert inside == [30, 60]
    curves.width = curves.mean = None
    alone = described(figures.plot_angle_curves(curves))
    assert alone[0].startswith("input angle")
    assert not any("bars" in line for line in alone)


def history(**others: Any) -> Any:
    given: dict[str, Any] = {
        "epochs": 2,
        "loss": np.array([0.5, 0.25]),
        "accuracy": np.array([0.75, 1.0]),
        "validation_loss": np.array([0.625, 0.5]),
        "validation_accuracy": np.array([0.5, 0.25]),
        "weight_change": np.array([1.0, 2.0]),
        "weight_change_max": np.array([0.125, 0.25]),
        "net": "network",
        "status": "completed",
    }
    return SimpleNamespace(**given | others)


def test_history() -> None:
    loss = [
        "figure: 'network': completed",
        "epoch | loss |  | linear, log",
        f"training: {BLUE} - o: 1 2 → 0.5 0.25",
        f"validation: {ORANGE} - s: 1 2 → 0.625 0.5",
    ]
    assert described(figures.plot_history(history())) == [
        *loss,
        "epoch | accuracy |  | linear, linear",
        f"training: {BLUE} - o: 1 2 → 0.75 1",
        f"validation: {ORANGE} - s: 1 2 → 0.5 0.25",
        "legend: training, validation",
    ]
    regression = history(accuracy=None, validation_accuracy=None)
    assert described(figures.plot_history(regression)) == [
        *loss,
        "epoch | change of the weights |  | linear, log",
        f"‖w − w₀‖₂: {GREEN} - ^: 1 2 → 1 2",
        f"‖w − w₀‖∞: {PURPLE} - D: 1 2 → 0.125 0.25",
        "legend: training, validation, ‖w − w₀‖₂, ‖w − w₀‖∞",
    ]
    nothing_left = history(loss=np.zeros(2))
    assert described(figures.plot_history(nothing_left))[1] == "epoch | loss |  | linear, linear"


def test_learning_rates() -> None:
    frame = pd.DataFrame(
        {
            "learning_rate": [0.25, 0.5, 1.0, 2.0],
            "status": ["completed", "target reached", "unstable", "diverged"],
            "final_loss": [0.5, 0.125, 3.0, math.nan],
            "epochs_to_target": [math.nan, 7.0, math.nan, math.nan],
        }
    )
    search = SimpleNamespace(loss_target=0.2, bound=1.5, best=0.5, to_frame=lambda: frame)
    others = [
        f"diverged: {ORANGE} None x: 2 → 1",
        f"bound from the kernel: {GREY} : None: 1.5 1.5 → 0 1",
        f"chosen: {GREY} -- None: 0.5 0.5 → 0 1",
    ]
    losses = [
        "learning rate | final loss |  | log, log",
        f": {BLUE} - None: 0.25 0.5 1 → 0.5 0.125 3",
        f"stable: {BLUE} None o: 0.25 0.5 → 0.5 0.125",
        f"loss rose above its start: {BLUE} None o open: 1 → 3",
        *others,
    ]
    figure = figures.plot_learning_rates(search)
    assert described(figure) == [
        *losses,
        "learning rate | epochs to the target |  | log, linear",
        f": {BLUE} - None: 0.25 0.5 1 → nan 7 nan",
        f"stable: {BLUE} None o: 0.25 0.5 → nan 7",
        f"loss rose above its start: {BLUE} None o open: 1 → nan",
        *others,
        "legend: stable, loss rose above its start, diverged, bound from the kernel, chosen",
    ]
    search.loss_target, search.best = None, math.nan
    assert described(figures.plot_learning_rates(search)) == [
        *losses[:-1],
        "legend: stable, loss rose above its start, diverged, bound from the kernel",
    ]


def test_linearization() -> None:
    frame = pd.DataFrame(
        {
            "width": [16, 64, 16, 64],
            "error": [0.5, 0.25, 0.5, 0.0],
            "test_error": [1.0, 0.5, 1.0, 0.5],
        }
    )
    study = SimpleNamespace(
        depth=3,
        activation=SimpleNamespace(label="GELU"),
        activation_scale=1.5,
        bias_std=0.1,
        learning_rate=0.25,
        steps=(10, 100),
        fit=SimpleNamespace(slope=-0.5, standard_error=0.125),
        test_fit=SimpleNamespace(slope=-0.5, standard_error=0.0625),
        to_frame=lambda: frame,
    )
    expected = [
        "figure: depth 3, GELU, $c_\\phi$ 1.5, $\\sigma_b$ 0.1,\n100 steps of learning rate 0.25",
        "width | distance from the linear model |  | log, log",
        f"training samples: {BLUE} None o: 16 64 16 → 0.5 0.25 0.5",
        f"slope −0.50 ± 0.12: {BLUE} - None: 16 64 → 0.5 0.25",
        f"other samples: {ORANGE} None s: 16 64 16 64 → 1 0.5 1 0.5",
        f"slope −0.50 ± 0.06: {ORANGE} - None: 16 64 → 1 0.5",
        "legend: training samples, slope −0.50 ± 0.12, other samples, slope −0.50 ± 0.06",
    ]
    assert described(figures.plot_linearization(study)) == expected
    frame["test_error"] = math.nan
    assert described(figures.plot_linearization(study)) == [
        *expected[:4],
        "legend: training samples, slope −0.50 ± 0.12",
    ]


def convergence() -> Any:
    summary = pd.DataFrame(
        {
            "depth": [1, 3],
            "seeds": [2, 2],
            "learning_rate": [0.5, 0.25],
            "epochs_to_target": [8.0, 4.0],
            "epochs_to_target_std": [2.0, 1.0],
            "predicted_rate": [0.75, 0.5],
            "predicted_rate_std": [0.125, math.nan],
            "linear_rate": [0.875, 0.625],
            "linear_rate_std": [0.0, 0.5],
            "measured_rate": [0.8, 0.6],
            "measured_rate_std": [0.1, 0.2],
            "rates_resolved": [1, 2],
            "test_accuracy": [0.75, 0.875],
            "test_accuracy_std": [0.02, 0.04],
        }
    )
    curves = pd.DataFrame(
        {
            "depth": [1, 1, 1, 1, 3, 3],
            "seed": [0, 0, 1, 1, 0, 0],
            "epoch": [1, 2, 1, 2, 1, 2],
            "loss": [1.0, 0.5, 3.0, 0.5, 0.75, 0.25],
        }
    )
    return SimpleNamespace(
        n_samples=100,
        width=32,
        activation=SimpleNamespace(label="GELU"),
        activation_scale=1.5,
        dtype="float32",
        batch_size=10,
        loss_target=0.3,
        summary=lambda: summary,
        curves=lambda: curves,
    )


def test_convergence() -> None:
    title = "figure: 100 samples, width 32, batches of 10,\nGELU, $c_\\phi$ 1.5, float32"
    losses = [
        "epoch | training loss (cross-entropy) |  | linear, log",
        f"depth 1: {SHALLOW} - None: 1 2 → 2 0.5",
        f"depth 3: {DEEP} - None: 1 2 → 0.75 0.25",
        f": {GREY} : None: 0 1 → 0.3 0.3",
        f"band: {SHALLOW}: 0.5 0.585786 3.41421",
        f"band: {DEEP}: 0.25 0.75",
        "at its line: 'target'",
    ]
    assert described(figures.figure4(convergence())) == [title, *losses, "legend: depth 1, depth 3"]
    assert described(figures.plot_convergence_study(convergence())) == [
        title,
        *losses,
        "depth | epochs to a loss of 0.3 |  | linear, linear from 0",
        f": {BLUE} - o: 1 3 → 8 4",
        f"bars: {BLUE}: 6 10; 3 5",
        "depth | 1 − factor of the square loss a step |  | linear, log",
        f"predicted: {BLUE} - o: 1 3 → 0.25 0.5",
        f"linear model: {ORANGE} - s: 1 3 → 0.125 0.375",
        f"measured: {GREEN} - ^: 1 3 → 0.2 0.4",
        f"measured, before the tail: {GREEN} None ^ open: 1 → 0.2",
        f"bars: {BLUE}: 0.125 0.375; 0.5 0.5",
        f"bars: {ORANGE}: 0.125 0.125; 0.0375 0.875",
        f"bars: {GREEN}: 0.1 0.3; 0.2 0.6",
        "legend: depth 1, depth 3, predicted, linear model, measured, measured, before the tail",
    ]


def test_table_of_accuracies() -> None:
    table = figures.table1(convergence())
    assert table.columns.tolist() == [
        "depth",
        "seeds",
        "learning_rate",
        "test_accuracy",
        "standard_deviation",
        "standard_error",
    ]
    np.testing.assert_allclose(
        table.to_numpy(float),
        [[1, 2, 0.5, 75, 2, 2 / math.sqrt(2)], [3, 2, 0.25, 87.5, 4, 4 / math.sqrt(2)]],
    )


def depth_study(**others: Any) -> Any:
    rows = [
        # In the order of the names below.
        ("relu", 8.0, 1, 2.0, 0.5, 100.0, 40.0, True, 20.0, 2.0),
        ("relu", 8.0, 3, 4.0, 1.0, 50.0, 80.0, True, 10.0, 20.0),
        ("relu", 16.0, 1, 2.5, 0.5, 90.0, 10.0, True, 19.0, 1.0),
        ("relu", math.inf, 1, 3.0, 0.0, 80.0, 0.0, True, math.nan, math.nan),
        ("identity", 8.0, 1, 1.0, 0.0, math.nan, math.nan, False, math.nan, math.nan),
    ]
    names = ["activation", "width", "depth", "smallest_angle", "smallest_angle_std"]
    names += ["condition_number", "condition_number_std", "resolved"]
    frame = pd.DataFrame(rows, columns=[*names, "batch_condition_number", "batch_spread"])
    frame["eigenvalue_max"], frame["noise_floor"] = 6.0, 0.002
    given: dict[str, Any] = {
        "n_samples": 20,
        "widths": (8, 16),
        "activation_scales": {"relu": 1.4142, "identity": 1.0},
        "weight_std": 1.0,
        "bias_std": 0.1,
        "parametrization": "ntk",
        "dtype": "float64",
        "batch_size": None,
        "limit_activations": ("relu",),
        "limit_angle": 75.0,
        "limit_condition_number": math.nan,
        "summary": lambda: frame,
    }
    return SimpleNamespace(**given | others)


def test_depth_study() -> None:
    angles = [
        "depth | smallest gradient angle (degrees) |  | linear, linear from 0",
        f"ReLU, width 8: {BLUE} - o: 1 3 → 2 4",
        f"ReLU, width 16: {BLUE} -- o: 1 → 2.5",
        f"infinite width: {BLUE} : None: 1 → 3",
        f"linear network, width 8: {ORANGE} - s: 1 → 1",
        f": {GREY} : None: 0 1 → 75 75",
        f"bars: {BLUE}: 1.5 2.5; 3 5",
        f"bars: {BLUE}: 2 3",
        f"bars: {ORANGE}: 1 1",
        "at its line: 'ReLU:\\ninfinite depth'",
    ]
    labels = ["ReLU, width 8", "ReLU, width 16", "infinite width", "linear network, width 8"]
    labels += ["κ of batches of 5", UNRESOLVED]
    figure = figures.plot_depth_study(depth_study(batch_size=5))
    assert described(figure) == [
        "figure: 20 samples, width 8, 16" + SETTINGS,
        *angles,
        "depth | condition number κ |  | linear, log",
        f"ReLU, width 8: {BLUE} - o: 1 3 → 100 50",
        f"κ of batches of 5: {BLUE} None x: 1 3 → 20 10",
        f"ReLU, width 16: {BLUE} -- o: 1 → 90",
        f"κ of batches of 5: {BLUE} None x: 1 → 19",
        f"infinite width: {BLUE} : None: 1 → 80",
        f"linear network, width 8: {ORANGE} - s: →",
        f"{UNRESOLVED}: {ORANGE} None s open: 1 → 3000",
        # Lower ends that a logarithmic axis can show.
        f"bars: {BLUE}: 60 140; 5 130",
        f"bars: {BLUE}: 18 22; 1 30",
        f"bars: {BLUE}: 80 100",
        f"bars: {BLUE}: 18 20",
        f"legend: {', '.join(labels)}",
    ]
    assert figure.axes[0].get_ylim()[0] == 0
    study = depth_study(limit_angle=math.nan, limit_condition_number=30.0)
    found = described(figures.plot_depth_study(study))
    assert found[1:10] == [*angles[:5], *angles[6:9], "depth | condition number κ |  | linear, log"]
    assert f": {GREY} : None: 0 1 → 30 30" in found
    assert not any(" x: " in line for line in found)


def test_a_single_width_is_not_repeated() -> None:
    study = depth_study(widths=(8,))
    rows = study.summary()
    study.summary = lambda: rows[rows["width"] != 16]
    figure = figures.plot_depth_study(study)
    labels = f"ReLU, infinite width, linear network, {UNRESOLVED}"
    assert f"legend: {labels}" in described(figure)
    assert figure.get_suptitle() == "20 samples, width 8" + SETTINGS


def test_what_varies_is_the_x_axis() -> None:
    """Of one depth and several widths that is the width; infinite width is a line across."""
    study = depth_study()
    rows = study.summary()
    study.summary = lambda: rows[rows["depth"] == 1]
    found = described(figures.plot_depth_study(study))
    assert found[1:9] == [
        "width | smallest gradient angle (degrees) |  | log, linear from 0",
        f"ReLU: {BLUE} - o: 8 16 → 2 2.5",
        f"linear network: {ORANGE} - s: 8 → 1",
        f": {GREY} : None: 0 1 → 3 3",
        f"bars: {BLUE}: 1.5 2.5; 2 3",
        f"bars: {ORANGE}: 1 1",
        "at its line: 'ReLU:\\ninfinite width'",
        "width | condition number κ |  | log, log",
    ]
    assert f"{UNRESOLVED}: {ORANGE} None s open: 8 → 3000" in found


def sheet_of(lines: int) -> Sheet:
    x = np.array([1.0, 2.0])
    each = [Line(x=x, y=k * x, label=f"line {k}", hue=k) for k in range(lines)]
    return Sheet(title="", panels=[Panel(x="x", y="y", lines=each)] * 2)


@pytest.mark.parametrize("lines", [6, 14, 15, 30])
def test_a_long_legend_squeezes_nothing(lines: int) -> None:
    """Legends stand beside the axes, or below them, and the axes keep their size."""
    few, many = draw(sheet_of(2), PRINT), draw(sheet_of(lines), PRINT)
    (legend,) = many.legends
    box = legend.get_window_extent()
    for axes, alone in zip(many.axes, few.axes, strict=True):
        assert not box.overlaps(axes.get_window_extent())
        for side in ("width", "height"):
            size, usual = (getattr(a.get_window_extent(), side) for a in (axes, alone))
            assert size > 0.85 * usual
    assert many.bbox.x0 <= box.x0
    assert box.x1 <= many.bbox.x1
    assert many.bbox.y0 <= box.y0
    assert box.y1 <= many.bbox.y1


def test_two_panels_are_as_wide_as_the_text_of_a_paper() -> None:
    figure = draw(sheet_of(3), PRINT)
    assert 6.5 <= figure.get_size_inches()[0] <= 7.1
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert {text.get_fontsize() for text in texts} == {6.0, 7.0}


def test_lines_of_several_colours_with_one_label_are_grey_in_the_legend() -> None:
    x = np.array([1.0, 2.0])
    lines = [
        Line(x=x, y=x, label="same", style="open", hue=0),
        Line(x=x, y=x, label="same", style="open", hue=1),
        Line(x=x, y=x, label="alone", hue=1),
    ]
    axes = Figure().subplots()
    draw_panel(axes, Panel(x="x", y="y", lines=lines), PRINT)
    same, alone = legend_entries([axes]).values()
    assert to_hex(same.get_color()) == GREY
    assert to_hex(same.get_markerfacecolor()) == "#ffffff"
    assert to_hex(alone.get_color()) == ORANGE
