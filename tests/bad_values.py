# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every public call with arguments that work, and values that are no arguments of anything."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

import fastntk
from fastntk import activations, infinite, linearity

if TYPE_CHECKING:
    from collections.abc import Callable

_X = np.random.default_rng(0).standard_normal((5, 3))
_Y = _X[:, 0].copy()
_LABELS = np.array([0, 1, 1, 0, 1])
_NET = fastntk.MLP([3, 4, 1])
_TWO = fastntk.MLP([3, 4, 2])
_K = _NET.ntk(_X)
_PACKED = fastntk.PackedKernel.from_dense(_K)
_LIMIT = infinite.Network(depth=1)
_REGRESSION = infinite.Regression(_X, depth=1, ridge=0.1)

# Name, what is called, and arguments that work; together they take all parameters by their names.
CALLS: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [
    ("MLP", fastntk.MLP, {"widths": [3, 4, 1]}),
    ("MLP()", _NET.__call__, {"X": _X}),
    ("MLP.astype", _NET.astype, {"dtype": "float32"}),
    ("MLP.from_weights", fastntk.MLP.from_weights, {"weights": [np.ones((1, 3))]}),
    ("MLP.conjugate_kernel", _NET.conjugate_kernel, {"X": _X, "Z": _X}),
    ("MLP.gradient_features", _NET.gradient_features, {"X": _X}),
    ("MLP.input_jacobian", _NET.input_jacobian, {"X": _X}),
    ("MLP.jacobian", _NET.jacobian, {"X": _X}),
    ("MLP.jvp", _NET.jvp, {"X": _X, "v": np.ones(_NET.n_parameters)}),
    ("MLP.vjp", _NET.vjp, {"X": _X, "u": _Y}),
    ("MLP.ntk", _NET.ntk, {"X": _X, "Z": _X}),
    ("MLP.ntk_by_layer", _NET.ntk_by_layer, {"X": _X, "Z": _X}),
    ("MLP.ntk_operator", _NET.ntk_operator, {"X": _X}),
    ("MLP.ntk_tiles", lambda **given: list(_NET.ntk_tiles(**given)), {"X": _X, "Z": _X}),
    ("MLP.pair_angles", _NET.pair_angles, {"X": _X, "pairs": [(0, 1)]}),
    ("MLP.plan", _NET.plan, {"X": _X, "Z": _X}),
    ("MLP.smallest_angle", _NET.smallest_angle, {"X": _X}),
    ("LinearizedMLP.fit", _NET.linearize().fit, {"X": _X, "y": _Y}),
    (
        "LinearizedMLP.outputs",
        _NET.linearize().fit(_X, _Y).outputs,
        {"Z": _X, "time": 1.0},
    ),
    ("angle_bound", fastntk.angle_bound, {"K": _K}),
    (
        "angle_curves",
        fastntk.angle_curves,
        {"theta": [0.1], "depths": [1], "activations": ["tanh"]},
    ),
    ("batch_conditioning", fastntk.batch_conditioning, {"K": _K, "batch_size": 2}),
    ("closest_pairs", fastntk.closest_pairs, {"K": _K, "k": 1}),
    ("conditioning", fastntk.conditioning, {"K": _K}),
    ("convergence_rate", fastntk.convergence_rate, {"net": _NET, "X": _X, "y": _Y, "steps": 2}),
    (
        "depth_study",
        fastntk.depth_study,
        {"X": _X, "depths": [0], "width": 4, "seeds": 1, "activations": ["relu"]},
    ),
    (
        "find_learning_rate",
        fastntk.find_learning_rate,
        {"net": _TWO, "X": _X, "y": _LABELS, "epochs": 1, "grid": [0.1], "jobs": 1},
    ),
    ("gradient_angles", fastntk.gradient_angles, {"K": _K}),
    ("learning_rate_bound", fastntk.learning_rate_bound, {"net": _NET, "X": _X}),
    (
        "linearization_error",
        fastntk.linearization_error,
        {"X": _X, "y": _Y, "widths": [4], "seeds": 1, "steps": 2, "depth": 1},
    ),
    (
        "monte_carlo_ntk",
        fastntk.monte_carlo_ntk,
        {"X": _X, "widths": [4], "seeds": 2, "depth": 1},
    ),
    ("ntk_depths", fastntk.ntk_depths, {"X": _X, "depths": [1], "width": 4}),
    ("smallest_angle", fastntk.smallest_angle, {"K": _K}),
    ("spectrum", fastntk.spectrum, {"K": _K}),
    (
        "train",
        fastntk.train,
        {"net": _TWO, "X": _X, "y": _LABELS, "learning_rate": 0.1, "epochs": 1},
    ),
    ("hessian_norm", linearity.hessian_norm, {"net": _NET, "X": _X[:1]}),
    (
        "hessian_vector_product",
        linearity.hessian_vector_product,
        {"net": _NET, "X": _X, "v": np.ones(_NET.n_parameters)},
    ),
    ("infinite.Network", infinite.Network, {"depth": 1}),
    ("infinite.Network.ntk", _LIMIT.ntk, {"X": _X, "Z": _X}),
    ("infinite.Network.at_depth", _LIMIT.at_depth, {"depth": 1}),
    ("infinite.Network.conditioning", _LIMIT.conditioning, {"X": _X}),
    ("infinite.Network.gradient_angle", _LIMIT.gradient_angle, {"theta": [0.1]}),
    ("infinite.Network.smallest_angle", _LIMIT.smallest_angle, {"X": _X}),
    ("infinite.Network.regression", _LIMIT.regression, {"X": _X, "ridge": 0.1}),
    ("infinite.Regression", infinite.Regression, {"X": _X, "depth": 1, "ridge": 0.1}),
    ("infinite.Regression.predict", _REGRESSION.predict, {"Z": _X, "y": _Y}),
    ("infinite.angle_map", infinite.angle_map, {"theta": [0.1]}),
    ("infinite.conditioning", infinite.conditioning, {"X": _X, "depths": [1]}),
    ("infinite.embedding_angle", infinite.embedding_angle, {"theta": [0.1], "depth": 1}),
    ("infinite.gradient_angle", infinite.gradient_angle, {"theta": [0.1], "depth": 1}),
    ("infinite.kernels", infinite.kernels, {"X": _X, "Z": _X, "depth": 1}),
    ("infinite.limit_condition_number", infinite.limit_condition_number, {"n": 3}),
    ("infinite.limit_kernel", infinite.limit_kernel, {"n": 3}),
    ("infinite.nngp", infinite.nngp, {"X": _X, "Z": _X, "depth": 1}),
    ("infinite.ntk", infinite.ntk, {"X": _X, "Z": _X, "depth": 1}),
    ("infinite.predict", infinite.predict, {"X": _X, "y": _Y, "Z": _X, "ridge": 0.1, "depth": 1}),
    ("infinite.smallest_angle", infinite.smallest_angle, {"X": _X, "depth": 1}),
    ("activations.abrelu", activations.abrelu, {}),
    ("activations.cosine", activations.cosine, {}),
    ("activations.custom", activations.custom, {"function": np.tanh}),
    ("activations.elu", activations.elu, {}),
    ("activations.erf", activations.erf, {}),
    ("activations.exp_normalized", activations.exp_normalized, {}),
    ("activations.exponential", activations.exponential, {}),
    ("activations.gaussian", activations.gaussian, {}),
    ("activations.get", activations.get, {"activation": "relu"}),
    ("activations.hermite", activations.hermite, {}),
    ("activations.leaky_relu", activations.leaky_relu, {}),
    ("activations.monomial", activations.monomial, {}),
    ("activations.rbf", activations.rbf, {}),
    ("activations.rectified_monomial", activations.rectified_monomial, {}),
    ("activations.sine", activations.sine, {}),
    ("activations.softplus", activations.softplus, {}),
    ("PackedKernel.blocks", _PACKED.blocks, {"size": 2}),
    ("PackedKernel.empty", fastntk.PackedKernel.empty, {"n": 3}),
    ("PackedKernel.from_dense", fastntk.PackedKernel.from_dense, {"K": _K}),
    ("PackedKernel.row", _PACKED.row, {"i": 0}),
    ("PackedKernel.rows", _PACKED.rows, {"indices": [0]}),
    ("PackedKernel.submatrix", _PACKED.submatrix, {"indices": [0]}),
]

_MATRICES: dict[str, Any] = {
    "with NaN": np.where(np.eye(5, 3) > 0, np.nan, _X),
    "with inf": np.where(np.eye(5, 3) > 0, np.inf, _X),
    "masked": np.ma.masked_less(_X, 0.0),
    "complex": _X + 1j,
    "of times": np.zeros((5, 3), "M8[s]"),
    "of durations": np.zeros((5, 3), "m8[s]"),
    "of texts": np.full((5, 3), "1"),
    "of bytes": np.full((5, 3), b"1"),
    "of objects": np.full((5, 3), None),
    "of no rows": np.ones((0, 3)),
    "of no columns": np.ones((5, 0)),
    "of three dimensions": np.ones((5, 3, 2)),
    "of other columns": np.ones((5, 7)),
    "sparse": sparse.csr_array(_X),
    "structured": np.zeros((5, 3), [("a", "f8")]),
}
VALUES: dict[str, Any] = {f"matrix {name}": value for name, value in _MATRICES.items()} | {
    "None": None,
    "text": "text",
    "empty text": "",
    "bytes": b"bytes",
    "object": object(),
    "function": lambda *_: None,
    "NaN": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "-1": -1,
    "-1.5": -1.5,
    "1.5": 1.5,
    "1e400": 10**400,
    "1e400/3": Fraction(10**400, 3),
    "complex": 1j,
    "True": True,
    "text of a number": "1",
    "NumPy's NaN": np.float32("nan"),
    "NumPy's -1": np.int64(-1),
    "duration": np.timedelta64(1, "s"),
    "empty list": [],
    "empty tuple": (),
    "dict": {"a": 1},
    "set": {1.5},
    "generator": iter(()),
    "ragged": [[1.0, 2.0, 3.0], [1.0]],
    "list of None": [None],
    "list of text": ["x"],
    "list of NaN": [float("nan")],
    "list of -1": [-1],
    "list of 1.5": [1.5],
    "list of True": [True],
    "list of 1e400": [10**400],
    "array of no dimension": np.array("x"),
    "vector of NaN": np.full(5, np.nan),
    "masked vector": np.ma.masked_less(_Y, 10.0),
    "complex vector": _Y + 1j,
    "slice": slice(None),
    "ellipsis": ...,
    "network": infinite.Network(depth=1),
    "activation": activations.relu(),
}
