# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The conditioning of a kernel in tiles of Dask, beside that of the same kernel in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk.eigenvalues import dask_source
from fastntk.eigenvalues.dask_factor import DaskFactor
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from collections.abc import Iterator

dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")
da = pytest.importorskip("dask.array", reason="needs fastntk[distributed]")

X = np.random.default_rng(0).standard_normal((90, 12))
NET = fastntk.MLP([12, 64, 64, 1])
K, SINGULAR = NET.ntk(X), NET.linear().ntk(X)


@pytest.fixture(autouse=True)
def in_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dask_source, "_SMALL", 10)
    with dask.config.set(scheduler="synchronous"):
        yield


def tiled(kernel: Any, size: int = 40) -> Any:
    return da.from_array(kernel, chunks=size)


def conditioning(kernel: Any, *, method: str = "cholesky", **options: Any) -> Any:
    """By default as matrices of more than 512 rows are."""
    return fastntk.conditioning(kernel, method=method, **options)


@pytest.mark.parametrize(("size", "scale"), [(40, 1.0), (45, 2.0**-100)])
def test_the_same_numbers_and_proved_bounds(size: int, scale: float) -> None:
    found = conditioning(tiled(scale * K, size))
    exact = np.linalg.eigvalsh(K) * scale
    assert found.method == "cholesky"
    assert found.resolved
    assert found.rank == found.n == 90
    assert np.isclose(found.eigenvalue_min, exact[0], rtol=1e-9, atol=0)
    assert np.isclose(found.eigenvalue_max, exact[-1], rtol=1e-12, atol=0)
    assert found.bounds is not None
    # What eigvalsh itself may be off by.
    margin = 90 * 2.3e-16 * exact[-1]
    around = found.bounds.eigenvalue_min
    assert around.lower - margin <= exact[0] <= around.upper + margin
    assert around.upper / around.lower < 1 + 1e-6


def test_the_bounds_are_those_of_the_matrix() -> None:
    """A matrix of known eigenvalues: those of L Lᵀ would not do where A is another matrix."""
    values = np.r_[1.0, np.linspace(1.5, 2.5, 88), 3.0]
    reflector = np.random.default_rng(1).standard_normal(90)
    reflector /= np.linalg.norm(reflector)
    reflection = np.eye(90) - 2 * np.outer(reflector, reflector)
    made = (reflection * values) @ reflection
    bounds = conditioning(tiled((made + made.T) / 2)).bounds
    assert bounds is not None
    assert 1 - 1e-6 < bounds.eigenvalue_min.lower < 1 + 1e-12
    assert bounds.eigenvalue_min.upper > 1 - 1e-12
    assert 3.0 in bounds.eigenvalue_max


def whole_of(factor: DaskFactor, turned: int = 0) -> Any:
    """The lower tiles that Dask keeps of a factor, as one array.

    Those of triangles of `turned` tiles are transposed.
    """
    ends = np.cumsum(factor.lower.cuts)
    whole = np.zeros((ends[-1], ends[-1]))
    for (i, j), tile in factor.lower.tiles.items():
        part = tile.compute()
        part = part.T if turned and i // turned == j // turned else part
        rows, cols = ends[i] - part.shape[0], ends[j] - part.shape[1]
        whole[rows : ends[i], cols : ends[j]] = np.tril(part) if i == j else part
    return whole


@pytest.mark.parametrize(("size", "sign", "shift"), [(40, 1, 0.5), (13, 1, 0.0), (30, -1, 500.0)])
def test_the_theorem_holds_for_a_factor(size: int, sign: int, shift: float) -> None:
    """In more digits: L Lᵀ is as far from the matrix as the bounds allow, but not much nearer."""
    source = dask_source.source_of_dask(tiled(K, size), overwrite=False)
    factor = source.factor(shift, sign=sign)
    assert isinstance(factor, DaskFactor)
    lower = whole_of(factor)
    exact = np.longdouble(sign) * K.astype(np.longdouble) + shift * np.eye(90, dtype=np.longdouble)
    apart = float(np.linalg.norm((lower.astype(np.longdouble) @ lower.T - exact).astype(float)))
    bound = source.decomposition_error(shift, sign=sign, factor=factor)
    assert 1e-5 * bound < apart < bound


@pytest.mark.parametrize("size", [40, 25, 10, 8])
def test_solutions_by_inverses_of_triangles(size: int) -> None:
    """With one triangle and with several, of which the last may be a smaller one."""
    spectrum = np.geomspace(1.0, 1e6, 90)
    directions = np.linalg.qr(np.random.default_rng(3).standard_normal((90, 90)))[0]
    matrix = (directions * spectrum) @ directions.T
    matrix += matrix.T
    factor = dask_source.source_of_dask(tiled(matrix, size), overwrite=False).factor(0.0)
    assert isinstance(factor, DaskFactor)
    before = whole_of(factor)
    np.testing.assert_allclose(before, np.linalg.cholesky(matrix), rtol=0, atol=1e-9)
    vectors = np.random.default_rng(4).standard_normal((90, 20))
    exact = directions @ ((directions.T @ vectors) / (2 * spectrum)[:, np.newaxis])
    for some in (vectors[:, :1], vectors[:, :2], vectors):  # few are multiplied in another way
        error = abs(factor.solve(some) - exact[:, : some.shape[1]]).max()
        assert error < 1e-9 * abs(exact).max()
    inverses = whole_of(factor, 3)
    for first in range(0, 90, 3 * size):
        rows = slice(first, first + 3 * size)
        apart = before[rows, rows] @ inverses[rows, rows]
        assert abs(apart - np.eye(len(apart))).max() < 1e-9
        assert (inverses[rows, : rows.start] == before[rows, : rows.start]).all()


def test_tiles_need_not_be_symmetric_to_the_last_bit() -> None:
    """What counts is what lies on and below the diagonal."""
    above = np.triu(K, 1)
    other = K + 1e-16 * above
    assert (other != other.T).any()
    assert conditioning(tiled(other)) == conditioning(tiled(np.tril(K) + np.tril(K, -1).T))


@pytest.mark.parametrize("size", [40, 10])
@pytest.mark.parametrize("kept", [True, False])
def test_no_task_fails_for_want_of_a_factor(
    size: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers would show it on the screen, and Dask keep it."""
    monkeypatch.setattr(dask_source, "_KEPT_SHARE", 0.3 if kept else 0.0)
    places = np.array([0.0, 0.0, 1.0])[np.arange(90) // 30]
    source = dask_source.source_of_dask(tiled(K - 1e5 * np.diag(places), size), overwrite=False)
    with pytest.raises(NotPositiveDefinite) as failure:
        source.factor(0.0)
    assert failure.value.__context__ is None


def test_several_eigenvalues_with_vectors() -> None:
    found = conditioning(tiled(K), k=3, eigenvectors=True, bounds=False)
    whole = fastntk.conditioning(K, k=3, method="cholesky", bounds=False)
    assert np.allclose(found.smallest, whole.smallest, rtol=1e-9, atol=0)
    assert np.allclose(found.largest, whole.largest, rtol=1e-12, atol=0)
    vectors = found.smallest_vectors
    assert np.allclose(K @ vectors, vectors * found.smallest, atol=1e-4 * found.eigenvalue_max)
    assert found.bounds is None


def test_all_eigenvalues_are_those_of_the_gathered_matrix() -> None:
    found = conditioning(tiled(K), method="dense")
    assert np.isclose(
        found.condition_number, fastntk.conditioning(K).condition_number, rtol=1e-6, atol=0
    )


def test_a_singular_kernel_is_not_resolved() -> None:
    found = conditioning(tiled(SINGULAR))
    assert not found.resolved
    assert found.rank is None
    assert "unresolved" in str(found)


def test_a_single_precision_kernel_keeps_its_noise() -> None:
    single = K.astype(np.float32)
    found, whole = conditioning(tiled(single)), fastntk.conditioning(single)
    assert np.isclose(found.noise_floor, whole.noise_floor, rtol=1e-6, atol=0)


def test_small_matrices_are_looked_at_as_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_source, "_SMALL", 90)
    assert conditioning(tiled(K)) == conditioning(K)


def test_a_matrix_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = conditioning(tiled(K), bounds=False)
    monkeypatch.setattr(dask_source, "_KEPT_SHARE", 0.0)
    assert conditioning(tiled(K), bounds=False) == kept


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (tiled(-K), "negative eigenvalue far beyond rounding"),
        (tiled(K + np.triu(np.ones_like(K))), "not symmetric.* up to 1"),
        (
            tiled(np.where(np.arange(90) == 3, np.nan, K)),
            r"90 elements are not finite, first K\[0, 3\]=nan",
        ),
        (tiled(K[:80]), r"K has shape \(80, 90\): expected a square matrix"),
        (tiled(K)[0], r"K has shape \(90,\): expected a square matrix"),
        (tiled(K + 0j), "K has dtype complex128: expected real numbers"),
        (tiled(K) * 1e200, "multiply it by a power of two"),
    ],
)
def test_bad_matrices(given: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        conditioning(given)


@pytest.mark.parametrize("place", [(3, 50), (50, 3), (41, 42), (89, 89)])
def test_the_first_bad_element_is_named(place: tuple[int, int]) -> None:
    bad = K.copy()
    bad[place] = -np.inf
    bad[88, 85] = np.nan
    first = min(place, (88, 85))
    with pytest.raises(ValueError, match=rf"2 .*, first K\[{first[0]}, {first[1]}\]="):
        conditioning(tiled(bad))


def test_blocks_are_what_the_array_says() -> None:
    masked = da.ma.masked_array(tiled(K), tiled(K > 100.0))
    with pytest.raises(ValueError, match="K is masked: expected an array without a mask"):
        conditioning(masked)
    for change, message in (
        (lambda block: np.ma.masked_array(block, block > 100.0), "is masked"),
        (lambda block: block + 0j, "has dtype complex128: expected real numbers"),
        (lambda block: block[1:], r"has shape \(\d+, \d+\): expected"),
    ):
        blocks = tiled(K).map_blocks(change, dtype=np.float64, meta=np.empty((0, 0)))
        with pytest.raises((ValueError, TypeError), match=rf"block of K that begins .* {message}"):
            conditioning(blocks)
    single = tiled(K).map_blocks(np.float32, dtype=np.float64, meta=np.empty((0, 0)))
    assert conditioning(single).resolved


def test_more_eigenvalues_than_rows_are_refused_before_the_work() -> None:
    made: list[Any] = []

    def noted(block: Any) -> Any:
        made.append(block.shape)
        return block

    blocks = tiled(K).map_blocks(noted, meta=np.empty((0, 0)))
    with pytest.raises(ValueError, match="k=91: expected at most 90, the size of K"):
        conditioning(blocks, k=91)
    assert not made


def test_it_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="overwrite=True: expected False for an array of Dask"):
        conditioning(tiled(K), overwrite=True)
