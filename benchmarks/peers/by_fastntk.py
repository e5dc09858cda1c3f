# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What fastntk makes of the workloads, through the calls that users make."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk
from benchmarks.peers.by_numpy import weights_of
from benchmarks.peers.serving import serve
from fastntk import amx, infinite
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.features import Features
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.peers.serving import Prepare

    Arrays = Mapping[str, Any]
    Settings = Mapping[str, Any]


def _network(arrays: Arrays, settings: Settings) -> fastntk.MLP:
    return fastntk.MLP.from_weights(weights_of(arrays), **settings.get("network", {}))


def _with_products(settings: Settings, compute: Callable[[], Any]) -> Callable[[], Any]:
    """Return `compute`, without AMX if the settings say so."""
    if settings.get("amx", True):
        return compute

    def without() -> Any:
        with amx.disabled():
            return compute()

    return without


def _ntk(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    net = _network(arrays, settings)
    return _with_products(settings, partial(net.ntk, arrays["X"]))


def _gram(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    net, X = _network(arrays, settings), arrays["X"]
    features = Features(PlacedNetwork(net.network, PROCESSOR), X, range(1), X.dtype)

    def compute() -> Any:
        K, rows = np.empty((len(X), len(X)), X.dtype), slice(0, len(X))
        features.fill_kernel(features, rows, rows, K, None)
        return K

    return _with_products(settings, compute)


def _operator(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    operator = _network(arrays, settings).ntk_operator(arrays["X"])
    return _with_products(settings, lambda: operator @ arrays["V"])


def _epoch(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    net = _network(arrays, settings)
    train = partial(fastntk.train, net, arrays["X"], arrays["y"], **settings["training"])
    return _with_products(settings, lambda: train().loss[0])


def _infinite(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    net = infinite.Network(
        settings["depth"],
        settings["activation"],
        weight_std=settings["weight_std"],
        bias_std=settings["bias_std"],
        activation_scale=1.0,
    )
    return partial(net.ntk, arrays["X"])


def _conditioning(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    K = arrays["K"]

    def ends() -> Any:
        found = fastntk.conditioning(K, bounds=settings["bounds"])
        return [found.eigenvalue_min, found.eigenvalue_max]

    return ends


def _making(_: Arrays, settings: Settings) -> Callable[[], Any]:
    return lambda: fastntk.MLP(settings["widths"]).n_parameters


def _outputs(arrays: Arrays, settings: Settings) -> Callable[[], Any]:
    return partial(_network(arrays, settings), arrays["X"])


PREPARE: dict[str, Prepare] = {
    "ntk": _ntk,
    "gram": _gram,
    "operator": _operator,
    "epoch": _epoch,
    "infinite": _infinite,
    "conditioning": _conditioning,
    "making": _making,
    "outputs": _outputs,
}


if __name__ == "__main__":
    serve(PREPARE, {"fastntk": fastntk.__version__})
