# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The linear model at the end of its training, by conjugate gradients, against gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tolerances import assert_close

import fastntk
from fastntk.linearity import linear_regression

Array = npt.NDArray[np.float64]

generator = np.random.default_rng(0)
X = generator.standard_normal((12, 4))
Z = generator.standard_normal((5, 4))
Y = generator.standard_normal((12, 3))
NET = fastntk.MLP([4, 16, 9, 3], bias_std=0.3, activation="gelu", seed=3)


def exact(net: fastntk.MLP, omega: Array, ridge: float) -> tuple[Array, Array]:
    """Δw and f(Z), with each parameter scaled by √ω: least squares with a decay."""
    F = net.jacobian(X).reshape(36, -1) * np.sqrt(omega)
    error = (Y - net(X)).reshape(-1)
    change = np.sqrt(omega) * (F.T @ np.linalg.solve(F @ F.T + ridge * np.eye(36), error))
    return change, net(Z) + net.jacobian(Z) @ change


@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("layer_weights", [None, [0.5, 2.0, 1.0]])
def test_all_outputs_together(
    layer_weights: list[float] | None, ridge: float, block_rows: int | None
) -> None:
    sizes = [layer.n_parameters for layer in NET.network.layers]
    omega = np.repeat(layer_weights or [1.0, 1.0, 1.0], sizes)
    change, there = exact(NET, omega, ridge)
    fitted = NET.linearize().fit(
        X,
        Y,
        layer_weights=layer_weights,
        solver="cg",
        ridge=ridge,
        tolerance=1e-11,
        block_rows=block_rows,
    )
    assert fitted.converged.tolist() == [True]
    assert fitted.residuals.shape == fitted.iterations.shape == (1,)
    np.testing.assert_allclose(fitted.parameter_change(), change, rtol=0, atol=1e-8)
    np.testing.assert_allclose(fitted.outputs(Z), there, rtol=0, atol=1e-7)
    here = NET(X) + NET.jacobian(X) @ change
    np.testing.assert_allclose(fitted.outputs(), here, rtol=0, atol=1e-7)
    expected = float(((here - Y) ** 2).sum() / 24)
    assert fitted.loss() == pytest.approx(expected, rel=1e-6, abs=1e-14)


def test_each_output_by_itself() -> None:
    model = NET.linearize()
    ends = model.fit(X, Y, outputs="diagonal")
    fitted = model.fit(X, Y, outputs="diagonal", solver="cg", tolerance=1e-12)
    assert fitted.converged.tolist() == [True] * 3
    np.testing.assert_allclose(fitted.outputs(Z), ends.outputs(Z, time=np.inf), rtol=0, atol=1e-7)
    np.testing.assert_allclose(
        fitted.parameter_change(), ends.parameter_change(time=np.inf), rtol=0, atol=1e-7
    )


def test_outputs_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = NET.linearize().fit(X, Y, solver="cg", ridge=0.1)
    whole = fitted.outputs(Z), fitted.outputs()
    monkeypatch.setattr(linear_regression, "_ROWS_AT_ONCE", 3)
    for found, expected in zip((fitted.outputs(Z), fitted.outputs()), whole, strict=True):
        assert_close(found, expected, "float64")
    again = NET.linearize().fit(X, Y, solver="cg", ridge=0.1)
    assert_close(again.parameter_change(), fitted.parameter_change(), "float64")


def test_a_network_in_single_precision() -> None:
    """Equations are in float64: the residual is not limited by the precision of the weights."""
    fitted = NET.astype("float32").linearize().fit(X, Y, solver="cg", ridge=0.1, tolerance=1e-12)
    assert fitted.converged.all()
    expected = NET.linearize().fit(X, Y, solver="cg", ridge=0.1)
    np.testing.assert_allclose(fitted.outputs(Z), expected.outputs(Z), rtol=0, atol=1e-4)


def test_many_samples_of_few_parameters() -> None:
    """Without a solution: the residual that is left is told."""
    net, samples = fastntk.MLP([4, 3, 1]), generator.standard_normal((60, 4))
    with pytest.warns(RuntimeWarning, match="1 of 1 right-hand sides have not converged"):
        fitted = net.linearize().fit(samples, samples[:, 0] ** 2, solver="cg", max_iterations=30)
    assert not fitted.converged[0]
    assert fitted.residuals[0] > 0.1
    assert repr(fitted).startswith("<LinearizedRegression: n 60, ridge 0, residuals [")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"solver": "cholesky"}, "solver='cholesky': expected one of 'eigh', 'cg'"),
        ({"ridge": 0.1}, "ridge=0.1: expected 0 with solver='eigh', or solver='cg'"),
        ({"solver": "cg", "ridge": -0.1}, "ridge=-0.1: expected a finite number of at least 0"),
        ({"solver": "cg", "block_rows": 0}, "block_rows=0: expected an integer of at least 1"),
        ({"preconditioner_rank": -1}, "preconditioner_rank=-1: expected an integer of at least 0"),
    ],
)
def test_bad_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NET.linearize().fit(X, Y, **given)
