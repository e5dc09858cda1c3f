# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The samples of a study: which of them make the kernel singular at every depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.devices import matrices

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray

# Rows that agree to so many decimals of their largest element count as equal, and as parallel if
# they do after a multiplication.
_DIGITS = 12

# Norms that differ by less, relatively, count as equal: normalized float32 samples do.
_EQUAL_NORMS = 1e-6


@dataclass(frozen=True)
class Findings:
    """What is remarkable about some samples.

    Attributes
    ----------
    zero : tuple of int
        Rows of zeros.
    repeated : tuple of (int, int)
        Rows that are an earlier one: (that one, row).
    multiples : tuple of (int, int)
        Rows that are another positive multiple of an earlier one.
    rounded : tuple of (int, int)
        Rows that differ from an earlier one, and do not in the precision of the networks.
    equal_norms : bool
        Whether all rows have the same norm, up to rounding.
    """

    zero: tuple[int, ...]
    repeated: tuple[tuple[int, int], ...]
    multiples: tuple[tuple[int, int], ...]
    rounded: tuple[tuple[int, int], ...]
    equal_norms: bool

    @property
    def in_general_position(self) -> bool:
        """Whether no row is 0, nor a positive multiple of another."""
        return not (self.zero or self.repeated or self.multiples or self.rounded)

    def warnings(self, *, biased: bool) -> list[str]:
        """Return what a user should know: which samples make kernels singular at every depth.

        If all networks are `biased`, they tell a sample from 0, and from its multiples.
        """
        result = []
        if self.zero and not biased:
            result.append(
                f"X has {len(self.zero)} zero rows ({_listed(self.zero)}): where networks have no "
                "biases, and activations that are 0 at 0, their gradients are zero, so that κ is "
                "infinite; they are left out of the smallest angle"
            )
        if self.repeated:
            result.append(
                f"X has {len(self.repeated)} rows that repeat another to {_DIGITS} digits (rows "
                f"{_listed(self.repeated)}): the smallest angle is as good as 0 and κ infinite"
            )
        if self.multiples and not biased:
            result.append(
                f"X has {len(self.multiples)} rows that are a multiple of another to {_DIGITS} "
                f"digits (rows {_listed(self.multiples)}): where networks make no difference "
                "between x and 2 x, as those of ReLU without biases, the smallest angle is as good "
                "as 0 and κ infinite"
            )
        if self.rounded:
            result.append(
                f"X has {len(self.rounded)} rows that repeat another in float32 (rows "
                f"{_listed(self.rounded)}): there the smallest angle is 0 and κ infinite; "
                "dtype='float64' tells them apart"
            )
        return result


def examine(X: FloatArray, dtype: str) -> Findings:
    """Look for zero rows, parallel rows and differing norms, and what networks in `dtype` lose."""
    sizes = np.abs(X).max(axis=1)
    zero = np.flatnonzero(sizes == 0)
    present = np.flatnonzero(sizes > 0)
    # Rows that are positive multiples of each other, up to rounding, have parallel gradients.
    scaled = X[present] / sizes[present, np.newaxis]
    parallel = _twins(scaled.round(_DIGITS), present)
    first, second = sizes[parallel[:, 0]], sizes[parallel[:, 1]]
    equal = np.abs(first - second) <= 10.0**-_DIGITS * first
    # As networks take them, and refuse what is too large or too small for the precision.
    floats = matrices.matrix(X, "X", np.dtype(dtype))
    rounded = _twins(floats[present], present)
    norms = np.linalg.norm(scaled, axis=1) * sizes[present]
    spread = float(np.ptp(norms)) if len(norms) else 0.0
    return Findings(
        zero=tuple(zero.tolist()),
        repeated=_pairs(parallel[equal]),
        multiples=_pairs(parallel[~equal]),
        rounded=_pairs(rounded[~np.isin(rounded[:, 1], parallel[equal, 1])]),
        equal_norms=not zero.size and spread <= _EQUAL_NORMS * float(norms.max()),
    )


def _twins(rows: FloatArray, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers (k, 2) of rows that are equal to an earlier one: (the first one, row)."""
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    found = np.flatnonzero(first[inverse] != np.arange(len(rows)))
    return np.column_stack([numbers[first[inverse[found]]], numbers[found]])


def _pairs(rows: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    return tuple((i, j) for i, j in rows.tolist())


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
