# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which cells a study has, which of them are in its store already, and the work on the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

from fastntk._support.progress import monitored
from fastntk.studies._cells import measure, settings_of
from fastntk.studies._samples import digest
from fastntk.studies._store import key_of
from fastntk.studies.results import IDENTITY, DepthResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.studies._families import Family
    from fastntk.studies._store import StudyStore, Values

    Cell: TypeAlias = tuple[Family, int]  # and a depth


@dataclass(frozen=True)
class Plan:
    """A study, its arguments checked.

    Attributes
    ----------
    X : ndarray (n, d)
    families : tuple of Family
    depths : tuple of int
        Each family has a cell for each of them.
    batches : int or None
        Samples in a minibatch.
    bounds : bool
        Whether κ is enclosed.
    store : StudyStore or None
    """

    X: FloatArray
    families: tuple[Family, ...]
    depths: tuple[int, ...]
    batches: int | None
    bounds: bool
    store: StudyStore | None

    def run(self, progress: Progress) -> tuple[list[DepthResult], int]:
        """Return the results of all cells, and how many of them needed no work."""
        settings = self._settings()
        total = len(self.families) * len(self.depths)
        if self.store is not None and len(self._known(settings)) < total:
            self.store.require_writable()
        results: list[DepthResult] = []
        stored = 0
        with monitored(progress, "depth study") as monitor:

            def report(family: Family) -> None:
                if monitor is not None:
                    seed = "infinite width" if family.seed < 0 else f"seed {family.seed}"
                    monitor(f"{family.label}, {seed}", len(results), total)

            for family in self.families:
                # Looked up again and again: another process may be filling the same store.
                known = self._known({c: s for c, s in settings.items() if c[0] == family})
                if known:
                    results += known.values()
                    stored += len(known)
                    report(family)
                missing = [depth for depth in self.depths if (family, depth) not in known]
                for result in self._computed(family, missing):
                    if self.store is not None:
                        self.store.add(settings[family, result.depth], _numbers(result))
                    results.append(result)
                    report(family)
        return results, stored

    def _computed(self, family: Family, depths: Sequence[int]) -> Iterator[DepthResult]:
        for group in family.passes(self.X, depths):
            yield from measure(self.X, family, group, self.batches, self.bounds)

    def _settings(self) -> dict[Cell, Values]:
        if self.store is None:
            return {}
        samples = digest(self.X)
        return {
            (family, depth): settings_of(
                family, depth, samples=samples, batches=self.batches, bounds=self.bounds
            )
            for family in self.families
            for depth in self.depths
        }

    def _known(self, settings: dict[Cell, Values]) -> dict[Cell, DepthResult]:
        if self.store is None:
            return {}
        keys = {cell: key_of(each) for cell, each in settings.items()}
        found = self.store.find(keys.values())
        return {
            (family, depth): DepthResult(
                activation=family.label,
                width=family.width,
                depth=depth,
                seed=family.seed,
                **found[key],
            )
            for (family, depth), key in keys.items()
            if key in found
        }


def _numbers(result: DepthResult) -> Values:
    """Return what was measured, for the store."""
    return {name: value for name, value in asdict(result).items() if name not in IDENTITY}
