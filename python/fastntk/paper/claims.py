# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Statements of the paper, and how they are judged: by the numbers alone, with a third answer.

A statement *holds* if it does in every case that was looked at, *fails* if one case speaks against
it by more than its error, and is *undecided* where errors, or a λ_min that rounding hides, leave
cases open. The evidence says how many there are of each.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import pandas as pd

    from fastntk.eigenvalues import Conditioning

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"

# A mean difference counts if its interval of this confidence, by Student's t, leaves out 0. Of few
# seeds the standard error is itself uncertain: two of them would be exceeded by chance with 3 seeds
# in 18 % of all cases. Where a statement has many cases, all of them have to speak for it, which
# chance makes no more probable; but a single one is enough against it, so that this one has to be
# as improbable as one error in the whole statement (Bonferroni).
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Statement:
    """What the paper says.

    Attributes
    ----------
    source : str
        The theorem, figure or table.
    text : str
    judged : str
        What is compared with what.
    """

    source: str
    text: str
    judged: str


@dataclass(frozen=True)
class Claim:
    """A statement with its verdict.

    Attributes
    ----------
    statement : Statement
    verdict : {"holds", "fails", "undecided"}
    evidence : str
        The numbers.
    data : str
        The samples; "formula" for what is known at infinite width for all of them.
    """

    statement: Statement
    verdict: str
    evidence: str
    data: str = "formula"

    def __str__(self) -> str:
        where = "" if self.data == "formula" else f" ({self.data})"
        return (
            f"[{self.verdict}] {self.statement.source}{where}: {self.statement.text}"
            f"\n    {self.evidence}"
        )


@dataclass(frozen=True)
class Count:
    """How many cases speak for a statement, against it, and leave it open.

    Examples
    --------
    >>> from fastntk.paper.claims import Count
    >>> Count(3, 0, 1, "step").text, Count(3, 0, 1).verdict
    ('holds in 3 of 4 steps, 1 open', 'undecided')
    """

    held: int
    against: int = 0
    open: int = 0
    what: str = "case"

    @property
    def total(self) -> int:
        """All cases."""
        return self.held + self.against + self.open

    @property
    def verdict(self) -> str:
        """What follows from them."""
        if self.against:
            return FAILS
        return HOLDS if self.held and not self.open else UNDECIDED

    @property
    def text(self) -> str:
        """The counts, in words."""
        parts = [f"holds in {self.held} of {self.total} {self.what}{'s' * (self.total != 1)}"]
        if self.against:
            parts.append(f"{self.against} against it")
        if self.open:
            parts.append(f"{self.open} open")
        return ", ".join(parts)

    def claim(self, statement: Statement, numbers: str = "", data: str = "formula") -> Claim:
        """Return the statement with this verdict; `numbers` follow the counts."""
        return Claim(statement, self.verdict, "; ".join(filter(None, [self.text, numbers])), data)


def count(held: Iterable[bool | None], what: str = "case") -> Count:
    """Return how many cases hold (True), do not (False), and are open (None)."""
    answers = list(held)
    return Count(
        sum(answer is not None and bool(answer) for answer in answers),
        sum(answer is not None and not answer for answer in answers),
        sum(answer is None for answer in answers),
        what,
    )


def together(counts: Iterable[Count], what: str = "step") -> Count:
    """Return the sum of several counts."""
    each = list(counts)
    return Count(
        sum(one.held for one in each),
        sum(one.against for one in each),
        sum(one.open for one in each),
        what,
    )


def compared(
    larger: npt.ArrayLike, smaller: npt.ArrayLike, *, exact: bool = False, among: int = 1
) -> bool | None:
    """Return whether numbers are larger than others in the mean, pair by pair; None if it is open.

    Zero has to lie outside the 95 % interval of the mean difference (Student's t), which a single
    pair does not have: its sign decides only if the numbers are `exact`, of no random network. What
    is not known (NaN) leaves it open. Where this is one `among` several cases of a statement, the
    answer no takes an interval of 1 − 0.05/among.

    Examples
    --------
    >>> from fastntk.paper.claims import compared
    >>> compared([2.0, 3.0], [1.0, 2.1]), compared([2.0, 0.5], [1.0, 1.0])
    (True, None)
    >>> compared(1, 2), compared(1, 2, exact=True)
    (None, False)
    """
    difference = np.atleast_1d(np.asarray(larger, np.float64) - np.asarray(smaller, np.float64))
    if np.isnan(difference).any() or (difference.size == 1 and not exact):
        return None
    mean = float(difference.mean())
    error = 0.0
    if difference.size > 1:
        error = float(difference.std(ddof=1)) / math.sqrt(difference.size)
        chance = (1 - _CONFIDENCE) / (1 if mean > 0 else among)
        error *= float(stdtrit(difference.size - 1, 1 - chance / 2))
    if abs(mean) <= error or mean == 0:
        return None
    return mean > 0


def steps(
    frame: pd.DataFrame, value: str, *, rising: bool, exact: bool = False, groups: int = 1
) -> Count:
    """Return in how many steps of depth a value rises or falls, seed by seed.

    Parameters
    ----------
    frame : DataFrame
        A row for each depth and seed.
    value : str
        The column.
    rising : bool
        Whether it should rise, or fall.
    exact : bool
        Whether the values are of no random network.
    groups : int
        How many such tables are judged as one statement.
    """
    table = frame.pivot_table(
        index="depth", columns="seed", values=value, dropna=False
    ).sort_index()
    values = table.to_numpy()
    pairs = list(itertools.pairwise(values))
    among = groups * len(pairs)
    return count(
        (
            compared(*((after, before) if rising else (before, after)), exact=exact, among=among)
            for before, after in pairs
        ),
        "step",
    )


def falling(frame: pd.DataFrame, value: str, least: str, *, exact: bool = False) -> Count:
    """Return in how many steps of depth a value falls that is not known everywhere.

    Parameters
    ----------
    frame : DataFrame
        A row for each depth and seed.
    value : str
        The column: NaN where it is not resolved.
    least : str
        The column of what it is certainly not below, which is the value where that is known.
    exact : bool
        Whether the values are of no random network.
    """
    known, above = (
        frame.pivot_table(index="depth", columns="seed", values=name, dropna=False).sort_index()
        for name in (value, least)
    )
    among = len(known) - 1
    return count(
        (
            above_some(above.iloc[k], known.iloc[k], known.iloc[k + 1], exact=exact, among=among)
            for k in range(among)
        ),
        "step",
    )


def least_condition_number(found: Conditioning) -> float:
    """Return κ, or what it is certainly not below where λ_min is not resolved."""
    if found.resolved:
        return found.condition_number
    return found.eigenvalue_max / found.noise_floor


def above_some(
    least: npt.ArrayLike,
    value: npt.ArrayLike,
    others: npt.ArrayLike,
    *,
    exact: bool = False,
    among: int = 1,
) -> bool | None:
    """Return whether values, some of them only known to be at least so large, are above others.

    As `compared` has it. They are condition numbers, which differ from seed to seed by factors:
    logarithms are compared.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.paper.claims import above_some
    >>> unknown = [np.nan, np.nan]
    >>> above_some([1e9, 2e9], unknown, [1e5, 1e5]), above_some([1e3, 1e3], unknown, [1e5, 1e5])
    (True, None)
    >>> above_some([1e3, 1e3], [1e3, 1e3], [1e5, 1e5])
    False
    """
    answer = compared(np.log(least), np.log(others), exact=exact, among=among)
    return None if answer is False and np.isnan(np.asarray(value, np.float64)).any() else answer


def from_to(frame: pd.DataFrame, value: str, by: str = "depth") -> str:
    """Return the means at the first and the last depth where they are known.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastntk.paper.claims import from_to
    >>> from_to(pd.DataFrame({"depth": [0, 1, 2], "seed": 0, "angle": [1.0, 2.0, 3.0]}), "angle")
    '1 at depth 0 → 3 at depth 2'
    """
    means = frame.groupby(by)[value].mean().dropna().sort_index()
    if means.empty:
        return "not resolved at any depth"
    first, last = means.index[0], means.index[-1]
    ends = [frame[frame[by] == at].set_index("seed")[value] for at in (first, last)]
    several = len(ends[0]) > 1
    open_ = " (no clear difference)" if several and compared(*ends) is None else ""
    return f"{means.iloc[0]:.4g} at {by} {first:g} → {means.iloc[-1]:.4g} at {by} {last:g}{open_}"
