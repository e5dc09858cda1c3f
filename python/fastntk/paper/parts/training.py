# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figure 4 and Table 1: training loss against epochs, and test accuracy, for several depths.

Softmax cross-entropy, batches of 500, learning rates searched for each depth; κ of some of the
samples stands beside the epochs that a loss takes. Both come from the same trainings.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.display import counted
from fastntk.figures import table1
from fastntk.figures.panels import MOST_BANDS, Limit, Line, Panel, Sheet, levels
from fastntk.paper.claims import Claim, Statement, compared, count, from_to, steps
from fastntk.paper.part import Part
from fastntk.paper.samples import split
from fastntk.studies.convergence import convergence_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fastntk.paper.run import Run
    from fastntk.paper.samples import Split
    from fastntk.studies.convergence_results import ConvergenceStudy

_DEPTHS, _DEPTHS_FULL = (1, 2, 4, 6), (1, 3, 6, 8, 10, 12)
_SAMPLES = 10_000
_BATCH_SIZE = 500
_EPOCHS, _EPOCHS_FULL = 40, 60
_LOSS = 0.1
_RATE_SAMPLES, _RATE_STEPS = 50, 1000

FASTER = Statement(
    "Figure 4",
    "The deeper the network, the faster the training loss falls.",
    "Epochs to the loss at each step of depth, seed by seed: a mean difference whose 95 % interval "
    "leaves out 0.",
)
WITH_KAPPA = Statement(
    "Figure 4",
    "Networks with a smaller condition number need fewer epochs.",
    "Rank correlation of κ and the epochs to the loss, over depths: positive, and as large by "
    "chance in less than 5 % among all orders of the depths.",
)
RISES_AND_FALLS = Statement(
    "Table 1",
    "Test accuracy rises with depth, and then falls.",
    "The best depth is neither the first nor the last, and better than both, seed by seed: the "
    "95 % interval of the mean difference leaves out 0.",
)


def figure_4(run: Run, data: str) -> Part:
    """Training curves, and epochs beside κ."""
    study, parts = trained(run, data)
    name, title = parts.name, _title(study, parts)
    frame, curves = without_times(study.to_frame()), study.curves()
    return Part(
        name=f"figure-4-{name}",
        title=f"Figure 4: training loss against epochs, {name}",
        text=(
            f"ReLU networks of width {study.width}, trained on {study.n_samples} samples by "
            f"gradient descent in batches of {study.batch_size} on softmax cross-entropy. The "
            "learning rate is searched for each depth: the one that reaches a loss of "
            f"{study.loss_target:g} first, halved while the training of any seed diverges. κ is "
            f"that of {_RATE_SAMPLES} of the samples."
        ),
        command="fastntk figure 4" + run.options(data),
        tables={
            "": frame,
            "curves": curves,
            "learning-rates": without_times(study.learning_rates()),
        },
        drawings={"": _sheet(study, title)},
        claims=judged(frame, name, study.loss_target),
    )


def table_1(run: Run, data: str) -> Part:
    """Test accuracies of the same trainings."""
    study, parts = trained(run, data)
    name, test = parts.name, parts.n_test
    frame = without_times(study.to_frame())
    table = table1(study).assign(
        width=study.width,
        epochs=int(frame["epochs"].max()),
        samples=study.n_samples,
        test_samples=test,
        batch_size=study.batch_size,
    )
    depths = table["depth"].to_numpy(np.float64)
    line = Line(
        x=depths,
        y=table["test_accuracy"].to_numpy(),
        spread=table["standard_deviation"].fillna(0.0).to_numpy(),
        label="mean over seeds",
        style="both",
    )
    return Part(
        name=f"table-1-{name}",
        title=f"Table 1: test accuracy against depth, {name}",
        text=(
            f"Accuracy on {test} test samples after {int(frame['epochs'].max())} epochs; bars are "
            "standard deviations over seeds. The paper's, on images of its own choice: "
            "95.98, 97.43, 97.57, 97.52, 97.39, 97.19 % at depths 1, 3, 6, 8, 10, 12."
        ),
        command="fastntk table 1" + run.options(data),
        tables={"": table, "seeds": frame},
        drawings={
            "": Sheet(
                title=_title(study, parts),
                panels=[
                    Panel(
                        x="depth",
                        y="test accuracy (per cent)",
                        lines=[line],
                        x_kind="whole",
                    )
                ],
            )
        },
        claims=(judge_accuracy(frame, name),),
    )


def trained(run: Run, data: str) -> tuple[ConvergenceStudy, Split]:
    """Return the study that figure and table are of, and its samples."""
    parts = run.named(split(data, run.sized(_SAMPLES, None)))
    study = convergence_study(
        parts.X,
        parts.y,
        run.sized(_DEPTHS, _DEPTHS_FULL),
        width=run.of_width(),
        seeds=run.several_seeds(3),
        test=parts.test,
        batch_size=min(_BATCH_SIZE, len(parts.X)),
        epochs=run.sized(_EPOCHS, _EPOCHS_FULL),
        loss_target=_LOSS,
        rate_samples=_RATE_SAMPLES,
        rate_steps=_RATE_STEPS,
        store=run.store,
        device=run.device,
        data=parts.name,
        progress=run.progress,
    )
    return study, parts


def without_times(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table that is the same whenever it is computed: trainings run beside each other."""
    return frame.drop(columns="seconds", errors="ignore")


def _title(study: ConvergenceStudy, parts: Split) -> str:
    seeds = len({result.seed for result in study.results})
    return (
        f"{parts.name}: n = {study.n_samples} ({parts.n_test} test samples), "
        f"width {study.width}, {counted(seeds, 'seed')}, batches of {study.batch_size}"
    )


def _sheet(study: ConvergenceStudy, title: str) -> Sheet:
    curves, frame = study.curves(), without_times(study.to_frame())
    depths = sorted(frame["depth"].unique().tolist())
    target = [Limit(value=study.loss_target, label=f"loss\n{study.loss_target:g}")]
    losses = {depth: _loss(curves, depth, depths) for depth in depths}
    if len(depths) <= MOST_BANDS:
        panels = [_loss_panel(list(losses.values()), "", target)]
    else:  # each band in a panel of its own, before the lines of all depths
        panels = [
            _loss_panel(
                [
                    *(
                        Line(x=other.x, y=other.y, label="other depths", style="thin", hue=6)
                        for at, other in losses.items()
                        if at != depth
                    ),
                    losses[depth],
                ],
                f"depth {depth}",
                target,
            )
            for depth in depths
        ]
    return Sheet(title=title, panels=[*panels, *_against_kappa(study, frame, depths)], columns=3)


def _loss(curves: pd.DataFrame, depth: int, depths: Sequence[int]) -> Line:
    rows = curves[curves["depth"] == depth].groupby("epoch")["loss"].agg(["mean", "std"])
    return Line(
        x=rows.index.to_numpy(np.float64),
        y=rows["mean"].to_numpy(),
        spread=rows["std"].fillna(0.0).to_numpy(),
        label=f"depth {depth}",
        level=levels(depths)[depth],
    )


def _loss_panel(lines: Sequence[Line], title: str, limits: Sequence[Limit]) -> Panel:
    return Panel(
        title=title,
        x="epoch",
        y="training loss (cross-entropy)",
        lines=lines,
        limits=limits,
        y_kind="log",
    )


def _against_kappa(
    study: ConvergenceStudy, frame: pd.DataFrame, depths: Sequence[int]
) -> list[Panel]:
    """Return epochs to the loss against depth, and against κ."""
    columns = ["condition_number", "epochs_to_target"]
    cells = frame.groupby("depth")[columns].agg(["mean", "std"])
    epochs = cells["epochs_to_target"]
    label = f"epochs to a loss of {study.loss_target:g}"
    place = levels(depths)
    points = [
        Line(
            x=np.array([cells["condition_number"]["mean"].loc[depth]]),
            y=np.array([epochs["mean"].loc[depth]]),
            spread=np.array([np.nan_to_num(epochs["std"].loc[depth])]),
            label=f"depth {depth}",
            style="marks",
            level=place[depth],
        )
        for depth in depths
        if math.isfinite(epochs["mean"].loc[depth])
    ]
    against_depth = Line(
        x=np.array(depths, np.float64),
        y=epochs["mean"].to_numpy(),
        spread=epochs["std"].fillna(0.0).to_numpy(),
        label="mean over seeds",
        style="both",
    )
    return [
        Panel(x="depth", y=label, lines=[against_depth], x_kind="whole", y_from_zero=True),
        Panel(
            x=f"condition number κ ({_RATE_SAMPLES} samples)",
            y=label,
            lines=points,
            x_kind="log",
            y_from_zero=True,
        ),
    ]


def judged(frame: pd.DataFrame, data: str, target: float) -> tuple[Claim, ...]:
    """Return the statements of Figure 4, with their verdicts."""
    falls = steps(frame, "epochs_to_target", rising=False)
    reached = int(frame["epochs_to_target"].notna().sum())
    numbers = (
        f"epochs to a loss of {target:g}: {from_to(frame, 'epochs_to_target')}; "
        f"{reached} of {len(frame)} trainings reached it"
    )
    return falls.claim(FASTER, numbers, data), judge_kappa(frame, data)


def judge_kappa(frame: pd.DataFrame, data: str) -> Claim:
    """Judge whether epochs rise with κ over the depths: by their rank correlation."""
    means = frame.groupby("depth")[["condition_number", "epochs_to_target"]].mean().dropna()
    if len(means) < 3 or (means.max() == means.min()).any():
        evidence = f"κ and epochs are known at {len(means)} depths, which is too few"
        return Claim(WITH_KAPPA, "undecided", evidence, data)
    kappa, epochs = (means[name].rank().to_numpy() for name in means.columns)
    found = float(np.corrcoef(kappa, epochs)[0, 1])
    # The sum of products decides, as means and variances are the same in every order of the ranks.
    orders = np.array(list(itertools.permutations(epochs)))
    chance = float(np.mean(orders @ kappa >= epochs @ kappa - 1e-9))
    # As improbable the other way round speaks against it.
    verdict = "holds" if chance < 0.05 else "fails" if chance > 0.95 else "undecided"
    return Claim(
        WITH_KAPPA,
        verdict,
        f"rank correlation {found:.2f} over {len(means)} depths, p = {chance:.3f}; "
        f"κ {from_to(frame, 'condition_number')}",
        data,
    )


def judge_accuracy(frame: pd.DataFrame, data: str) -> Claim:
    """Judge whether the best depth lies between the first and the last, and is better than both."""
    table = frame.pivot_table(index="depth", columns="seed", values="test_accuracy").sort_index()
    means = 100 * table.mean(axis=1)
    values = table.to_numpy()
    best, last = int(np.argmax(means)), len(values) - 1
    depths = [int(depth) for depth in table.index]
    evidence = (
        f"{', '.join(f'{value:.2f}' for value in means)} % at depths "
        f"{', '.join(map(str, depths))}; best at {depths[best]}"
    )
    # At an end of the depths the best one is not above that end: the statement fails there if it is
    # better than the next one by more than its error.
    answers = [
        compared(values[near if end == best else best], values[end], among=2)
        for end, near in ((0, 1), (last, last - 1))
    ]
    return count(answers, "side").claim(RISES_AND_FALLS, evidence, data)
