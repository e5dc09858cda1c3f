# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The samples of a study: which of them make the kernel singular at every depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray

# Two directions that agree to so many decimals count as parallel.
_PARALLEL_DIGITS = 12

# Norms that differ by less, relatively, count as equal: normalized float32 samples do.
_EQUAL_NORMS = 1e-6


@dataclass(frozen=True)
class Findings:
    """What is remarkable about some samples.

    Attributes
    ----------
    zero : tuple of int
        Rows of zeros.
    parallel : tuple of (int, int)
        Rows that are positive multiples of an earlier one: (that one, row).
    equal_norms : bool
        Whether all rows have the same norm, up to rounding.
    """

    zero: tuple[int, ...]
    parallel: tuple[tuple[int, int], ...]
    equal_norms: bool

    @property
    def warnings(self) -> list[str]:
        """What a user should know: the samples that make the kernel singular at every depth."""
        result = []
        if self.zero:
            result.append(
                f"X has {len(self.zero)} zero rows ({_listed(self.zero)}): their gradients are "
                "zero, so that κ is infinite; they are left out of the smallest angle"
            )
        if self.parallel:
            result.append(
                f"X has {len(self.parallel)} rows that repeat another, or a multiple of it (rows "
                f"{_listed(self.parallel)}): the smallest angle is 0 and κ infinite"
            )
        return result


def examine(X: FloatArray) -> Findings:
    """Look for zero rows, parallel rows and differing norms."""
    sizes = np.abs(X).max(axis=1)
    zero = np.flatnonzero(sizes == 0)
    present = np.flatnonzero(sizes > 0)
    # Rows that are positive multiples of each other, up to rounding, have parallel gradients.
    scaled = X[present] / sizes[present, np.newaxis]
    _, first, inverse = np.unique(
        scaled.round(_PARALLEL_DIGITS), axis=0, return_index=True, return_inverse=True
    )
    twins = np.flatnonzero(first[inverse] != np.arange(len(present)))
    pairs = np.column_stack([present[first[inverse[twins]]], present[twins]])
    norms = np.linalg.norm(scaled, axis=1) * sizes[present]
    spread = float(np.ptp(norms)) if len(norms) else 0.0
    return Findings(
        zero=tuple(zero.tolist()),
        parallel=tuple((i, j) for i, j in pairs.tolist()),
        equal_norms=not zero.size and spread <= _EQUAL_NORMS * float(norms.max()),
    )


def numbers_of_labels(labels: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """Return labels as numbers from 1/4 to 3/4, which every output activation can reach.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.studies.samples import numbers_of_labels
    >>> numbers_of_labels(np.array([3, 5, 4])).tolist()
    [0.25, 0.75, 0.5]
    """
    from_zero = labels.astype(np.float64) - float(labels.min())
    result: npt.NDArray[np.float64] = 0.25 + from_zero / (2 * max(1.0, from_zero.max()))
    return result


def _listed(items: Iterable[object], most: int = 5) -> str:
    listed = [str(item) for item in items]
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")
