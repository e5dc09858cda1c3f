# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The short way of `conditioning` for matrices of few rows: as certain as the general way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NoReturn

import mpmath
import numpy as np
import pytest
from exact import inertia
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import fastntk
import fastntk._core as core
from fastntk.eigenvalues import extremes
from fastntk.eigenvalues.few_rows import ends_of_few_rows
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from fastntk import Conditioning

    Matrix = npt.NDArray[Any]

FEW = core.few_rows


def symmetric(square: Matrix) -> Matrix:
    result: Matrix = np.tril(square) + np.tril(square, -1).T
    return result


def kernel(n: int, seed: int = 0, columns: int | None = None) -> Matrix:
    F = np.random.default_rng(seed).standard_normal((n, 2 * n if columns is None else columns))
    return symmetric(F @ F.T)


def graded(n: int) -> Matrix:
    scales = np.geomspace(1.0, 1e-3, n)
    return symmetric(scales[:, np.newaxis] * kernel(n) * scales)


def hilbert(n: int) -> Matrix:
    i = np.arange(n)
    result: Matrix = 1.0 / (i[:, np.newaxis] + i + 1.0)
    return result


def with_twins(n: int) -> Matrix:
    """Return the kernel of samples some of which are equal."""
    twins = np.sort(np.arange(n) % max(1, n - n // 3))
    return kernel(n)[np.ix_(twins, twins)]


KINDS: dict[str, Callable[[int], Matrix]] = {
    "full": kernel,
    "diagonal": lambda n: np.diag(np.random.default_rng(n).uniform(0.1, 3.0, n)),
    "identity": np.eye,
    "equal": lambda n: np.full((n, n), 2.0),
    "twins": with_twins,
    "rank deficient": lambda n: kernel(n, columns=max(1, n // 2)),
    "graded": graded,
    "hilbert": hilbert,
    "zero row": lambda n: kernel(n) * np.outer(np.arange(n) > 0, np.arange(n) > 0),
    "indefinite": lambda n: kernel(n) - 0.5 * np.trace(kernel(n)) * np.eye(n),
    "indefinite by rounding": lambda n: kernel(n, columns=1) - 1e-15 * n * np.eye(n),
}


def by_the_general_way(
    monkeypatch: pytest.MonkeyPatch, K: Matrix, **settings: Any
) -> Conditioning | str:
    with monkeypatch.context() as patch:
        patch.setattr(extremes, "ends_of_few_rows", lambda *_, **__: None)
        return outcome(K, **settings)


def outcome(K: Any, **settings: Any) -> Conditioning | str:
    """Return the result, or the error."""
    try:
        return fastntk.conditioning(K, **settings)
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_results_are_those_of_the_general_way(
    kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in (1, 2, 3, 4, 5, 8, 17, 40, FEW):
        K = KINDS[kind](n).astype(dtype)
        for options in ({}, {"bounds": False}, {"k": min(n, 3), "kernel_error": 1e-9}):
            found = outcome(K, **options)
            expected = by_the_general_way(monkeypatch, K, **options)
            if isinstance(expected, str) or isinstance(found, str):
                assert found == expected
                continue
            # Eigenvalues are computed alike; bounds, by decompositions that round differently.
            assert np.array_equal(found.smallest, expected.smallest)
            assert np.array_equal(found.largest, expected.largest)
            for name in ("resolved", "rank", "n", "method"):
                assert getattr(found, name) == getattr(expected, name)
            for name in ("eigenvalue_min", "eigenvalue_max", "noise_floor", "effective_rank"):
                value = getattr(expected, name)
                error = 1e-15 * found.eigenvalue_max
                assert getattr(found, name) == pytest.approx(value, abs=error, nan_ok=True)
            assert (found.bounds is None) == (expected.bounds is None)
            if found.bounds is None or expected.bounds is None:
                continue
            for ours, theirs in zip(found.bounds, expected.bounds, strict=True):
                width = theirs.upper - theirs.lower
                assert ours == pytest.approx(theirs, abs=0.1 * width)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.integers(1, 9),
    st.sampled_from(["float64", "float32"]),
    st.integers(-100, 100),
)
def test_ends_are_enclosed(kind: str, n: int, dtype: str, exponent: int) -> None:
    """By rational arithmetic: no eigenvalue is outside, and each interval contains one."""
    K = (KINDS[kind](n) * 2.0 ** (exponent if dtype == "float64" else exponent / 2)).astype(dtype)
    found = ends_of_few_rows(K, None, 1, bounds=True)
    if found is None:
        return  # nothing is said
    ends = found[1]
    assert ends.bounds is not None
    smallest, largest = ends.bounds
    assert inertia(K, smallest.lower).below == 0
    assert inertia(K, smallest.upper).above < n
    assert inertia(K, largest.lower).below < n
    assert inertia(K, largest.upper).above == 0
    without = ends_of_few_rows(K, None, 1, bounds=False)
    assert without is not None
    assert without[1].around_smallest == smallest
    assert inertia(K, without[1].below_largest).below < n or kind == "indefinite"


@pytest.mark.parametrize("kind", ["full", "graded", "hilbert", "diagonal"])
def test_eigenvalues_beside_many_digits(kind: str) -> None:
    n = 7
    K = KINDS[kind](n)
    with mpmath.workdps(60):
        exact = sorted(mpmath.eigsy(mpmath.matrix(K.tolist()), eigvals_only=True))
        result = fastntk.conditioning(K)
        assert result.resolved
        assert result.bounds is not None
        smallest, largest = result.bounds
        assert smallest.lower <= exact[0] <= smallest.upper
        assert largest.lower <= exact[-1] <= largest.upper
        # Of the size of some roundings of λ_max, and not of a fraction of the eigenvalue.
        allowed = 100 * n * 2.0**-53 * result.eigenvalue_max
        assert smallest.upper - smallest.lower <= allowed
        assert largest.upper - largest.lower <= allowed
        assert abs(result.eigenvalue_min - exact[0]) <= allowed


def general_way(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("the general way was taken")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_which_matrices_are_taken(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extremes, "source_of", general_way)
    for n in (1, 2, 20, FEW):
        K = kernel(n).astype(dtype)
        for given_ in (K, SymmetricMatrix.made(K), SymmetricMatrix.of(K, "K")):
            for options in ({}, {"bounds": False}, {"method": "dense"}):
                result = fastntk.conditioning(given_, **options)
                assert (result.resolved, result.method) == (True, "dense")
                epsilon = float(np.finfo(dtype).eps)
                assert result.noise_floor == max(n, 16) * epsilon * result.eigenvalue_max
    half = SymmetricMatrix.of(np.eye(3, dtype=np.float16), "K")
    assert fastntk.conditioning(half).noise_floor == 16 * float(np.finfo(np.float16).eps)
    others: list[tuple[Any, dict[str, Any]]] = [
        (kernel(FEW + 1).astype(dtype), {}),
        (kernel(5), {"method": "cholesky"}),
        (kernel(5), {"eigenvectors": True}),
        (kernel(5), {"overwrite": True}),
        (np.ones((5, 5)), {}),
        (kernel(5).tolist(), {}),
        (np.asfortranarray(hilbert(5))[:, ::-1][:, ::-1], {}),
        (kernel(5).astype(">f8"), {}),
        (np.eye(5, dtype=np.int64), {}),
        (np.eye(5, dtype=np.float16), {}),
        (fastntk.PackedKernel.from_dense(kernel(5)), {}),
    ]
    for other, wanted in others:
        with pytest.raises(AssertionError, match="general way"):
            fastntk.conditioning(other, **wanted)


def test_a_matrix_that_is_symmetric_but_for_rounding_is_taken_by_the_general_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    K = kernel(6)
    K[1, 4] = np.nextafter(K[1, 4], np.inf)
    assert ends_of_few_rows(K, None, 1, bounds=True) is None
    assert outcome(K) == by_the_general_way(monkeypatch, K)


def test_the_same_bits_in_every_form() -> None:
    K = kernel(9).astype("float32").astype("float64")
    expected = repr(fastntk.conditioning(K))
    wide = np.zeros((9, 18))
    wide[:, ::2] = K
    forms = [K.tolist(), wide[:, ::2], K.astype(">f8"), np.asfortranarray(K)]
    for form in forms:
        assert repr(fastntk.conditioning(form)) == expected
    single = fastntk.conditioning(K.astype("float32"))
    assert single.bounds == fastntk.conditioning(K).bounds
    assert repr(fastntk.conditioning(K.astype(">f4"))) == repr(single)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_what_is_refused(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bad: list[tuple[Matrix, str]] = []
    for value in (np.nan, np.inf, -np.inf):
        K = kernel(n)
        K[n - 1, 0] = K[0, n - 1] = value
        bad.append((K, "finite"))
    bad += [(kernel(n) * 1e300, "1e-120 and 1e\\+120"), (kernel(n) * 1e-300, "1e-120 and 1e\\+120")]
    bad += [(kernel(n)[:, :-1], "shape"), (-kernel(n), "negative eigenvalue")]
    if n > 1:
        K = kernel(n)
        K[1, 0] += 1.0
        bad.append((K, "not symmetric"))
    for K, message in bad:
        assert ends_of_few_rows(K, None, 1, bounds=True) is None or "negative" in message
        with pytest.raises(ValueError, match=message) as error:
            fastntk.conditioning(K)
        assert by_the_general_way(monkeypatch, K) == f"ValueError: {error.value}"
    with pytest.raises(ValueError, match=f"k={n + 1}: expected at most {n}"):
        fastntk.conditioning(kernel(n), k=n + 1)
    with pytest.raises(TypeError, match="progress="):
        fastntk.conditioning(kernel(n), progress=3)  # type: ignore[arg-type]
    assert outcome(np.zeros((n, n))) == by_the_general_way(monkeypatch, np.zeros((n, n)))


@pytest.mark.parametrize("scale", [1e-119, 1e-60, 1e60, 1e115])
def test_powers_of_two_change_nothing(scale: float) -> None:
    power = 4.0 ** round(np.log2(scale) / 2)  # whose root is a power of two
    for K in (kernel(12), hilbert(6), kernel(FEW + 16)):  # the last one by the general way
        plain, scaled = fastntk.conditioning(K), fastntk.conditioning(K * power)
        assert scaled.resolved
        assert scaled.condition_number == plain.condition_number
        assert scaled.eigenvalue_min == plain.eigenvalue_min * power
        assert plain.bounds is not None
        assert scaled.bounds is not None
        for ours, theirs in zip(scaled.bounds, plain.bounds, strict=True):
            assert tuple(ours) == (theirs.lower * power, theirs.upper * power)


def test_the_matrix_is_left_alone() -> None:
    K = kernel(20)
    kept = K.copy()
    K.flags.writeable = False
    fastntk.conditioning(K)
    assert np.array_equal(K, kept)


def test_the_same_bits_for_any_number_of_threads_and_beside_others() -> None:
    kernels = [kernel(n, seed=n) for n in (3, 20, 47, FEW)]
    expected = [repr(fastntk.conditioning(K)) for K in kernels]
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            assert [repr(fastntk.conditioning(K)) for K in kernels] == expected
    different: list[str] = []

    def repeat() -> None:
        for _ in range(30):
            found = [repr(fastntk.conditioning(K)) for K in kernels]
            different.extend(f for f, e in zip(found, expected, strict=True) if f != e)

    workers = [threading.Thread(target=repeat) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not different


def test_what_the_core_refuses() -> None:
    start = np.ones((3, 1))
    for arguments, message in (
        ((np.ones((3, 2)), 1, start, 3, True), "matrix"),
        ((np.ones((FEW + 1, FEW + 1)), 1, np.ones((FEW + 1, 1)), 3, True), "matrix"),
        ((np.eye(3), 0, start, 3, True), "k: expected"),
        ((np.eye(3), 4, start, 3, True), "k: expected"),
        ((np.eye(3), 1, start[:2], 3, True), "start"),
    ):
        with pytest.raises(ValueError, match=message):
            core.few_rows_spectrum(*arguments)
    for matrix in (np.zeros((3, 3)), np.array([[1.0, 2.0], [1.0, 1.0]]), np.array([[np.nan]])):
        ones = np.ones((len(matrix), 1))
        assert core.few_rows_spectrum(matrix, 1, ones, 3, False) is None
    with pytest.raises(ValueError, match="start"):
        core.shifted_end(np.eye(3), 1.0, 0.0, start[:2], 3, 1, None)
    assert core.shifted_end(-np.eye(3), 1.0, 0.0, start, 3, 1, None) is None
