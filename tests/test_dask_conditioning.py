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


def test_the_error_of_a_factor_is_seen() -> None:
    source = dask_source.source_of_dask(tiled(K), overwrite=False)
    factor = source.factor(0.5)
    small = source.decomposition_error(0.5, factor=factor)
    assert 0 < small < 1e-8
    for place in [(0, 0), (2, 1)]:
        wrong = dict(factor.lower.tiles)  # type: ignore[attr-defined]
        wrong[place] = dask.delayed(wrong[place].compute() * (1 + 1e-6))
        changed = DaskFactor(factor.lower.of_same_kind(wrong))  # type: ignore[attr-defined]
        moved = 1e-6 * np.linalg.norm(wrong[place].compute()) ** 2
        assert source.decomposition_error(0.5, factor=changed) > 0.1 * moved > 10 * small


def test_solutions_before_and_after_the_inverse() -> None:
    """L first, then its inverse in its place, row by row; vectors or several of them."""
    spectrum = np.geomspace(1.0, 1e6, 90)
    directions = np.linalg.qr(np.random.default_rng(3).standard_normal((90, 90)))[0]
    matrix = (directions * spectrum) @ directions.T
    factor: Any = dask_source.source_of_dask(tiled(matrix + matrix.T, 25), overwrite=False).factor(
        0.0
    )
    vectors = np.random.default_rng(4).standard_normal((90, 2))
    exact = directions @ ((directions.T @ vectors) / (2 * spectrum)[:, np.newaxis])
    found = [factor.solve(vectors) for _ in range(6)]
    for solution in found:
        np.testing.assert_allclose(solution, exact, rtol=0, atol=1e-9 * abs(exact).max())
    assert [(each == found[0]).all() for each in found] == [True] * 3 + [False] * 3
    assert factor.inverted
    whole = np.zeros((90, 90))
    for (i, j), tile in factor.lower.tiles.items():
        part = tile.compute()
        whole[25 * i : 25 * i + part.shape[0], 25 * j : 25 * j + part.shape[1]] = part
    lower = np.linalg.cholesky(matrix + matrix.T)
    assert np.linalg.norm(lower @ whole - np.eye(90)) < 1e-9


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
        (tiled(np.where(np.arange(90) == 3, np.nan, K)), "90 elements are not finite"),
        (tiled(K[:80]), r"K has shape \(80, 90\): expected a square matrix"),
        (tiled(K)[0], r"K has shape \(90,\): expected a square matrix"),
        (tiled(K + 0j), "K has dtype complex128: expected real numbers"),
        (tiled(K) * 1e200, "multiply it by a power of two"),
    ],
)
def test_bad_matrices(given: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        conditioning(given)


def test_it_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="overwrite=True: expected False for an array of Dask"):
        conditioning(tiled(K), overwrite=True)
