# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Repeated samples and the nearest pairs of a data set, against all angles taken one by one."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastntk import datasets
from fastntk.datasets import Dataset, duplicates, near_duplicates

RNG = np.random.default_rng(0)


def angle(x: Any, z: Any) -> float:
    """Return the angle by Kahan's formula, which has all digits of small ones."""
    u, v = x / np.linalg.norm(x), z / np.linalg.norm(z)
    return 2 * math.atan2(float(np.linalg.norm(u - v)), float(np.linalg.norm(u + v)))


def made() -> tuple[Dataset, np.ndarray[Any, Any]]:
    """Return 40 samples, of which some are equal, parallel, nearly parallel or zero."""
    X = RNG.standard_normal((40, 6))
    X[11] = X[3]
    X[29] = X[3]
    X[30] = X[8]
    X[17] = X[21] = 0.0
    X[21, 2] = -0.0
    X[25] = 4.0 * X[6]
    X[33] = X[14] + 1e-9 * RNG.standard_normal(6)
    labels = np.arange(40) % 3
    labels[[3, 11, 29]] = (0, 0, 2)
    labels[[8, 30]] = 1
    return Dataset("made", X, labels, label_names=("cat", "dog", "cow")), X


def test_repeated_samples_and_nearest_pairs() -> None:
    dataset, X = made()
    found = near_duplicates(dataset, k=6)
    assert found.repeated == ((3, 11, 29), (8, 30), (17, 21))
    assert found.zero == (17, 21)
    assert found.conflicting() == ((3, 11, 29), (17, 21))
    different = [i for i in range(40) if i not in {11, 29, 30, 17, 21}]
    expected = sorted((angle(X[i], X[j]), i, j) for i, j in itertools.combinations(different, 2))
    assert [(pair.i, pair.j) for pair in found.pairs] == [(i, j) for _, i, j in expected[:6]]
    np.testing.assert_allclose(
        [pair.angle for pair in found.pairs], [each for each, _, _ in expected[:6]], rtol=1e-7
    )
    assert (found.pairs[0].i, found.pairs[0].j, found.pairs[0].angle) == (6, 25, 0.0)
    assert (found.pairs[1].i, found.pairs[1].j) == (14, 33)


def test_tables_and_texts() -> None:
    dataset, X = made()
    found = near_duplicates(dataset, k=2)
    frame = found.to_frame()
    assert frame[["i", "j"]].to_numpy().tolist() == [
        [3, 11], [3, 29], [8, 30], [17, 21], [6, 25], [14, 33],
    ]  # fmt: skip
    assert frame["repeated"].tolist() == [True] * 4 + [False] * 2
    assert frame["label_j"].tolist()[:3] == ["cat", "cow", "dog"]
    assert frame["same_label"].tolist() == [True, False, True, False, False, False]
    assert frame["degrees"].iloc[5] == math.degrees(found.pairs[1].angle)
    assert repr(found) == (
        "<NearDuplicates of 'made': 7 of 40 samples repeated in 3 groups, 2 with conflicting "
        "labels; 2 nearest pairs>"
    )
    lines = str(found).splitlines()
    assert lines[0].startswith("made: of 40 samples, 7 are repeated, in 3 groups (2 with conflict")
    assert lines[1] == "0° between samples 6 and 25 (cat and dog)"
    without = near_duplicates(Dataset("bare", X), k=2)
    assert without.conflicting() == ()
    assert without.pairs == found.pairs
    assert without.to_frame()["label_i"].tolist() == [""] * 6
    assert without.to_frame()["same_label"].isna().all()
    assert str(without).splitlines()[1] == "0° between samples 6 and 25"


@pytest.mark.parametrize("most", [2**14, 40])
def test_pairs_with_different_labels(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, _ = made()
    monkeypatch.setattr(duplicates, "_CANDIDATES", most)
    labels = np.zeros(40, dtype=np.int64)
    labels[[5, 22]] = 1  # few, so that many pairs have to be taken
    found = near_duplicates(replace(dataset, y=labels), k=12, different_labels=True)
    nearest = near_duplicates(dataset, k=10_000).pairs
    assert len(nearest) == 35 * 34 / 2
    expected = [pair for pair in nearest[:most] if labels[pair.i] != labels[pair.j]]
    assert list(found.pairs) == expected[:12]
    assert len(found.pairs) == 12 if most == 2**14 else 0 < len(found.pairs) < 12
    every = near_duplicates(replace(dataset, y=labels), k=10_000, different_labels=True)
    assert len(every.pairs) == 2 * 33
    with pytest.raises(ValueError, match=r"different_labels=True: the data set has no labels"):
        near_duplicates(replace(dataset, y=None), different_labels=True)


def test_labels_without_names_are_numbers() -> None:
    found = near_duplicates(Dataset("few", np.eye(3)[[0, 1, 0]], np.array([7, 1, 7])))
    assert found.to_frame()["label_i"].tolist() == ["7", "7"]
    assert len(found.pairs) == 1
    # −1 is not the last of the names, and what two labels are called does not make them one.
    named = Dataset("few", np.eye(3)[[0, 1, 0]], np.array([-1, 1, 0]), label_names=("cat", "cat"))
    frame = near_duplicates(named).to_frame()
    assert frame["label_i"].tolist() == ["-1", "-1"]
    assert frame["label_j"].tolist() == ["cat", "cat"]
    assert frame["same_label"].tolist() == [False, False]
    named = replace(named, y=np.array([1, 1, 0]))
    assert near_duplicates(named).conflicting() == ((0, 2),)
    assert near_duplicates(named).to_frame()["same_label"].tolist() == [False, True]


@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 1020), (np.float32, 124)])
def test_samples_may_be_of_very_different_sizes(dtype: Any, most: int) -> None:
    rng = np.random.default_rng(3)
    X = rng.uniform(0.5, 1.0, (12, 4)).astype(dtype)
    X[5] = X[2]
    expected = near_duplicates(Dataset("one size", np.delete(X, 5, axis=0)), k=100).pairs
    for exponents in (np.arange(12) * most // 6 - most, [0] * 5 + [most] + [-most] * 6):
        scaled = np.ldexp(X, np.array(exponents)[:, np.newaxis])
        found = near_duplicates(Dataset("scaled", scaled), k=100).pairs
        assert (found[0].i, found[0].j, found[0].angle) == (2, 5, 0.0)
        without = [pair for pair in found if 5 not in (pair.i, pair.j)]
        kept = [(pair.i - (pair.i > 5), pair.j - (pair.j > 5)) for pair in without]
        assert kept == [(pair.i, pair.j) for pair in expected]
        np.testing.assert_allclose(
            [pair.angle for pair in without], [pair.angle for pair in expected], rtol=1e-5
        )


@pytest.mark.parametrize(
    "X", [np.ones((1, 3)), np.ones((5, 3)), np.zeros((4, 3)), np.eye(3)[:, :1]]
)
def test_where_there_is_no_pair(X: Any) -> None:
    found = near_duplicates(Dataset("one", X), k=3)
    assert found.pairs == ()
    assert sum(map(len, found.repeated)) in {0, len(X), 2}


def test_what_is_no_data_set() -> None:
    with pytest.raises(
        TypeError, match=r"(?s)dataset=.*: expected a Dataset, as fastntk\.datasets\.load"
    ):
        near_duplicates(np.eye(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"k=0: expected an integer of at least 1"):
        near_duplicates(Dataset("eye", np.eye(3)), k=0)
    with pytest.raises(
        ValueError, match=r"dataset\.y has shape \(2,\): expected one label for each"
    ):
        near_duplicates(Dataset("eye", np.eye(3), np.array([0, 1])))
    for labels in ([0.5, 0.7, 1.0], ["a", "b", "c"], [np.nan] * 3, [None] * 3):
        with pytest.raises(TypeError, match=r"dataset\.y has dtype .*: expected integers"):
            near_duplicates(Dataset("eye", np.eye(3), np.array(labels)))
    with pytest.raises(ValueError, match=r"dataset\.X\[1, 1\]=.*nan"):
        near_duplicates(Dataset("nan", np.diag([1.0, np.nan, 1.0])))


def test_no_kernel_is_held() -> None:
    """The kernel of 6000 samples has 288 MB, and its half 144."""
    X = RNG.standard_normal((6000, 8))
    tracemalloc.start()
    try:
        near_duplicates(Dataset("many", X), k=5)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.long
def test_pairs_of_digits_by_all_their_angles() -> None:
    dataset = datasets.load("digits")
    X = dataset.X / np.linalg.norm(dataset.X, axis=1, keepdims=True)
    cosines = np.triu(X @ X.T, 1)
    order = np.argsort(-cosines, axis=None)[:10]
    expected = {tuple(map(int, divmod(at, len(X)))) for at in order}
    assert {(pair.i, pair.j) for pair in near_duplicates(dataset, k=10).pairs} == expected
