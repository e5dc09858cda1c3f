# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Beyond the paper: which pairs of samples are hardest to separate, and κ against their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.display import counted
from fastntk.eigenvalues import conditioning
from fastntk.figures.pairs import plot_pairs
from fastntk.figures.panels import Line, Panel, Sheet, levels
from fastntk.kernels.depth_sweep import ntk_depths
from fastntk.kernels.rounding import feature_error
from fastntk.mlp import MLP
from fastntk.paper.claims import Statement, above_some, count, least_condition_number
from fastntk.paper.part import Part
from fastntk.paper.parts.minibatches import BATCH_SIZE
from fastntk.paper.run import kept_tables
from fastntk.paper.samples import images, part_of, samples
from fastntk.studies.identities import array_digest
from fastntk.studies.power_law import fit_power_law

if TYPE_CHECKING:
    import pandas as pd

    from fastntk.datasets import Dataset
    from fastntk.paper.claims import Claim
    from fastntk.paper.run import Run

_PAIRS = 12
_DEPTH = 3
_SEARCHED = 5000

_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_MOST, _MOST_FULL = 1800, 8192
_DEPTHS = (1, 3, 6, 10)

LARGER = Statement(
    "Beyond the paper",
    "κ of more samples is larger: κ of minibatches is not that of the data.",
    "κ of all samples against that of the first 512, seed by seed and depth by depth.",
)


def hardest_pairs(run: Run, data: str) -> Part:
    """Return the closest pairs of gradients, as pictures where the samples are some."""
    most = run.sized(_SEARCHED, None)
    dataset = run.named(part_of(samples(data), most))
    width, seed = run.of_width(), run.several_seeds(1)[0]
    frame = closest(run, dataset, width, seed)
    shown = images(data, most)
    conflicts = int((frame["label_i"] != frame["label_j"]).sum()) if dataset.y is not None else 0
    labels = "" if dataset.y is None else f" Labels differ in {conflicts} of these pairs."
    drawings = {}
    if shown is not None:
        drawings[""] = plot_pairs(
            f"{dataset.name}: n = {len(dataset.X)}, ReLU, depth {_DEPTH}, width {width}, "
            f"seed {seed}",
            [(shown[i], shown[j]) for i, j in zip(frame["i"], frame["j"], strict=True)],
            [
                f"{row.label_i} and {row.label_j}: {row.gradient_angle:.2f}°"
                for row in frame.itertuples()
            ],
        )
    return Part(
        name=f"hardest-pairs-{dataset.name}",
        title=f"Beyond the paper: the pairs that are hardest to separate, {dataset.name}",
        text=(
            f"The {len(frame)} smallest angles between gradients among all pairs of "
            f"{len(dataset.X)} samples, found tile by tile.{labels}"
        ),
        command="fastntk reproduce --only 'hardest pairs'" + run.options(data),
        tables={"": frame},
        drawings=drawings,
    )


def closest(run: Run, dataset: Dataset, width: int, seed: int) -> pd.DataFrame:
    """Return a row for each of the closest pairs."""
    import pandas as pd

    X = dataset.X
    total = len(X) * (len(X) - 1) // 2

    def compute(_: str, __: object) -> pd.DataFrame:
        net = MLP([X.shape[1], *[width] * _DEPTH, 1], seed=seed)
        pairs = net.smallest_angle(X, min(_PAIRS, total), progress=False)
        i, j = np.array([[pair.i, pair.j] for pair in pairs]).T
        unit = X / np.linalg.norm(X, axis=1, keepdims=True)
        # 2 asin(‖u − v‖/2), which keeps the digits of small angles.
        half = np.linalg.norm(unit[i] - unit[j], axis=1) / 2
        labels = np.full(len(X), -1) if dataset.y is None else dataset.y
        return pd.DataFrame(
            {
                "i": i,
                "j": j,
                "label_i": labels[i],
                "label_j": labels[j],
                "input_angle": np.degrees(2 * np.arcsin(np.minimum(half, 1.0))),
                "gradient_angle": np.degrees([pair.angle for pair in pairs]),
                "depth": _DEPTH,
                "width": width,
                "seed": seed,
                "samples": len(X),
            }
        )

    settings = {
        "samples": array_digest(X),
        "labels": None if dataset.y is None else array_digest(dataset.y),
        "depth": _DEPTH,
        "width": width,
        "seed": seed,
    }
    return kept_tables(run, "hardest pairs", {dataset.name: settings}, compute)


def sample_size(run: Run, data: str) -> Part:
    """Return κ of the first n samples of a shuffle, against n."""
    dataset = run.named(part_of(samples(data), run.sized(_MOST, _MOST_FULL)))
    width, seeds = run.of_width(), run.several_seeds(2)
    frame = growth(run, dataset, width, seeds)
    place = levels(_DEPTHS)
    lines, slopes = [], []
    for depth, rows in frame.groupby("depth"):
        known = rows.dropna(subset="condition_number")
        cells = known.groupby("n")["condition_number"].agg(["mean", "std"])
        lines.append(
            Line(
                x=cells.index.to_numpy(np.float64),
                y=cells["mean"].to_numpy(),
                spread=cells["std"].fillna(0.0).to_numpy(),
                label=f"depth {depth}",
                style="both",
                level=place[depth],  # type: ignore[index]
            )
        )
        slope = fit_power_law(known["n"], known["condition_number"])
        slopes.append(f"{slope.slope:.2f} ± {slope.standard_error:.2f} at depth {depth}")
    return Part(
        name=f"sample-size-{dataset.name}",
        title=f"Beyond the paper: κ against the number of samples, {dataset.name}",
        text=(
            "κ of the first n samples of a shuffle. Kernels of fewer samples are submatrices, so "
            "that κ cannot fall as n grows (Cauchy's interlacing); how fast it grows says what "
            f"minibatches of {BATCH_SIZE} leave out. κ ∝ n^r with r = {', '.join(slopes)}."
        ),
        command="fastntk reproduce --only 'sample size'" + run.options(data),
        tables={"": frame},
        drawings={
            "": Sheet(
                title=f"{dataset.name}: n up to {len(dataset.X)}, ReLU, width {width}, "
                f"{counted(len(seeds), 'seed')}",
                panels=[
                    Panel(
                        x="samples n",
                        y="condition number κ",
                        lines=lines,
                        direct=True,
                        x_kind="log",
                        y_kind="log",
                    )
                ],
            )
        },
        claims=(judge_growth(frame, dataset.name),),
    )


def growth(run: Run, dataset: Dataset, width: int, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Return a row for each seed, depth and number of samples."""
    import pandas as pd

    X = dataset.X
    sizes = [*(size for size in _SIZES if size < len(X)), len(X)]
    pieces: dict[str, dict[str, Any]] = {
        f"seed {seed}": {
            "samples": array_digest(X),
            "seed": seed,
            "width": width,
            "sizes": sizes,
            "depths": list(_DEPTHS),
        }
        for seed in seeds
    }

    def compute(name: str, _: object) -> pd.DataFrame:
        seed = pieces[name]["seed"]
        shuffled = X[np.random.default_rng(seed).permutation(len(X))]
        kernels = ntk_depths(
            shuffled, _DEPTHS, width=width, seed=seed, dtype="float64", progress=False
        )
        rows = []
        for depth, kernel in kernels.items():
            error = feature_error(depth, np.dtype(np.float64))
            for n in sizes:
                found = conditioning(kernel[:n, :n], bounds=False, feature_error=error)
                rows.append(
                    {
                        "depth": depth,
                        "seed": seed,
                        "n": n,
                        "condition_number": found.condition_number,
                        "condition_number_least": least_condition_number(found),
                        "width": width,
                        "activation": "relu",
                    }
                )
        return pd.DataFrame(rows)

    return kept_tables(run, "κ against samples", pieces, compute)


def judge_growth(frame: pd.DataFrame, data: str) -> Claim:
    """Judge whether κ of all samples is above that of a minibatch, and say how far."""
    smaller = [n for n in frame["n"].unique() if n <= BATCH_SIZE]
    size, most = max(smaller), frame["n"].max()
    answers, factors = [], []
    depths = frame.groupby("depth")
    for _, rows in depths:
        batch, whole = (rows[rows["n"] == n].set_index("seed").sort_index() for n in (size, most))
        answers.append(
            above_some(
                whole["condition_number_least"],
                whole["condition_number"],
                batch["condition_number"],
                among=depths.ngroups,
            )
        )
        # NaN where κ is not resolved; the same seeds in both means.
        of_whole, of_batch = whole["condition_number"], batch["condition_number"]
        both = of_whole.notna() & of_batch.notna()
        factors.append(of_whole[both].mean() / of_batch[both].mean())
    resolved = [factor for factor in factors if np.isfinite(factor)]
    if not resolved:
        evidence = f"κ of {most} or of {size} samples is resolved at no depth"
    else:
        evidence = (
            f"κ of {most} samples is {min(resolved):.3g} to {max(resolved):.3g} times that of "
            f"{size}"
        )
        if len(resolved) < len(factors):
            evidence += f" at the {len(resolved)} of {len(factors)} depths where both are resolved"
    return count(answers, "depth").claim(LARGER, evidence, data)
