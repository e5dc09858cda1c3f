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
import queue
import sys
from typing import NamedTuple

from seed_bugs import Copy, Modules, Outcome, in_copies


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
        "test_keys.py::test_all_settings_of_a_convergence_study_are_in_its_keys",
    ),
    Planted(
        "studies/convergence_cells.py",
        "samples=self.rate_samples, steps=self.rate_steps\n        )",
        "samples=self.rate_samples\n        )",
        "test_keys.py::test_all_settings_of_a_convergence_study_are_in_its_keys",
    ),
    # An enclosure is an interval that is proved.
    Planted(
        "eigenvalues/enclosures.py",
        "- within**2 - 2 * across**2",
        "- within**2 - 4 * across**2",
        "test_enclosure_formulas.py::test_the_largest_eigenvalue_is_in_the_interval_of_the_formula",
    ),
    Planted(
        "eigenvalues/ends.py",
        "tolerance=_SOLUTION_TOLERANCE",
        "tolerance=1000 * _SOLUTION_TOLERANCE",
        "test_conditioning.py::test_small_eigenvalues_beside_much_smaller_ones",
    ),
    # Units and extremes of what is shown.
    Planted(
        "figures/angle_curves.py",
        "np.degrees(curves.infinite[i, k])",
        "curves.infinite[i, k]",
        "test_figure_contents.py::test_angle_curves",
    ),
    Planted(
        "studies/large_kernel.py",
        "math.degrees(self.closest_pair.angle)",
        "self.closest_pair.angle",
        "test_details.py::test_angles_of_a_report_are_in_degrees",
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
        "test_mlp.py::test_everything_agrees_with_the_reference",
    ),
    Planted(
        "infinite/layer_factors.py",
        "a /= math.sqrt(samples.dimension)",
        "a /= samples.dimension",
        "infinite/test_network.py::test_layers_that_differ",
    ),
    # A checkpoint is gone on with by the same training alone.
    Planted(
        "training/settings.py",
        '"momentum": self.momentum,\n            "seed": self.seed,\n            "loss_target"',
        '"seed": self.seed,\n            "loss_target"',
        "test_keys.py::test_a_checkpoint_continues_one_call_and_no_other",
    ),
)


def outcome(bug: Planted, modules: Modules, copies: queue.Queue[Copy]) -> Outcome:
    """Return whether the tests find a bug."""
    text = "\n".join(modules.sources[bug.path]) + "\n"
    if text.count(bug.old) != 1:
        return Outcome("not there", f"what it changes is there {text.count(bug.old)} times")
    copied = copies.get()
    try:
        source, affected = text.replace(bug.old, bug.new), modules.compiled_with(bug.path)
        return copied.outcome(bug.path, source, affected, [f"tests/{bug.test}"])
    finally:
        copies.put(copied)


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1)
    modules = Modules([""], [])
    with in_copies(parser.parse_args().jobs) as (pool, copies):
        ends = list(pool.map(lambda bug: outcome(bug, modules, copies), BUGS))
    for bug, found in zip(BUGS, ends, strict=True):
        print(f"{found.word:9} {bug.path}: {bug.new!r}: {found.by}")
    return 0 if all(found.word == "found" for found in ends) else 1


if __name__ == "__main__":
    sys.exit(main())
