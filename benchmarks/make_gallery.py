# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes the figures of the README: ``python -m benchmarks.make_gallery``, about a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import fastntk
from fastntk import figures

GALLERY = Path(__file__).parent / "gallery"


def main() -> None:
    study = fastntk.depth_study(fastntk.datasets.load("digits").X)
    figures.save(study.plot(), GALLERY / "digits.png")
    curves = fastntk.angle_curves(
        np.linspace(0.02, np.pi, 40),
        depths=[1, 3, 6],
        activations=["relu", "relu2", "gelu", "tanh"],
        width=1024,
        progress=True,
    )
    figures.save(curves.plot(), GALLERY / "activations.png")


if __name__ == "__main__":
    main()
