# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Beyond the paper: whether training follows κ, in networks with skip connections, too.

All of the samples are one batch, and the loss is the square loss on one-hot labels. The learning
rate is half of the bound below which descent on the linear model converges without momentum
(`learning_rate_bound`), n/λ_max. Momentum is the same for all; it makes each epoch count for more,
so that losses are reached for which the smaller eigenvalues matter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import kendalltau

from fastntk._support.display import counted
from fastntk.eigenvalues import conditioning
from fastntk.figures.panels import Limit, Line, Panel, Sheet
from fastntk.paper.claims import Claim, Statement, from_to, least_condition_number, steps
from fastntk.paper.part import Part
from fastntk.paper.parts.architectures import ARCHITECTURES, LABELS
from fastntk.paper.run import kept_tables
from fastntk.paper.samples import split
from fastntk.studies.identities import array_digest, description_identity
from fastntk.training.learning_rate_bound import learning_rate_bound
from fastntk.training.run import train

if TYPE_CHECKING:
    import pandas as pd

    from fastntk.architectures.network import Network
    from fastntk.paper.run import Run

_DEPTHS, _DEPTHS_FULL = (1, 3, 10, 30), (1, 3, 10, 30, 100)
_SAMPLES, _SAMPLES_FULL = 100, 500
_WIDTH, _WIDTH_FULL = 64, 256
_EPOCHS = 1000
_MOMENTUM = 0.9

# A tenth of what the loss is where all outputs are 0.
_LOSS = 0.05

# Correlations count if they are as large by chance in less than this share of all orders.
_CHANCE = 0.05

FASTER = Statement(
    "Beyond the paper",
    "The deeper the network, the faster the training loss falls.",
    "Epochs to the loss at each step of depth, seed by seed: a mean difference whose 95 % interval "
    "leaves out 0. A step from or to a depth at which a network did not reach it is open.",
)
WITH_KAPPA = Statement(
    "Beyond the paper",
    "Networks with a smaller condition number need fewer epochs, across architectures, too.",
    "Kendall's rank correlation of mean κ and mean epochs over all architectures and depths: "
    "positive, and as large by chance in less than 5 %. Those that did not reach the loss, or have "
    "no κ that is resolved, come last.",
)


def architectures_trained(run: Run, data: str) -> Part:
    """Return epochs to a loss beside κ, for all architectures."""
    parts = run.named(split(data, run.sized(_SAMPLES, _SAMPLES_FULL)))
    depths, seeds = run.sized(_DEPTHS, _DEPTHS_FULL), run.several_seeds(3)
    width = run.of_width(run.sized(_WIDTH, _WIDTH_FULL))
    frame = trained(run, parts.X, np.asarray(parts.y), depths=depths, seeds=seeds, width=width)
    n = len(parts.X)
    return Part(
        name=f"architectures-trained-{parts.name}",
        title=f"Beyond the paper: training with skip connections and normalization, {parts.name}",
        text=(
            f"Epochs of gradient descent on all of {n} samples at once, with momentum "
            f"{_MOMENTUM:g}, until the square loss (one output a class; 0.5 where all outputs are "
            f"0) is at most {_LOSS:g}, of at most {_EPOCHS}. The learning rate is n/λ_max of each "
            "network; κ is that of the kernel summed over outputs. Crosses at the upper edge: a "
            "network did not reach the loss."
        ),
        command="fastntk reproduce --only 'architectures trained'" + run.options(data),
        tables={"": frame},
        drawings={
            "": Sheet(
                title=f"{parts.name}: n = {n}, width {width}, {counted(len(seeds), 'seed')}",
                panels=_panels(frame),
            )
        },
        claims=judged(frame, parts.name),
    )


def trained(
    run: Run,
    X: np.ndarray,
    labels: np.ndarray,
    *,
    depths: tuple[int, ...],
    seeds: tuple[int, ...],
    width: int,
) -> pd.DataFrame:
    """Return a row for each network: κ, learning rate, and epochs to the loss."""
    classes, index = np.unique(labels, return_inverse=True)
    samples = X.astype(np.float32)
    targets = np.eye(len(classes), dtype=np.float32)[index]
    networks: dict[str, tuple[dict[str, Any], Network]] = {}
    for architecture in ARCHITECTURES:
        for depth in depths:
            network = architecture.network(depth, X.shape[1], width=width, outputs=targets.shape[1])
            for seed in seeds:
                row = {
                    "architecture": architecture.label,
                    "residual_scale": architecture.scale_at(depth),
                    "depth": depth,
                    "width": width,
                    "seed": seed,
                }
                networks[f"{architecture.label}, depth {depth}, seed {seed}"] = row, network
    common = {
        "samples": array_digest(samples),
        "targets": array_digest(targets),
        "epochs": _EPOCHS,
        "loss": _LOSS,
        "momentum": _MOMENTUM,
    }
    pieces = {
        name: common | {"layers": description_identity(network), "seed": row["seed"]}
        for name, (row, network) in networks.items()
    }

    def compute(name: str, _: object) -> pd.DataFrame:
        row, network = networks[name]
        return _of_network(row, network, samples, targets)

    return kept_tables(run, "architectures trained", pieces, compute)


def _of_network(
    row: dict[str, Any], network: Network, samples: np.ndarray, targets: np.ndarray
) -> pd.DataFrame:
    import pandas as pd

    net = network.sample(row["seed"], "float32")
    wide = net.astype("float64")
    found = conditioning(wide.ntk(samples), feature_error=wide.feature_error, bounds=False)
    rate = learning_rate_bound(net, samples, loss="mse") / 2
    history = train(
        net,
        samples,
        targets,
        loss="mse",
        learning_rate=rate,
        momentum=_MOMENTUM,
        epochs=_EPOCHS,
        loss_target=_LOSS,
    )
    reached = history.loss[-1] <= _LOSS
    return pd.DataFrame(
        [
            row
            | {
                "condition_number": found.condition_number,
                "condition_number_least": least_condition_number(found),
                "learning_rate": rate,
                "initial_loss": history.loss[0],
                "final_loss": history.loss[-1],
                "epochs_to_loss": float(history.epochs) if reached else math.nan,
                "epochs": _EPOCHS,
                "loss_target": _LOSS,
                "momentum": _MOMENTUM,
                "samples": len(samples),
                "outputs": targets.shape[1],
                "dtype": "float32",
            }
        ]
    )


def _means(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the means over seeds of κ and epochs; NaN where a network of some seed has none."""
    columns = ["condition_number", "epochs_to_loss"]
    groups: Any = frame.groupby(["architecture", "depth"], sort=False)[columns]
    means: pd.DataFrame = groups.agg(lambda each: each.mean(skipna=False)).reset_index()
    return means


def _panels(frame: pd.DataFrame) -> list[Panel]:
    cells = _means(frame)
    spread = frame.groupby(["architecture", "depth"], sort=False)["epochs_to_loss"].std()
    against_depth, against_kappa = [], []
    for hue, label in enumerate(LABELS):
        rows = cells[cells["architecture"] == label]
        reached = rows[rows["epochs_to_loss"].notna()]
        missed = rows[rows["epochs_to_loss"].isna()]
        known = reached[reached["condition_number"].notna()]
        bars = np.array([spread[label, depth] for depth in reached["depth"]], np.float64)
        if len(reached):
            against_depth.append(_line(reached, "depth", label, hue, "both", np.nan_to_num(bars)))
        if len(known):
            against_kappa.append(_line(known, "condition_number", label, hue, "marks"))
        if len(missed):
            text = "loss not reached"
            against_depth.append(_line(missed, "depth", text, hue, "edge"))
            unreached = missed[missed["condition_number"].notna()]
            if len(unreached):
                against_kappa.append(_line(unreached, "condition_number", text, hue, "edge"))
    epochs = f"epochs to a loss of {_LOSS:g}"
    limits = [Limit(value=_EPOCHS, label=f"{_EPOCHS}\nepochs")]
    return [
        Panel(
            x="depth L", y=epochs, lines=against_depth, limits=limits, x_kind="log", y_kind="log"
        ),
        Panel(
            x="condition number κ",
            y=epochs,
            lines=against_kappa,
            limits=limits,
            x_kind="log",
            y_kind="log",
        ),
    ]


def _line(
    rows: pd.DataFrame,
    x: str,
    label: str,
    hue: int,
    style: str,
    spread: np.ndarray | None = None,
) -> Line:
    return Line(
        x=rows[x].to_numpy(np.float64),
        y=rows["epochs_to_loss"].to_numpy(np.float64),
        spread=spread,
        label=label,
        style=style,
        hue=hue,
    )


def judged(frame: pd.DataFrame, data: str) -> tuple[Claim, ...]:
    """Return the statements with their verdicts."""
    claims = []
    for label, rows in frame.groupby("architecture", sort=False):
        reached = int(rows["epochs_to_loss"].notna().sum())
        numbers = (
            f"epochs to a loss of {_LOSS:g}: {from_to(rows, 'epochs_to_loss')}; {reached} of "
            f"{len(rows)} trainings reached it"
        )
        falls = steps(rows, "epochs_to_loss", rising=False)
        claims.append(falls.claim(FASTER, numbers, f"{data}, {label}"))
    return (*claims, judge_kappa(frame, data))


def judge_kappa(frame: pd.DataFrame, data: str) -> Claim:
    """Judge whether epochs rise with κ, over all architectures and depths."""
    cells = _means(frame)
    kappa, epochs = (
        cells[name].fillna(math.inf).rank() for name in ("condition_number", "epochs_to_loss")
    )
    if kappa.nunique() < 3 or epochs.nunique() < 3:
        evidence = "too few networks differ in κ and reach the loss"
        return Claim(WITH_KAPPA, "undecided", evidence, data)
    found = kendalltau(kappa, epochs, alternative="greater")
    chance = float(found.pvalue)
    verdict = "holds" if chance < _CHANCE else "fails" if chance > 1 - _CHANCE else "undecided"
    missed = int(cells["epochs_to_loss"].isna().sum())
    return Claim(
        WITH_KAPPA,
        verdict,
        f"rank correlation {float(found.statistic):.2f} over {len(cells)} architectures and "
        f"depths, p = {chance:.3f}; {missed} of them did not reach the loss with every seed",
        data,
    )
