# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which numbers are labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

# Beyond that, floats are integers only because they have no other digits.
LARGEST_INTEGER = 2**53


def as_labels(values: npt.NDArray[Any], n: int) -> npt.NDArray[np.int64] | None:
    """Return n labels as integers; None if the values are not n integers from 0."""
    if values.shape != (n,) or values.dtype.kind not in "biuf":
        return None
    # NaN compares as false.
    if not ((values >= 0) & (values <= LARGEST_INTEGER)).all() or (values != np.rint(values)).any():
        return None
    return values.astype(np.int64)


def required_labels(values: npt.NDArray[Any], n: int, label: str) -> npt.NDArray[np.int64]:
    """Return n labels; ValueError if the values of the array that `label` names are none."""
    found = as_labels(values, n)
    if found is None:
        raise ValueError(
            f"label={label!r}: expected integers from 0, one for each of {n} samples; found an "
            f"array of shape {values.shape} and {values.dtype}; leave it out with label=False"
        )
    return found


def array_of_labels(label: str | int | bool | None, names: list[str]) -> str | None:
    """Return the name of the array of labels among those of a file, None if there is none.

    Raises
    ------
    ValueError
        If `label` is not one of the names.
    """
    if label is False:
        return None
    if label is None:
        return "y" if "y" in names else None
    if not isinstance(label, str) or label not in names:
        raise ValueError(f"label={label!r}: expected one of the arrays {sorted(names)}")
    return label


def array_of_samples(labels: str | None, names: list[str]) -> str:
    """Return the name of the array of samples: X, or the only one that is not that of labels."""
    others = [name for name in names if name != labels]
    if "X" in others:
        return "X"
    if len(others) != 1:
        raise ValueError(f"expected an array named X, found {sorted(names)}")
    return others[0]
