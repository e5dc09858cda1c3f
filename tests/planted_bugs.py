# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: T201 (a script of the tests)
"""Plants a dozen known bugs in copies of the Python package and checks that the tests find each.

    python tests/planted_bugs.py [--jobs N]

Each was once left in by tests that ran its line. `seed_bugs.py` draws samples of new ones; these
are always the same, whatever else is changed. Ends with status 1 if one is not found, or if the
text that it changes is no longer there.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Planted(NamedTuple):
    path: str
    old: str
    new: str
    test: str


BUGS = (
    # Two that open a store at once both wait for it.
    Planted(
        "studies/store.py",
        '"BEGIN IMMEDIATE"',
        '"BEGIN"',
        "test_study_store.py::test_two_that_find_no_store_both_have_one",
    ),
    # Cells of a store are those of one setting.
    Planted(
        "studies/convergence_cells.py",
        "epochs=self.search_epochs,\n            loss_target=self.loss_target,",
        "epochs=self.search_epochs,",
        "test_keys.py",
    ),
    Planted(
        "studies/convergence_cells.py",
        "samples=self.rate_samples, steps=self.rate_steps\n        )",
        "samples=self.rate_samples\n        )",
        "test_keys.py",
    ),
    # An enclosure is an interval that is proved.
    Planted(
        "eigenvalues/enclosures.py",
        "- within**2 - 2 * across**2",
        "- within**2 - 4 * across**2",
        "test_enclosure_formulas.py",
    ),
    Planted(
        "eigenvalues/ends.py",
        "tolerance=_SOLUTION_TOLERANCE",
        "tolerance=1000 * _SOLUTION_TOLERANCE",
        "test_conditioning.py",
    ),
    # Units and extremes of what is shown.
    Planted(
        "figures/angle_curves.py",
        "np.degrees(curves.infinite[i, k])",
        "curves.infinite[i, k]",
        "test_figure_contents.py",
    ),
    Planted(
        "studies/large_kernel.py",
        "math.degrees(self.closest_pair.angle)",
        "self.closest_pair.angle",
        "test_details.py",
    ),
    Planted(
        "studies/depth_results.py",
        'cell["rank"].min()',
        'cell["rank"].max()',
        "test_depth_study.py::test_summary_of_seeds_that_differ",
    ),
    # Scales of layers.
    Planted(
        "networks/initialization.py",
        "return weight_std / math.sqrt(n_in), bias_std",
        "return weight_std / n_in, bias_std",
        "test_mlp.py",
    ),
    Planted(
        "infinite/layer_factors.py",
        "a /= math.sqrt(samples.dimension)",
        "a /= samples.dimension",
        "infinite/test_network.py",
    ),
    # A checkpoint is gone on with by the same training alone.
    Planted(
        "training/settings.py",
        '"momentum": self.momentum,\n            "seed": self.seed,\n            "loss_target"',
        '"seed": self.seed,\n            "loss_target"',
        "test_keys.py::test_a_checkpoint_continues_one_call_and_no_other",
    ),
)


def end(bug: Planted, package: Path, folder: Path) -> str:
    """Return what is wrong, or "" if the tests find the bug."""
    copy = folder / "fastntk"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    changed = copy / bug.path
    text = changed.read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        return f"what it changes is there {text.count(bug.old)} times: {bug.old!r}"
    changed.write_text(text.replace(bug.old, bug.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=line"]
    done = subprocess.run(
        [*command, f"tests/{bug.test}", f"--basetemp={folder / 'scratch'}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    # 1 is that of tests that fail; others are of pytest itself.
    return "" if done.returncode == 1 else f"status {done.returncode}\n{done.stdout[-2000:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1)
    chosen = parser.parse_args()
    spec = importlib.util.find_spec("fastntk")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool,
    ):
        folders = [Path(folder) / str(k) for k in range(len(BUGS))]
        ends = list(pool.map(end, BUGS, [package] * len(BUGS), folders))
    for bug, complaint in zip(BUGS, ends, strict=True):
        print(f"{'SURVIVES' if complaint else 'found   '} {bug.path}: {bug.new} {complaint}")
    return 1 if any(ends) else 0


if __name__ == "__main__":
    sys.exit(main())
