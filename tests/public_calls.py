# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every public call with arguments that work, and a walk over all public names that finds them."""

from __future__ import annotations

import copy
import importlib
import inspect
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from test_structure import PUBLIC

import fastntk
from fastntk import (
    activations,
    architectures,
    cuda,
    datasets,
    depth_sweep,
    figures,
    infinite,
    layers,
    linearity,
    paper,
)
from fastntk import sklearn as estimators
from fastntk.infinite.functions import NetworkOptions
from fastntk.infinite.methods import LimitMethods
from fastntk.layers.activation import CONSTRUCTORS as LAYERS_OF_ACTIVATIONS
from fastntk.studies import rates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_X = np.random.default_rng(0).standard_normal((5, 3))
_Y = _X[:, 0].copy()
_LABELS = np.array([0, 1, 1, 0, 1])
_NET = fastntk.MLP([3, 4, 1])
_TWO = fastntk.MLP([3, 4, 2])
_LAYERS = fastntk.Network([layers.RMSNorm(gain=True), layers.Dense(2)], inputs=3)
_FINITE = _LAYERS.sample()
_WIDE = fastntk.Network([layers.Dense(2), layers.RMSNorm(), layers.Dense(2)], inputs=3)
_BLOCKS = fastntk.Network([layers.Residual([layers.Dense(3)]), layers.Dense(2)], inputs=3)
_LAYERED = infinite.LayeredNetwork(_WIDE.layers, inputs=3)
_K = _NET.ntk(_X)
_PACKED = fastntk.PackedKernel.from_dense(_K)
_LIMIT = infinite.Network(depth=1)
_REGRESSION = infinite.Regression(_X, depth=1, ridge=0.1)
_NEURAL = infinite.NeuralKernel(depth=1)
_STUDY = fastntk.depth_study(_X, depths=[0], width=4, seeds=1, activations=["relu"], progress=False)
_CONVERGENCE_ARGUMENTS: dict[str, Any] = {
    "X": _X,
    "y": _LABELS,
    "depths": [0],
    "width": 16,
    "seeds": 1,
    "batch_size": 5,
    "epochs": 1,
    "rate_samples": 3,
    "rate_steps": 3,
    "jobs": 1,
    "progress": False,
}
_CONVERGENCE = fastntk.convergence_study(**_CONVERGENCE_ARGUMENTS)
_CONSTANCY_ARGUMENTS: dict[str, Any] = {
    "X": _X,
    "y": 0.5 + 0.1 * _LABELS,
    "widths": [4],
    "architectures": ["linear"],
    "seeds": 1,
    "hessian_samples": 1,
    "epochs": 2,
    "jobs": 1,
    "progress": False,
}
_CONSTANCY = fastntk.constancy_study(**_CONSTANCY_ARGUMENTS)
_LINEARIZATION_ARGUMENTS: dict[str, Any] = {
    "X": _X,
    "y": _Y,
    "widths": [4],
    "seeds": 1,
    "steps": 2,
    "depth": 1,
}
_LINEARIZATION = fastntk.linearization_error(**_LINEARIZATION_ARGUMENTS)
_CURVES = fastntk.angle_curves([0.1], [1], ["tanh"])
_HISTORY = fastntk.train(_TWO, _X, _LABELS, learning_rate=0.1, epochs=2)
_SEARCH = fastntk.find_learning_rate(_TWO, _X, _LABELS, epochs=1, grid=[0.1], jobs=1)
_MONTE_CARLO = fastntk.monte_carlo_ntk(_X, [4], seeds=2, depth=1)
# Results with the name of one of their panels.
_RESULTS: dict[str, tuple[Any, str]] = {
    "AngleCurves": (_CURVES, "tanh"),
    "ConstancyStudy": (_CONSTANCY, "hessian_norm"),
    "ConvergenceStudy": (_CONVERGENCE, "loss"),
    "DepthStudy": (_STUDY, "smallest_angle"),
    "History": (_HISTORY, "loss"),
    "LearningRateSearch": (_SEARCH, "final_loss"),
    "LinearizationStudy": (_LINEARIZATION, "error"),
    "MonteCarlo": (_MONTE_CARLO, "fluctuation"),
}
_STATE = {"0.weight": np.ones((4, 3)), "2.weight": np.ones((1, 4))}

# Files that are there to be read.
_FOLDER = Path(tempfile.mkdtemp(prefix="fastntk-public-calls-"))
_NET_FILE, _PACKED_FILE, _SAMPLES_FILE, _FINITE_FILE = (
    str(_FOLDER / name) for name in ("net.npz", "packed.npy", "samples.npy", "finite.npz")
)
_NET.save(_NET_FILE)
_FINITE.save(_FINITE_FILE)
_PACKED.save(_PACKED_FILE)
_RESULT_FILES = {name: str(_FOLDER / f"{name}.npz") for name in _RESULTS}
for _name, _file in _RESULT_FILES.items():
    _RESULTS[_name][0].save(_file)
np.save(_SAMPLES_FILE, _X)
_LABELLED_FILE = str(_FOLDER / "labelled.csv")
np.savetxt(
    _LABELLED_FILE, np.column_stack([_X, _LABELS]), delimiter=",", header="a,b,c,label", comments=""
)
_PAPER: dict[str, Any] = {"seeds": 1, "width": 32, "progress": False}


def _with_options(**given: Any) -> None:
    with cuda.options(**given):
        pass


_with_options.__signature__ = inspect.signature(cuda.options)  # type: ignore[attr-defined]


def _train(**given: Any) -> Any:
    """Train a copy of the network, for it may be trained in place."""
    if isinstance(given["net"], fastntk.MLP):
        given["net"] = copy.deepcopy(given["net"])
    return fastntk.train(**given)


_train.__signature__ = inspect.signature(fastntk.train)  # type: ignore[attr-defined]


def _all_of(tiles: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Return the call with all that its iterator hands out."""

    def call(**given: Any) -> list[Any]:
        return list(tiles(**given))

    call.__signature__ = inspect.signature(tiles)  # type: ignore[attr-defined]
    return call


def _neural_kernel(**given: Any) -> Any:
    """Make a kernel and use it: scikit-learn wants parameters to be stored as they are given."""
    return infinite.NeuralKernel(**given)(_X, eval_gradient=True)


def _without(name: str, call: Callable[..., Any]) -> inspect.Signature:
    """Return a signature without a parameter that is deprecated."""
    signature = inspect.signature(call)
    kept = [each for each in signature.parameters.values() if each.name != name]
    return signature.replace(parameters=kept)


_neural_kernel.__signature__ = _without(  # type: ignore[attr-defined]
    "kind", infinite.NeuralKernel
)


def _regressor(**given: Any) -> Any:
    return estimators.NTKRegressor(**given).fit(_X, _Y).predict(_X)


def _classifier(**given: Any) -> Any:
    return estimators.NTKClassifier(**given).fit(_X, _LABELS).predict_proba(_X)


def _features(**given: Any) -> Any:
    found = estimators.NTKFeatures(**given).fit_transform(_X)
    return found.shape if given.get("random_state") is None else found


for _call, _kind in (
    (_regressor, estimators.NTKRegressor),
    (_classifier, estimators.NTKClassifier),
    (_features, estimators.NTKFeatures),
):
    _call.__signature__ = inspect.signature(_kind)  # type: ignore[attr-defined]


def _polynomial(coefficients: Any) -> Any:
    return activations.polynomial(1.0, coefficients)


# By its name, what is called, and arguments that work, files in the current folder among them.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "FiniteNetwork": (fastntk.FiniteNetwork, {"layers": [layers.Dense(2)], "inputs": 3}),
    "FiniteNetwork.__call__": (_FINITE.__call__, {"X": _X}),
    "FiniteNetwork.astype": (_FINITE.astype, {"dtype": "float32"}),
    "FiniteNetwork.conjugate_kernel": (_FINITE.conjugate_kernel, {"X": _X, "Z": _X}),
    "FiniteNetwork.gradient_features": (_FINITE.gradient_features, {"X": _X}),
    "FiniteNetwork.input_jacobian": (_FINITE.input_jacobian, {"X": _X}),
    "FiniteNetwork.jacobian": (_FINITE.jacobian, {"X": _X}),
    "FiniteNetwork.jvp": (_FINITE.jvp, {"X": _X, "v": np.ones(_FINITE.n_parameters)}),
    "FiniteNetwork.load": (fastntk.FiniteNetwork.load, {"path": _FINITE_FILE}),
    "FiniteNetwork.ntk": (_FINITE.ntk, {"X": _X, "Z": _X}),
    "FiniteNetwork.ntk_by_layer": (_FINITE.ntk_by_layer, {"X": _X, "Z": _X}),
    "FiniteNetwork.ntk_errors": (_FINITE.ntk_errors, {"X": _X}),
    "FiniteNetwork.ntk_operator": (_FINITE.ntk_operator, {"X": _X}),
    "FiniteNetwork.ntk_tiles": (_all_of(_FINITE.ntk_tiles), {"X": _X, "Z": _X}),
    "FiniteNetwork.pair_angles": (_FINITE.pair_angles, {"X": _X, "pairs": [(0, 1)]}),
    "FiniteNetwork.plan": (_FINITE.plan, {"X": _X, "Z": _X}),
    "FiniteNetwork.save": (_FINITE.save, {"path": "finite.npz"}),
    "FiniteNetwork.smallest_angle": (_FINITE.smallest_angle, {"X": _X}),
    "FiniteNetwork.vjp": (_FINITE.vjp, {"X": _X, "u": np.ones((5, 2))}),
    "MLP": (fastntk.MLP, {"widths": [3, 4, 1]}),
    "MLP.__call__": (_NET.__call__, {"X": _X}),
    "MLP.astype": (_NET.astype, {"dtype": "float32"}),
    "MLP.conjugate_kernel": (_NET.conjugate_kernel, {"X": _X, "Z": _X}),
    "MLP.from_torch": (fastntk.MLP.from_torch, {"module": _STATE, "activation": "relu"}),
    "MLP.from_weights": (fastntk.MLP.from_weights, {"weights": [np.ones((1, 3))]}),
    "MLP.gradient_features": (_NET.gradient_features, {"X": _X}),
    "MLP.input_jacobian": (_NET.input_jacobian, {"X": _X}),
    "MLP.jacobian": (_NET.jacobian, {"X": _X}),
    "MLP.jvp": (_NET.jvp, {"X": _X, "v": np.ones(_NET.n_parameters)}),
    "MLP.load": (fastntk.MLP.load, {"path": _NET_FILE}),
    "MLP.ntk": (_NET.ntk, {"X": _X, "Z": _X}),
    "MLP.ntk_by_layer": (_NET.ntk_by_layer, {"X": _X, "Z": _X}),
    "MLP.ntk_errors": (_NET.ntk_errors, {"X": _X}),
    "MLP.ntk_operator": (_NET.ntk_operator, {"X": _X}),
    "MLP.ntk_tiles": (_all_of(_NET.ntk_tiles), {"X": _X, "Z": _X}),
    "MLP.pair_angles": (_NET.pair_angles, {"X": _X, "pairs": [(0, 1)]}),
    "MLP.plan": (_NET.plan, {"X": _X, "Z": _X}),
    "MLP.save": (_NET.save, {"path": "net.npz"}),
    "MLP.smallest_angle": (_NET.smallest_angle, {"X": _X}),
    "MLP.vjp": (_NET.vjp, {"X": _X, "u": _Y}),
    "Network": (fastntk.Network, {"layers": [layers.Dense(2)], "inputs": 3}),
    "Network.at_blocks": (_BLOCKS.at_blocks, {"blocks": 1}),
    "Network.infinite": (_WIDE.infinite, {}),
    "Network.ntk_at_blocks": (_BLOCKS.ntk_at_blocks, {"X": _X, "blocks": [0, 1]}),
    "Network.sample": (_LAYERS.sample, {}),
    "conjugate_gradients": (
        fastntk.conjugate_gradients,
        {"K": _NET.ntk_operator(_X), "y": _Y, "ridge": 0.1},
    ),
    "LinearizedMLP.fit": (_NET.linearize().fit, {"X": _X, "y": _Y}),
    "LinearizedTraining.outputs": (
        _NET.linearize().fit(_X, _Y).outputs,
        {"Z": _X, "time": 1.0},
    ),
    **{
        f"{name}.load": (type(result).load, {"path": _RESULT_FILES[name]})
        for name, (result, _) in _RESULTS.items()
    },
    **{
        f"{name}.plot": (result.plot, {"ax": Figure().subplots(), "panel": panel})
        for name, (result, panel) in _RESULTS.items()
    },
    "AngleCurves.save": (_CURVES.save, {"path": "curves.csv"}),
    "History.save": (_HISTORY.save, {"path": "history.npz"}),
    "MonteCarlo.save": (_MONTE_CARLO.save, {"path": "networks.npz"}),
    "LearningRateSearch.save": (_SEARCH.save, {"path": "search.npz"}),
    "Conditioning.widened": (fastntk.conditioning(np.eye(3)).widened, {}),
    "ConstancyStudy.save": (_CONSTANCY.save, {"path": "constancy.csv"}),
    "ConstancyStudy.slope": (
        _CONSTANCY.slope,
        {"architecture": "linear", "quantity": "hessian_norm"},
    ),
    "ConvergenceResult.epochs_to": (_CONVERGENCE.results[0].epochs_to, {"target": 0.1}),
    "ConvergenceStudy.files": (_CONVERGENCE.files, {"path": "convergence.csv"}),
    "ConvergenceStudy.save": (_CONVERGENCE.save, {"path": "convergence.csv"}),
    "DepthStudy.save": (_STUDY.save, {"path": "depth.csv"}),
    "LinearizationStudy.save": (_LINEARIZATION.save, {"path": "linearization.csv"}),
    "PackedKernel": (fastntk.PackedKernel, {"data": np.ones(6)}),
    "PackedKernel.__matmul__": (_PACKED.__matmul__, {"vectors": _Y}),
    "PackedKernel.__rmatmul__": (_PACKED.__rmatmul__, {"vectors": _Y}),
    "PackedKernel.blocks": (_PACKED.blocks, {"size": 2}),
    "PackedKernel.empty": (fastntk.PackedKernel.empty, {"n": 3}),
    "PackedKernel.from_dense": (fastntk.PackedKernel.from_dense, {"K": _K}),
    "PackedKernel.load": (fastntk.PackedKernel.load, {"path": _PACKED_FILE}),
    "PackedKernel.put": (
        _PACKED.copy().put,
        {"rows": slice(3, 5), "cols": slice(0, 2), "block": np.ones((2, 2))},
    ),
    "PackedKernel.row": (_PACKED.row, {"i": 0}),
    "PackedKernel.rows": (_PACKED.rows, {"indices": [0]}),
    "PackedKernel.save": (_PACKED.save, {"path": "packed.npy"}),
    "PackedKernel.submatrix": (_PACKED.submatrix, {"indices": [0]}),
    "PackedKernel.tile": (_PACKED.tile, {"rows": slice(3, 5), "cols": slice(0, 2)}),
    "angle_bound": (fastntk.angle_bound, {"K": _K}),
    "angle_curves": (
        fastntk.angle_curves,
        {"theta": [0.1], "depths": [1], "activations": ["tanh"]},
    ),
    "batch_conditioning": (fastntk.batch_conditioning, {"K": _K, "batch_size": 2}),
    "closest_pairs": (fastntk.closest_pairs, {"K": _K, "k": 1}),
    "conditioning": (fastntk.conditioning, {"K": _K}),
    "constancy_study": (fastntk.constancy_study, _CONSTANCY_ARGUMENTS),
    "convergence_rate": (
        fastntk.convergence_rate,
        {"net": _NET, "X": _X, "y": _Y, "steps": 2},
    ),
    "convergence_study": (fastntk.convergence_study, _CONVERGENCE_ARGUMENTS),
    "depth_study": (
        fastntk.depth_study,
        {"X": _X, "depths": [0], "width": 4, "seeds": 1, "activations": ["relu"]},
    ),
    "find_learning_rate": (
        fastntk.find_learning_rate,
        {"net": _TWO, "X": _X, "y": _LABELS, "epochs": 1, "grid": [0.1], "jobs": 1},
    ),
    "gradient_angles": (fastntk.gradient_angles, {"K": _K}),
    "kernel_report": (
        fastntk.kernel_report,
        {"net": _NET, "X": _X, "directory": "report", "progress": False},
    ),
    "learning_rate_bound": (fastntk.learning_rate_bound, {"net": _NET, "X": _X}),
    "linearization_error": (fastntk.linearization_error, _LINEARIZATION_ARGUMENTS),
    "monte_carlo_ntk": (
        fastntk.monte_carlo_ntk,
        {"X": _X, "widths": [4], "seeds": 2, "depth": 1},
    ),
    "smallest_angle": (fastntk.smallest_angle, {"K": _K}),
    "spectrum": (fastntk.spectrum, {"K": _K}),
    "train": (
        _train,
        {"net": _TWO, "X": _X, "y": _LABELS, "learning_rate": 0.1, "epochs": 1},
    ),
    "activations.Softmax": (activations.Softmax, {}),
    "activations.abrelu": (activations.abrelu, {}),
    "activations.celu": (activations.celu, {}),
    "activations.cosine": (activations.cosine, {}),
    "activations.custom": (activations.custom, {"function": np.tanh}),
    "activations.elu": (activations.elu, {}),
    "activations.erf": (activations.erf, {}),
    "activations.exp_normalized": (activations.exp_normalized, {}),
    "activations.exponential": (activations.exponential, {}),
    "activations.gaussian": (activations.gaussian, {}),
    "activations.gaussian_nodes": (activations.gaussian_nodes, {}),
    "activations.get": (activations.get, {"activation": "relu"}),
    "activations.hardtanh": (activations.hardtanh, {}),
    "activations.hermite": (activations.hermite, {}),
    "activations.label_of": (activations.label_of, {"name": "relu"}),
    "activations.leaky_relu": (activations.leaky_relu, {}),
    "activations.monomial": (activations.monomial, {}),
    "activations.polynomial": (_polynomial, {"coefficients": 1.0}),
    "activations.rbf": (activations.rbf, {}),
    "activations.rectified_monomial": (activations.rectified_monomial, {}),
    "activations.restore": (
        activations.restore,
        {"name": "leaky_relu", "parameters": (0.1,)},
    ),
    "activations.sine": (activations.sine, {}),
    "activations.softplus": (activations.softplus, {}),
    "activations.squareplus": (activations.squareplus, {}),
    "architectures.Architecture": (architectures.Architecture, {"kind": "residual"}),
    "architectures.Architecture.network": (
        architectures.Architecture("prenorm").network,
        {"depth": 2, "inputs": 3},
    ),
    "architectures.Architecture.scale_at": (
        architectures.Architecture("residual", residual_scale=0.5).scale_at,
        {"depth": 2},
    ),
    "cuda.options": (_with_options, {}),
    "datasets.load": (datasets.load, {"name": "synthetic", "n": 3}),
    "datasets.load_file": (datasets.load_file, {"path": _SAMPLES_FILE}),
    "datasets.near_duplicates": (
        datasets.near_duplicates,
        {"dataset": datasets.Dataset("five", _X, _LABELS), "k": 1},
    ),
    "depth_sweep.independent_seed": (
        depth_sweep.independent_seed,
        {"seed": 0, "depth": 1},
    ),
    "depth_sweep.ntk_depths": (
        depth_sweep.ntk_depths,
        {"X": _X, "depths": [1], "width": 4},
    ),
    "figures.figure4": (figures.figure4, {"study": _CONVERGENCE}),
    "figures.plot_angle_curves": (figures.plot_angle_curves, {"curves": _CURVES}),
    "figures.plot_constancy": (figures.plot_constancy, {"study": _CONSTANCY}),
    "figures.plot_convergence_study": (
        figures.plot_convergence_study,
        {"study": _CONVERGENCE},
    ),
    "figures.plot_depth_study": (figures.plot_depth_study, {"study": _STUDY}),
    "figures.plot_history": (figures.plot_history, {"history": _HISTORY}),
    "figures.plot_learning_rates": (figures.plot_learning_rates, {"search": _SEARCH}),
    "figures.plot_linearization": (figures.plot_linearization, {"study": _LINEARIZATION}),
    "figures.save": (figures.save, {"figure": Figure(), "path": "figure.png"}),
    "figures.table1": (figures.table1, {"study": _CONVERGENCE}),
    "paper.figure": (paper.figure, {"number": 5, **_PAPER}),
    "paper.reproduce": (paper.reproduce, {**_PAPER, "out": "out", "only": ["figure 5"]}),
    "paper.table": (paper.table, {"number": 1, "data": _LABELLED_FILE, **_PAPER}),
    "infinite.LayeredNetwork": (
        infinite.LayeredNetwork,
        {"layers": [layers.Dense(2)], "inputs": 3},
    ),
    "infinite.LayeredNetwork.at_blocks": (_LAYERED.at_blocks, {"blocks": 0}),
    "infinite.LayeredNetwork.ntk": (_LAYERED.ntk, {"X": _X, "Z": _X}),
    "infinite.Network": (infinite.Network, {"depth": 1}),
    "infinite.Network.at_depth": (_LIMIT.at_depth, {"depth": 1}),
    "infinite.Network.conditioning": (_LIMIT.conditioning, {"X": _X}),
    "infinite.Network.embedding_angle": (_LIMIT.embedding_angle, {"theta": [0.1]}),
    "infinite.Network.gradient_angle": (_LIMIT.gradient_angle, {"theta": [0.1]}),
    "infinite.Network.kernel_error": (
        _LIMIT.kernel_error,
        {"X": _X, "kernel": _LIMIT.ntk(_X)},
    ),
    "infinite.Network.kernels": (_LIMIT.kernels, {"X": _X, "Z": _X}),
    "infinite.Network.nngp": (_LIMIT.nngp, {"X": _X, "Z": _X}),
    "infinite.Network.ntk": (_LIMIT.ntk, {"X": _X, "Z": _X}),
    "infinite.Network.ntk_operator": (_LIMIT.ntk_operator, {"X": _X}),
    "infinite.Network.ntk_tiles": (_all_of(_LIMIT.ntk_tiles), {"X": _X, "Z": _X}),
    "infinite.Network.predict": (_LIMIT.predict, {"X": _X, "y": _Y, "Z": _X, "ridge": 0.1}),
    "infinite.Network.regression": (_LIMIT.regression, {"X": _X, "ridge": 0.1}),
    "infinite.Network.smallest_angle": (_LIMIT.smallest_angle, {"X": _X}),
    "infinite.NeuralKernel": (_neural_kernel, {"depth": 1}),
    "infinite.NeuralKernel.__call__": (_NEURAL.__call__, {"X": _X, "Y": _X}),
    "infinite.NeuralKernel.diag": (_NEURAL.diag, {"X": _X}),
    "infinite.Regression": (infinite.Regression, {"X": _X, "depth": 1, "ridge": 0.1}),
    "infinite.Regression.predict": (_REGRESSION.predict, {"Z": _X, "y": _Y}),
    "infinite.angle_map": (infinite.angle_map, {"theta": [0.1]}),
    "infinite.conditioning": (infinite.conditioning, {"X": _X, "depths": [1]}),
    "infinite.edge_of_chaos": (infinite.edge_of_chaos, {"activation": "tanh", "bias_std": 0.3}),
    "infinite.embedding_angle": (infinite.embedding_angle, {"theta": [0.1], "depth": 1}),
    "infinite.gradient_angle": (infinite.gradient_angle, {"theta": [0.1], "depth": 1}),
    "infinite.kernels": (infinite.kernels, {"X": _X, "Z": _X, "depth": 1}),
    "infinite.limit_condition_number": (infinite.limit_condition_number, {"n": 3}),
    "infinite.limit_kernel": (infinite.limit_kernel, {"n": 3}),
    "infinite.nngp": (infinite.nngp, {"X": _X, "Z": _X, "depth": 1}),
    "infinite.ntk": (infinite.ntk, {"X": _X, "Z": _X, "depth": 1}),
    "infinite.ntk_operator": (infinite.ntk_operator, {"X": _X, "depth": 1}),
    "infinite.ntk_tiles": (_all_of(infinite.ntk_tiles), {"X": _X, "Z": _X, "depth": 1}),
    "infinite.predict": (
        infinite.predict,
        {"X": _X, "y": _Y, "Z": _X, "ridge": 0.1, "depth": 1},
    ),
    "infinite.smallest_angle": (infinite.smallest_angle, {"X": _X, "depth": 1}),
    "layers.Activation": (layers.Activation, {"activation": "relu"}),
    "layers.Dense": (layers.Dense, {"width": 2}),
    "layers.LayerNorm": (layers.LayerNorm, {}),
    "layers.RMSNorm": (layers.RMSNorm, {}),
    "layers.Rescale": (layers.Rescale, {}),
    "layers.Residual": (layers.Residual, {"layers": [layers.Dense(2)]}),
    "linearity.hessian_norm": (linearity.hessian_norm, {"net": _NET, "X": _X[:1]}),
    "linearity.hessian_operator": (linearity.hessian_operator, {"net": _NET, "X": _X}),
    "linearity.loss_hessian": (linearity.loss_hessian, {"net": _TWO, "X": _X, "y": _LABELS}),
    "linearity.hessian_vector_product": (
        linearity.hessian_vector_product,
        {"net": _NET, "X": _X, "v": np.ones(_NET.n_parameters)},
    ),
    "linearity.LinearizedMLP": (linearity.LinearizedMLP, {"net": _NET}),
    "linearity.LinearizedMLP.__call__": (
        _NET.linearize().__call__,
        {"X": _X, "change": np.ones(_NET.n_parameters)},
    ),
    "linearity.kernel_change": (
        linearity.kernel_change,
        {"net": _NET, "X": _X, "direction": np.ones(_NET.n_parameters), "steps": 2},
    ),
    "linearity.kernel_drift": (
        linearity.kernel_drift,
        {
            "networks": {0: _NET, 3: _NET},
            "X": _X,
            "linear": _NET.linearize().fit(_X, _Y),
            "learning_rate": 0.1,
        },
    ),
    "sklearn.KernelCache": (estimators.KernelCache, {"limit": 1000}),
    "sklearn.NTKClassifier": (_classifier, {"depth": 1, "random_state": 0}),
    "sklearn.NTKFeatures": (_features, {"width": 4, "random_state": 0}),
    "sklearn.NTKRegressor": (_regressor, {"depth": 1, "random_state": 0}),
    "studies.rates.fit_tail": (rates.fit_tail, {"losses": 0.5 ** np.arange(30)}),
}

if find_spec("dask") and find_spec("zarr"):
    from fastntk import distributed

    _STORE = str(_FOLDER / "K.zarr")
    distributed.store(_STORE, _NET, _X)

    def _stored(**given: Any) -> Any:
        """Return the kernel, and nothing of how it was found."""
        stored = distributed.store(**given)
        kernel = stored.array().compute()
        shutil.rmtree(stored.path)
        return kernel

    _stored.__signature__ = inspect.signature(distributed.store)  # type: ignore[attr-defined]
    _SAMPLES: dict[str, Any] = {"X": _X, "Z": _X[:2]}
    CALLS |= {
        "distributed.closest_pairs": (
            distributed.closest_pairs,
            {"net": _NET, "X": _X, "k": 1},
        ),
        "distributed.load": (distributed.load, {"path": _STORE}),
        "distributed.nngp": (distributed.nngp, {"net": _LIMIT, **_SAMPLES}),
        "distributed.ntk": (distributed.ntk, {"net": _NET, **_SAMPLES}),
        "distributed.ntk_by_layer": (distributed.ntk_by_layer, {"net": _NET, **_SAMPLES}),
        "distributed.ntk_depths": (
            distributed.ntk_depths,
            {"X": _X, "depths": [1], "width": 4},
        ),
        "distributed.ntk_operator": (distributed.ntk_operator, {"net": _NET, "X": _X}),
        "distributed.plan": (distributed.plan, {"net": _NET, **_SAMPLES}),
        "distributed.plan_depths": (
            distributed.plan_depths,
            {"X": _X, "depths": [1], "width": 4},
        ),
        "distributed.store": (_stored, {"path": "K.zarr", "net": _NET, **_SAMPLES}),
    }

_RESULT = "results are made by fastntk, with numbers that need no check"
_SCIKIT_LEARN = "checked by scikit-learn, in its own words: tests/test_sklearn.py"
_OWN = "called by other parts of fastntk, with what they have made or checked"

# What takes arguments and is not in CALLS, with the reason.
EXEMPT: dict[str, str] = {
    **dict.fromkeys(
        (
            "AngleCurves",
            "AnglePair",
            "BatchConditioning",
            "Bounds",
            "Bounds.widened",
            "Conditioning",
            "ConstancyResult",
            "ConstancyStudy",
            "ConvergenceRate",
            "ConvergenceResult",
            "ConvergenceStudy",
            "DepthResult",
            "DepthStudy",
            "History",
            "Interval",
            "Interval.clip",
            "KernelReport",
            "KernelSolution",
            "LearningRateSearch",
            "LinearizationStudy",
            "MonteCarlo",
            "cuda.Device",
            "distributed.StoredKernel",
            "distributed.TilePlan",
            "cuda.Options",
            "datasets.Dataset",
            "datasets.NearDuplicates",
            "infinite.Edge",
            "infinite.Kernels",
            "infinite.Prediction",
            "linearity.HessianNorms",
            "linearity.KernelChange",
            "linearity.KernelDrift",
            "studies.rates.ConvergenceRate",
            "studies.rates.TailFit",
        ),
        _RESULT,
    ),
    **dict.fromkeys(
        (
            "FiniteNetwork.of_network",
            "MLP.of_network",
            "activations.Activation",
            "cuda.dotted",
            "cuda.too_old",
            "infinite.LayeredNetwork.require_inputs",
            "infinite.Network.rates",
            "infinite.Network.require_inputs",
            "infinite.Regression.of_network",
            "layers.Layer",
            "sklearn.KernelCache.matrices",
        ),
        _OWN,
    ),
    **{
        f"infinite.LayeredNetwork.{name}": "the same function as that of infinite.Network"
        for name in dir(LimitMethods)
        if f"infinite.Network.{name}" in CALLS and f"infinite.LayeredNetwork.{name}" not in CALLS
    },
    **{
        f"layers.{name}": "layers.Activation of a function of fastntk.activations"
        for name in LAYERS_OF_ACTIVATIONS
    },
    **dict.fromkeys(
        (
            "infinite.NeuralKernel.get_params",
            "infinite.NeuralKernel.set_params",
            "sklearn.NTKClassifier.decision_function",
            "sklearn.NTKClassifier.fit",
            "sklearn.NTKClassifier.predict",
            "sklearn.NTKClassifier.predict_proba",
            "sklearn.NTKFeatures.fit",
            "sklearn.NTKFeatures.get_feature_names_out",
            "sklearn.NTKFeatures.transform",
            "sklearn.NTKRegressor.fit",
            "sklearn.NTKRegressor.predict",
        ),
        _SCIKIT_LEARN,
    ),
    **dict.fromkeys(
        (
            "sklearn.NeuralKernel",
            "sklearn.NeuralKernel.__call__",
            "sklearn.NeuralKernel.diag",
            "sklearn.NeuralKernel.get_params",
            "sklearn.NeuralKernel.set_params",
        ),
        "those of infinite.NeuralKernel",
    ),
    "from_torch": "modules of PyTorch, which need not be installed: layers/test_torch_layers.py",
    "linearity.LinearizedMLP.fit": "the same function as LinearizedMLP.fit",
    "ntk_depths": "the same function as depth_sweep.ntk_depths",
    **{
        f"distributed.{name}": "needs fastntk[distributed], which is not installed"
        for name in (
            *("closest_pairs", "load", "nngp", "ntk", "ntk_by_layer", "ntk_depths"),
            *("ntk_operator", "plan", "plan_depths", "store"),
        )
        if f"distributed.{name}" not in CALLS
    },
    "studies.rates.convergence_rate": "the same function as convergence_rate",
}


def parameters(call: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """Yield the parameters that are given by name, those of a network among `options` as well."""
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            for name in NetworkOptions.__annotations__:
                yield inspect.signature(infinite.Network).parameters[name]
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            yield parameter


def public_calls() -> Iterator[str]:
    """Yield the names of all public functions, classes and methods that take arguments."""
    for module, names in PUBLIC.items():
        for name in names:
            value = getattr(importlib.import_module(module), name)
            path = f"{module}.{name}".removeprefix("fastntk.")
            if inspect.isclass(value):
                yield path
                yield from (f"{path}.{method}" for method in _methods(value))
            elif inspect.isroutine(inspect.unwrap(value)) and inspect.signature(value).parameters:
                yield path


def _methods(kind: type) -> Iterator[str]:
    called = {"__call__", "__matmul__", "__rmatmul__"}
    for base in kind.__mro__:
        if not base.__module__.startswith("fastntk"):
            continue
        for name, value in vars(base).items():
            function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            if not inspect.isfunction(function) or (name.startswith("_") and name not in called):
                continue
            if len(inspect.signature(function).parameters) > 1:  # more than self or cls
                yield name
