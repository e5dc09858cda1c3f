# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""κ of minibatches, and how it stands to κ of all samples."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fastntk

Matrix = npt.NDArray[np.float64]


def kernel(n: int, d: int, seed: int = 0) -> Matrix:
    F = np.random.default_rng(seed).standard_normal((n, d))
    return F @ F.T


@given(
    n=st.integers(2, 60),
    extra=st.integers(0, 30),
    batch_size=st.integers(2, 70),
    seed=st.integers(0, 2**32),
)
def test_interlacing(n: int, extra: int, batch_size: int, seed: int) -> None:
    """κ of a principal submatrix is at most κ of all, and its eigenvalues lie between the ends."""
    batch_size = min(batch_size, n)
    K = kernel(n, n + extra, seed)
    whole = fastntk.conditioning(K)
    assume(whole.resolved)
    result = fastntk.batch_conditioning(K, batch_size, seed, drop_last=False)
    # What rounding can do to both λ_min.
    largest = whole.condition_number * (1 + 1e-9 + whole.noise_floor / whole.eigenvalue_min)
    for batch in result.batches:
        assert batch.resolved
        assert batch.eigenvalue_max <= whole.eigenvalue_max * (1 + 1e-9)
        assert batch.eigenvalue_min >= whole.eigenvalue_min - whole.noise_floor
        assert batch.condition_number <= largest
    assert result.mean <= largest


@given(
    n=st.integers(2, 60),
    batch_size=st.integers(2, 70),
    seed=st.integers(0, 5),
    drop_last=st.booleans(),
)
def test_batches_are_a_partition(n: int, batch_size: int, seed: int, drop_last: bool) -> None:
    batch_size = min(batch_size, n)
    result = fastntk.batch_conditioning(np.eye(n), batch_size, seed, drop_last=drop_last)
    sizes = [len(rows) for rows in result.samples]
    full, rest = divmod(n, batch_size)
    assert sizes == [batch_size] * full + [rest] * (rest > 0 and not drop_last)
    rows = np.concatenate(result.samples)
    assert len(np.unique(rows)) == len(rows)
    assert set(rows.tolist()) <= set(range(n))
    assert all((np.diff(each) > 0).all() for each in result.samples)
    assert result.resolved == len(result.batches) == len(sizes)
    assert result.mean == pytest.approx(1.0, rel=1e-9, abs=0)


def test_against_eigenvalues_of_the_submatrices() -> None:
    K = kernel(70, 90)
    result = fastntk.batch_conditioning(K, 20, seed=3)
    assert len(result.batches) == 3
    expected = []
    for rows, batch in zip(result.samples, result.batches, strict=True):
        values = np.linalg.eigvalsh(K[rows][:, rows])
        assert batch.eigenvalue_min == pytest.approx(values[0], rel=1e-10, abs=0)
        assert batch.eigenvalue_max == pytest.approx(values[-1], rel=1e-10, abs=0)
        expected.append(values[-1] / values[0])
    assert result.mean == pytest.approx(np.mean(expected), rel=1e-9, abs=0)
    assert result.std == pytest.approx(np.std(expected, ddof=1), rel=1e-9, abs=0)
    frame = result.to_frame()
    assert frame["condition_number"].tolist() == [b.condition_number for b in result.batches]
    assert frame["n"].tolist() == [20, 20, 20]


def test_the_shuffle_is_that_of_the_seed() -> None:
    K = kernel(50, 60)
    one, same, other = (fastntk.batch_conditioning(K, 10, seed) for seed in (1, 1, 2))
    assert one.batches == same.batches
    assert one.batches != other.batches
    assert not np.array_equal(one.samples[0], np.arange(10))


def test_batches_that_are_not_resolved() -> None:
    K = kernel(40, 60)
    K[7] = K[11]
    K[:, 7] = K[:, 11]
    apart = next(
        seed
        for seed in range(50)
        if not any(
            {7, 11} <= set(rows.tolist())
            for rows in fastntk.batch_conditioning(np.eye(40), 20, seed).samples
        )
    )
    # A shuffle that separates the twins hides that K is singular.
    assert not fastntk.conditioning(K).resolved
    hidden = fastntk.batch_conditioning(K, 20, apart)
    assert hidden.resolved == 2
    assert np.isfinite(hidden.mean)
    together = fastntk.batch_conditioning(K, 40)
    assert together.resolved == 0
    assert np.isnan(together.mean)
    assert np.isnan(together.std)
    assert "0 of them resolved" in str(together)


def test_the_error_of_the_features_is_that_of_each_batch() -> None:
    K = np.diag([1.0] * 9 + [1e-9])
    assert fastntk.batch_conditioning(K, 5).resolved == 2
    assert fastntk.batch_conditioning(K, 5, feature_error=1e-4).resolved == 1
    assert fastntk.batch_conditioning(K, 5, kernel_error=1e-8).resolved == 1


def test_the_errors_of_a_network_are_those_of_its_batches() -> None:
    X = np.random.default_rng(0).standard_normal((40, 5))
    X[1] = X[0] * (1 + 1e-9)
    net = fastntk.MLP([5, 32, 32, 1])
    found = fastntk.batch_conditioning(net.ntk(X), 10, **net.ntk_errors(X))
    with_both = [{0, 1} <= set(rows.tolist()) for rows in found.samples]
    assert [not batch.resolved for batch in found.batches] == with_both
    assert found.resolved >= 3


def test_progress() -> None:
    steps: list[tuple[str, int, int]] = []
    fastntk.batch_conditioning(np.eye(9), 3, progress=lambda *step: steps.append(step))
    assert steps == [("κ", 1, 3), ("κ", 2, 3), ("κ", 3, 3)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 1}, ValueError, "batch_size=1: expected an integer of at least 2"),
        (
            {"batch_size": 5},
            ValueError,
            "batch_size=5: expected at most 4, the number of samples of K",
        ),
        ({"batch_size": 2.0}, TypeError, r"batch_size=2\.0: expected an integer"),
        ({"seed": -1}, ValueError, "seed=-1: expected an integer of at least 0"),
        ({"drop_last": 1}, TypeError, "drop_last=1: expected True or False"),
        ({"feature_error": -1.0}, ValueError, r"feature_error=-1\.0: expected"),
        ({"kernel_error": -1.0}, ValueError, r"kernel_error=-1\.0: expected"),
        ({"K": np.ones((2, 3))}, ValueError, r"K has shape \(2, 3\): expected a square matrix"),
        ({"K": [[1.0, 2.0], [0.0, 1.0]]}, ValueError, "K is not symmetric"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"K": np.eye(4), "batch_size": 2}
    with pytest.raises(error, match=message):
        fastntk.batch_conditioning(**given | arguments)


def test_results_compare() -> None:
    K = kernel(12, 20)
    found = fastntk.batch_conditioning(K, 4, seed=1)
    again = copy.deepcopy(found)
    assert found == again
    assert hash(found) == hash(again)
    assert found != fastntk.batch_conditioning(K, 4, seed=2)
    assert found != fastntk.batch_conditioning(K, 6, seed=1)
    # All samples are alike to the kernel, and others are in the batches.
    one, two = (fastntk.batch_conditioning(np.eye(12), 4, seed=seed) for seed in (1, 2))
    assert one.batches == two.batches
    assert one != two
    assert found != found.batches
