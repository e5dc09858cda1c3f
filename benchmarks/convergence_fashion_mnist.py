# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figure 4 and Table 1 of arXiv 2305.08813 on Fashion-MNIST, and the rates that κ predicts.

``python -m benchmarks.convergence_fashion_mnist`` trains on 10 000 images, drawn at random, and
tests on the 10 000 test images; it writes ``gallery/convergence.png`` and ``.csv`` files. About a
quarter of an hour on two cores; stopped, it goes on from ``convergence.sqlite`` in the present
directory. With ``--tiny`` it runs all steps in seconds and leaves nothing behind.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk
from fastntk import figures

if TYPE_CHECKING:
    from collections.abc import Sequence

GALLERY = Path(__file__).parent / "gallery"
STORE = Path("convergence.sqlite")

# Chosen by small trials: all depths reach this loss in about half of the epochs, and fifty samples
# have a κ of 60 to 300, so that the tail of the square loss comes well within the steps.
SETTINGS: dict[str, Any] = {
    "width": 512,
    "seeds": 3,
    "batch_size": 500,
    "epochs": 40,
    "loss_target": 0.3,
    "search_epochs": 8,
    "rate_samples": 50,
    "rate_steps": 1500,
}


def main(
    depths: Sequence[int] = (1, 2, 3, 4, 6, 8, 10),
    *,
    samples: int = 10_000,
    out: Path = GALLERY,
    store: Path = STORE,
    **changes: Any,
) -> fastntk.ConvergenceStudy:
    training, test = (fastntk.datasets.load("fashion-mnist", part) for part in ("train", "test"))
    rows = np.sort(np.random.default_rng(0).permutation(len(training.X))[:samples])
    study = fastntk.convergence_study(
        training.X[rows],
        np.asarray(training.y)[rows],
        depths,
        test=(test.X, np.asarray(test.y)),
        store=store,
        **{**SETTINGS, **changes},
    )
    study.save(out / "convergence.csv")
    figures.save(study.plot(), out / "convergence.png")
    print(study.summary().T.to_string())
    print(figures.table1(study).to_string(index=False, float_format="%.4g"))
    print(f"{study.seconds:.0f} s")
    return study


def tiny() -> fastntk.ConvergenceStudy:
    with tempfile.TemporaryDirectory() as folder:
        return main(
            (1, 3),
            samples=500,
            out=Path(folder),
            store=Path(folder) / "cells.sqlite",
            width=64,
            seeds=2,
            batch_size=100,
            epochs=5,
            loss_target=1.0,
            search_epochs=3,
            rate_samples=15,
            rate_steps=200,
        )


if __name__ == "__main__":
    tiny() if sys.argv[1:] == ["--tiny"] else main()
