# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Small files of every kind that this version writes, for later versions to read.

``python tests/files_of_versions.py 0.1.0`` writes them to ``tests/data/0.1.0``, with what they say
in ``expected.json``: once for each release, and never again. `test_files_of_versions.py` reads the
files of all versions.

Weights and samples are sums of few powers of two, so that they do not depend on the random numbers
of a version of NumPy; but for the network of layers, whose weights lie in its file alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk
from fastntk.networks.network import Network
from fastntk.studies.store import StudyStore

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).with_name("data")

X = np.array([[1.0, -0.5, 0.25], [0.5, 1.0, -1.0], [-1.0, 0.75, 0.5], [0.25, -1.0, 1.5]])
LABELS = np.array([0, 1, 1, 0])
CELL = {"study": "of files", "depth": 3}


def numbers(*shape: int) -> Any:
    """Return eighths from −1 to 1, in no order that matters."""
    return (np.arange(np.prod(shape)).reshape(shape) * 5 % 17 - 8) / 8


def network() -> fastntk.MLP:
    """A network of the first version of the format."""
    weights, biases = [numbers(4, 3), numbers(2, 4)], [numbers(4), None]
    options: Any = {"activation": fastntk.activations.leaky_relu(0.25), "activation_scale": 1.5}
    return fastntk.MLP.from_weights(weights, biases, weight_std=1.25, bias_std=0.5, **options)


def frozen_network() -> fastntk.MLP:
    """One of the second version: with layer weights of its own."""
    state = {"0.weight": numbers(4, 3), "0.bias": numbers(4), "2.weight": numbers(1, 4)}
    net = fastntk.MLP.from_torch(state, activation="softplus")
    first, last = net.network.layers
    layers = [type(first)(first.weights, first.bias, 1.0, 1.0, (0.0, 1.0)), last]
    return fastntk.MLP.of_network(Network.of_layers(layers, net.activation, 1.0))


def network_with_softmax() -> fastntk.MLP:
    """One of the third version: with an activation of the outputs, in float32."""
    weights = [numbers(4, 3), numbers(2, 4)]
    options: Any = {"output_activation": "softmax", "dtype": "float32"}
    return fastntk.MLP.from_weights(weights, activation="gelu", **options)


def network_of_layers() -> fastntk.FiniteNetwork:
    """One of the format of described networks, with a layer of each kind."""
    layers = fastntk.layers
    branch = [layers.LayerNorm(), layers.Dense(4, trained=(0.5, True), bias_std=0.5), layers.Tanh()]
    described: list[Any] = [
        *(layers.Dense(3, weight_std=1.5), layers.Activation(fastntk.activations.leaky_relu(0.25))),
        layers.Residual([*branch, layers.Dense(4)], scale=0.5, projection=layers.Dense(4)),
        *(layers.RMSNorm(gain=True, shift=True), layers.Rescale(gain=True), layers.Dense(2)),
    ]
    return fastntk.Network(described, inputs=3).sample(0)


NETWORKS: dict[str, Callable[[], fastntk.MLP | fastntk.FiniteNetwork]] = {
    "network-layers.npz": network_of_layers,
    "network.npz": network,
    "network-frozen.npz": frozen_network,
    "network-softmax.npz": network_with_softmax,
}


def load_network(path: Path) -> fastntk.MLP | fastntk.FiniteNetwork:
    """Return a network of either kind."""
    kind = fastntk.FiniteNetwork if "layers" in path.name else fastntk.MLP
    return kind.load(path)


def said(net: fastntk.MLP | fastntk.FiniteNetwork) -> dict[str, Any]:
    """Return what a network is and computes."""
    if isinstance(net, fastntk.FiniteNetwork):
        return {
            "description": repr(net),
            "dtype": net.dtype.name,
            "outputs": net(X).tolist(),
            "ntk": net.ntk(X).tolist(),
        }
    return {
        "widths": list(net.widths),
        "activation": repr(net.activation),
        "output_activation": repr(net.output_activation),
        "dtype": net.dtype.name,
        "outputs": net(X).tolist(),
        "ntk": net.ntk(X).tolist(),
    }


def trained(checkpoint: Path, epochs: int) -> fastntk.History:
    """Train, from the checkpoint if there is one."""
    options: Any = {"batch_size": 2, "momentum": 0.5, "seed": 3, "probe": X[:2]}
    return fastntk.train(
        network(), X, LABELS, learning_rate=0.25, epochs=epochs, checkpoint=checkpoint, **options
    )


def results(checkpoint: Path) -> dict[str, Any]:
    """Return a result of each kind by the name of its file."""
    quiet: Any = {"progress": False, "data": "four samples"}
    small: Any = {"search_epochs": 1, "rate_samples": 3, "rate_steps": 3}
    return {
        "history.npz": trained(checkpoint, 2),
        "search.npz": fastntk.find_learning_rate(
            network(), X, LABELS, epochs=1, grid=[0.25], jobs=1, **quiet
        ),
        "depth.npz": fastntk.depth_study(
            X, depths=[1], width=4, seeds=1, infinite=True, batches=2, bounds=True, **quiet
        ),
        "convergence.npz": fastntk.convergence_study(
            X, LABELS, [1], width=16, seeds=1, batch_size=2, epochs=1, jobs=1, **small, **quiet
        ),
        "constancy.npz": fastntk.constancy_study(
            X, [0.5] * 4, [4], architectures=["linear"], seeds=1, epochs=1, jobs=1, **quiet
        ),
        "linearization.npz": fastntk.linearization_error(
            X, X[:, 0], [4], seeds=1, steps=2, activation="tanh", **quiet
        ),
        "networks.npz": fastntk.monte_carlo_ntk(X[:2], [4], seeds=2, depth=1, **quiet),
        "angles.npz": fastntk.angle_curves([0.5], [1], ["relu"], width=4, seeds=2),
    }


def main() -> None:
    folder = DATA / sys.argv[1]
    folder.mkdir(parents=True)  # what is there stays as that version wrote it
    expected: dict[str, Any] = {}
    for name, make in NETWORKS.items():
        net = make()
        net.save(folder / name)
        expected[name] = said(net)
    K = network().ntk(X, X)
    fastntk.PackedKernel.from_dense(K).save(folder / "kernel.npy")
    expected["kernel.npy"] = K.tolist()
    with StudyStore(folder / "cells.sqlite") as store:
        expected["cells.sqlite"] = store.add(CELL, {"angle": 0.125, "status": "completed"})
    for name, result in results(folder / "checkpoint.npz").items():
        result.save(folder / name)
        expected[name] = {
            "class": type(result).__name__,
            "table": result.to_frame().to_dict("list"),
        }
    expected["checkpoint.npz"] = expected["history.npz"]["table"]["loss"]
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
