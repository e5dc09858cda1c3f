# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Matrices of float32 on AMX units, where there are any, beside the BLAS."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import RTOL

import fastntk
from fastntk import amx, info

needs_amx = pytest.mark.skipif(not amx.is_available(), reason=f"no AMX: {amx.why_not()}")


def network(activation: str = "relu") -> fastntk.MLP:
    return fastntk.MLP([48, 160, 96, 1], activation=activation, dtype="float32", seed=3)


def samples(n: int) -> np.ndarray:
    return np.random.default_rng(4).standard_normal((n, 48), dtype=np.float32)


def test_a_reason_or_none() -> None:
    assert amx.is_available() == (amx.why_not() is None)
    described = dict(info.describe())["float32 products"]
    assert ("AMX units" in described) == amx.is_available()
    assert str(amx.why_not()) in described or amx.is_available()


@needs_amx
def test_disabled_is_the_blas_until_the_last_one_leaves() -> None:
    net, X = network(), samples(80)
    by_amx = net.ntk(X)
    with amx.disabled():
        by_blas = net.ntk(X)
        with pytest.raises(KeyError), amx.disabled():
            raise KeyError
        np.testing.assert_array_equal(net.ntk(X), by_blas)
    np.testing.assert_array_equal(net.ntk(X), by_amx)
    assert np.any(by_amx != by_blas)  # or this file tests nothing


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_kernels_are_as_accurate_as_by_the_blas(activation: str) -> None:
    net, X = network(activation), samples(200)
    exact = net.astype("float64").ntk(X.astype("float64"))

    def error() -> float:
        return float(np.linalg.norm(net.ntk(X) - exact) / np.linalg.norm(exact))

    with amx.disabled():
        by_blas = error()
    assert 0 < error() <= 1.2 * by_blas < RTOL[np.dtype(np.float32)]


@needs_amx
@given(st.integers(-15, 15))
def test_powers_of_two_change_no_bit(exponent: int) -> None:
    net, X = network(), samples(40)
    np.testing.assert_array_equal(
        net.ntk(np.ldexp(X, exponent)), np.ldexp(net.ntk(X), 2 * exponent)
    )
