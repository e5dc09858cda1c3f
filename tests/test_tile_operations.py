# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is done with single tiles of a symmetric matrix, against NumPy, with the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from tolerances import assert_close

from fastntk import _core
from fastntk.symmetric import tiles
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPES = [(1, 1), (3, 70), (65, 64), (129, 300), (1100, 130)]


def random(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def for_any_threads(compute: Callable[[], Any]) -> Any:
    """Return what is computed, which has the same bits for any number of threads."""
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            found.append(compute())
    assert all(np.array_equal(found[0], each) for each in found)
    return found[0]


@pytest.mark.parametrize(("rows", "terms"), SHAPES)
@pytest.mark.parametrize("columns", [1, 40, 130])
def test_downdate(rows: int, terms: int, columns: int) -> None:
    tile, left, right = random(rows, columns), random(rows, terms), random(columns, terms)

    def downdated() -> Any:
        target = tile.copy()
        tiles.downdate(target, left, right)
        return target

    assert_close(for_any_threads(downdated), tile - left @ right.T, "float64")


@pytest.mark.parametrize("rows", [1, 3, 130, 1100])
def test_downdate_of_a_tile_with_itself(rows: int) -> None:
    """In the lower triangle: what lies above is not touched."""
    tile, left = random(rows, rows), random(rows, 70)

    def downdated() -> Any:
        target = tile.copy()
        tiles.downdate(target, left, left)
        return target

    found = for_any_threads(downdated)
    assert_close(np.tril(found), np.tril(tile - left @ left.T), "float64")
    assert np.array_equal(np.triu(found, 1), np.triu(tile, 1))
    other = tile.copy()
    tiles.downdate(other, left, left.copy())  # equal, but not the same: all of it
    assert_close(other, tile - left @ left.T, "float64")


@pytest.mark.parametrize("rows", [1, 64, 65, 300])
def test_root_and_solutions_below(rows: int) -> None:
    square = random(rows, rows)
    matrix = square @ square.T + rows * np.eye(rows)
    lower = np.tril(matrix) + np.triu(np.full_like(matrix, np.nan), 1)
    tiles.root(lower)
    assert_close(np.tril(lower), np.linalg.cholesky(matrix), "float64")
    assert np.isnan(lower[np.triu_indices(rows, 1)]).all()
    below = random(1100, rows)

    def solved() -> Any:
        target = below.copy()
        tiles.solve_below(target, lower)
        return target

    assert_close(for_any_threads(solved) @ np.tril(lower).T, below, "float64")


def test_the_row_without_a_root_is_named() -> None:
    matrix = np.diag(np.r_[np.ones(70), -1.0, 1.0])
    with pytest.raises(NotPositiveDefinite, match="the pivot of row 70 is not positive"):
        tiles.root(matrix)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 3, 16, 17])
@pytest.mark.parametrize("transposed", [False, True])
def test_products(shape: tuple[int, int], count: int, transposed: bool) -> None:
    tile = random(*shape)
    vectors = random(shape[0 if transposed else 1], count)
    found = for_any_threads(lambda: tiles.product(tile, vectors, transposed=transposed))
    assert_close(found, (tile.T if transposed else tile) @ vectors, "float64")
    if count <= _core.few_vectors:  # a vector does not see the others
        alone = tiles.product(tile, vectors[:, -1:].copy(), transposed=transposed)
        assert np.array_equal(alone, found[:, -1:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: _core.downdate_tile(np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 2)), 1, None),
            "b",
        ),
        (lambda: _core.solve_tile_below(np.ones((3, 2)), np.ones((4, 2)), 1, None), "triangle"),
        (
            lambda: _core.few_products(
                np.ones((3, 2)), True, np.ones((2, 1)), np.ones((2, 1)), 1, None
            ),
            "vectors",
        ),
        (
            lambda: _core.few_products(
                np.ones((3, 2)), False, np.ones((2, 17)), np.ones((3, 17)), 1, None
            ),
            "vectors",
        ),
        (
            lambda: _core.few_products(
                np.ones((3, 2)), False, np.ones((2, 1)), np.ones((2, 1)), 1, None
            ),
            "out",
        ),
    ],
)
def test_shapes_that_do_not_fit(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}: expected"):
        call()
