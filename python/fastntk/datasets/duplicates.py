# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples that are there more than once, and pairs that nearly point the same way."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk.datasets.dataset import Dataset
from fastntk.devices import matrices
from fastntk.mlp import MLP

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.kernels.angles import AnglePair


# Among so many of the nearest pairs those with different labels are looked for.
_CANDIDATES = 2**14

# Samples whose sizes are powers of two that differ by no more have products, and squares of these,
# in the range of float64.
_SPREAD = 256


@dataclass(frozen=True, eq=False, repr=False)
class NearDuplicates:
    """What `near_duplicates` found.

    Attributes
    ----------
    name : str
        Of the data set.
    n : int
        How many samples it has.
    repeated : tuple of tuple of int
        The samples that are equal to each other, in groups of two and more, ascending.
    zero : tuple of int
        The samples that are 0, which have no direction.
    pairs : tuple of AnglePair
        The pairs of the smallest angles between different samples, in order; of equal samples the
        first stands for all. A pair with the angle 0 is of multiples of each other.
    labels : ndarray (n,) or None
    label_names : tuple of str
    """

    name: str
    n: int
    repeated: tuple[tuple[int, ...], ...]
    zero: tuple[int, ...]
    pairs: tuple[AnglePair, ...]
    labels: npt.NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()

    def _label(self, i: int) -> str:
        """Return the label of sample i as it is written, empty where there are none."""
        if self.labels is None:
            return ""
        label = int(self.labels[i])
        return self.label_names[label] if 0 <= label < len(self.label_names) else str(label)

    def conflicting(self) -> tuple[tuple[int, ...], ...]:
        """Return those of the groups of equal samples that have different labels."""
        labels = self.labels
        if labels is None:
            return ()
        return tuple(group for group in self.repeated if len(set(labels[list(group)])) > 1)

    def to_frame(self) -> pd.DataFrame:
        """Return a table: repeated samples, each with the first of its kind, then the pairs.

        Columns: i, j, degrees, resolved, repeated, label_i, label_j, same_label (None
        where there are no labels).
        """
        import pandas as pd

        rows = [(group[0], j, 0.0, True, True) for group in self.repeated for j in group[1:]]
        rows += [
            (pair.i, pair.j, math.degrees(pair.angle), pair.resolved, False) for pair in self.pairs
        ]
        frame = pd.DataFrame(rows, columns=["i", "j", "degrees", "resolved", "repeated"])
        frame["label_i"] = [self._label(i) for i in frame["i"]]
        frame["label_j"] = [self._label(j) for j in frame["j"]]
        labels = self.labels
        frame["same_label"] = None if labels is None else labels[frame["i"]] == labels[frame["j"]]
        return frame

    def __repr__(self) -> str:
        return (
            f"<NearDuplicates of {self.name!r}: {sum(map(len, self.repeated))} of {self.n} samples "
            f"repeated in {len(self.repeated)} groups, {len(self.conflicting())} with conflicting "
            f"labels; {len(self.pairs)} nearest pairs>"
        )

    def __str__(self) -> str:
        first = (
            f"{self.name}: of {self.n} samples, {sum(map(len, self.repeated))} are repeated, in "
            f"{len(self.repeated)} groups ({len(self.conflicting())} with conflicting labels), and "
            f"{len(self.zero)} are zero"
        )
        lines = [first]
        for pair in self.pairs:
            told = f"{math.degrees(pair.angle):.4g}° between samples {pair.i} and {pair.j}"
            if self.labels is not None:
                told += f" ({self._label(pair.i)} and {self._label(pair.j)})"
            lines.append(told)
        return "\n".join(lines)


def near_duplicates(
    dataset: Dataset, k: int = 10, *, different_labels: bool = False, progress: Progress = False
) -> NearDuplicates:
    """Find repeated samples, and the pairs with the smallest angles between different ones.

    They bound the condition number of every kernel: λ_min is at most of the order of the square of
    the smallest angle, and equal samples with conflicting labels cannot be fitted at all.

    Parameters
    ----------
    dataset : Dataset
    k : int
        How many pairs, at least 1; fewer are found where there are fewer.
    different_labels : bool
        Only pairs with different labels, which are the hardest to tell apart. They are looked for
        among the 16 384 nearest of all pairs, or the k nearest if that is more: fewer are found
        where these have no more.
    progress : bool or callable
        As for `MLP.smallest_angle`.

    Returns
    -------
    NearDuplicates

    Notes
    -----
    Equal samples are found by the digests of their rows. The angles are those of a network without
    a hidden layer, whose gradients are the samples; no kernel is held, so that the memory grows
    with n alone. The time grows with n²: in float64, 60 000 samples of 784 features are 2.8
    teraflops.

    Examples
    --------
    >>> import fastntk
    >>> digits = fastntk.datasets.load("digits", preprocessing="raw")
    >>> found = fastntk.datasets.near_duplicates(digits, k=1)
    >>> len(found.repeated), len(found.zero)
    (0, 0)
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"dataset={arguments.shown(dataset)}: expected a Dataset, as fastntk.datasets.load "
            "returns, or fastntk.datasets.Dataset('name', X, y)"
        )
    X = matrices.samples(dataset.X, "dataset.X")
    k = arguments.integer(k, "k", minimum=1, maximum=2**31 - 1)
    labels = None if dataset.y is None else np.asarray(dataset.y)
    if labels is not None and labels.shape != (len(X),):
        raise ValueError(
            f"dataset.y has shape {labels.shape}: expected one label for each of {len(X)} samples"
        )
    if labels is not None and labels.dtype.kind not in "biu":
        raise TypeError(f"dataset.y has dtype {labels.dtype}: expected integers")
    if arguments.flag(different_labels, "different_labels") and labels is None:
        raise ValueError("different_labels=True: the data set has no labels: expected False")
    groups = _groups(X)
    zero = np.flatnonzero(~X.any(axis=1))
    first = np.setdiff1d(np.array([group[0] for group in groups]), zero)
    return NearDuplicates(
        name=dataset.name,
        n=len(X),
        repeated=tuple(tuple(group) for group in groups if len(group) > 1),
        zero=tuple(zero.tolist()),
        pairs=tuple(_nearest(X, first, k, labels if different_labels else None, progress)),
        labels=labels,
        label_names=dataset.label_names,
    )


def _groups(X: FloatArray) -> list[list[int]]:
    """Return the samples in groups of equal ones, by the first of each."""
    found: dict[bytes, list[int]] = {}
    for i, row in enumerate(X):
        # −0 is equal to 0, but its bytes are not.
        found.setdefault(hashlib.sha256((row + 0.0).data).digest(), []).append(i)
    return list(found.values())


def _nearest(
    X: FloatArray,
    first: npt.NDArray[np.intp],
    k: int,
    labels: npt.NDArray[np.int64] | None,
    progress: Progress,
) -> list[AnglePair]:
    """Return the k pairs of the smallest angles among some of the samples.

    Where `labels` are given, those with different ones.
    """
    if len(first) < 2:
        return []
    rows = _of_one_size(X if len(first) == len(X) else X[first])
    net = MLP([X.shape[1], 1], activation="identity")
    # One search for many takes less time than two for few.
    taken = k if labels is None else max(k, _CANDIDATES)
    found = [
        pair._replace(i=int(first[pair.i]), j=int(first[pair.j]))
        for pair in net.smallest_angle(rows, k=taken, progress=progress)
    ]
    if labels is None:
        return found
    return [pair for pair in found if labels[pair.i] != labels[pair.j]][:k]


def _of_one_size(rows: FloatArray) -> FloatArray:
    """Return samples that are not 0 in the same directions, whose products are in range."""
    exponents = np.frexp(np.abs(rows).max(axis=1))[1]
    # That all are large, or small, does no harm to the search.
    if np.ptp(exponents) <= _SPREAD:
        return rows
    # Powers of two are exact, but for elements that are nothing beside the largest of their sample.
    scaled: FloatArray = np.ldexp(rows, -exponents[:, np.newaxis])
    return scaled
