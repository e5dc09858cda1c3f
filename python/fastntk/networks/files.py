# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks in files: one ``.npz`` archive of plain arrays, with a version and a checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastntk import activations
from fastntk._support.archives import checked_path, checksum, read_archive, write_archive
from fastntk._support.files import require_own
from fastntk.activations.outputs import LINEAR, restore_output
from fastntk.activations.table import require_entry
from fastntk.networks.network import Drawn, Layer, Network

if TYPE_CHECKING:
    import os

    from fastntk._support.dtypes import FloatArray
    from fastntk.activations.outputs import OutputActivation

_FORMAT = "fastntk network"
# Version 2 has layers with "kernel_weights", and version 3 an "output_activation", which readers of
# earlier versions would overlook. Networks without them are written as version 1. How weights were
# drawn, "drawn", changes no number: readers of earlier versions may overlook it.
_VERSIONS = (1, 2, 3)


def save_network(network: Network, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write a network with one readout to an ``.npz`` file, completely or not at all."""
    name = checked_path(path, "path")
    content = described(network)
    require_own(
        name,
        own=lambda: _is_alike(network, name),
        what="a network of the same widths and activation",
        overwrite=overwrite,
    )
    write_archive(name, *content)


def _is_alike(network: Network, path: str) -> bool:
    """Return whether a file holds a network that training could have made of this one."""
    try:
        there = load_network(path)
    except (OSError, ValueError):
        return False
    shapes = [[layer.weights.shape for layer in net.layers] for net in (network, there)]
    return (
        shapes[0] == shapes[1]
        and network.activation == there.activation
        and network.output_activation == there.output_activation
    )


def network_digest(network: Network) -> str:
    """Return a digest of everything that decides the function of a network, to the last bit."""
    header, arrays = described(network)
    header.pop("drawn", None)
    return checksum(header, arrays)


def described(network: Network) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return the header and the arrays that a file has of a network with one readout."""
    phi, psi = network.activation, network.output_activation
    for argument, given in (("activation", phi), ("output_activation", psi)):
        if not isinstance(given, activations.Softmax):
            require_entry(given, f"{argument}={given!r}")
    header: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSIONS[0],
        "activation": phi.name,
        "activation_parameters": list(phi.parameters),
        "activation_scale": network.activation_scale,
        "layers": [
            {
                "weight_scale": layer.weight_scale,
                "bias_scale": layer.bias_scale,
                "bias": layer.bias is not None,
            }
            for layer in network.layers
        ],
    }
    if network.kernel_weights is not None:
        header["version"] = _VERSIONS[1]
        for entry, omega in zip(header["layers"], network.kernel_weights, strict=True):
            entry["kernel_weights"] = list(omega)
    if not network.has_linear_outputs:
        header["version"] = _VERSIONS[2]
        header["output_activation"] = psi.name
        header["output_activation_parameters"] = list(psi.parameters)
    if network.drawn is not None:
        header["drawn"] = {
            "seed": network.drawn.seed,
            "init_scales": list(network.drawn.init_scales),
        }
    arrays: dict[str, FloatArray] = {}
    for i, layer in enumerate(network.layers, start=1):
        arrays[f"W{i}"] = layer.weights
        if layer.bias is not None:
            arrays[f"b{i}"] = layer.bias
    return header, arrays


def load_network(path: str | os.PathLike[str]) -> Network:
    """Read a network; refuse what is damaged, foreign or newer."""
    header, arrays = read_archive(path, "path", _FORMAT, _VERSIONS, "a file written by MLP.save")
    try:
        return restored(header, arrays)
    # The checksum is right: something else wrote this, or an activation of a newer version.
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"path={str(path)!r}: not a network that this version knows: {error!r}"
        ) from error


def restored(header: dict[str, Any], arrays: dict[str, FloatArray]) -> Network:
    """Return the network of a header and its arrays; any error of Python's if there is none."""
    phi = activations.restore(header["activation"], tuple(header["activation_parameters"]))
    layers = [
        Layer(
            arrays[f"W{i}"],
            arrays[f"b{i}"] if entry["bias"] else None,
            entry["weight_scale"],
            entry["bias_scale"],
            tuple(entry.get("kernel_weights", (1.0, 1.0))),
        )
        for i, entry in enumerate(header["layers"], start=1)
    ]
    # The core takes sizes as given.
    columns = layers[0].weights.shape[-1]
    for layer in layers:
        rows = len(layer.weights)
        parts = [layer.weights] if layer.bias is None else [layer.weights, layer.bias]
        if {part.dtype for part in parts} != {layers[0].weights.dtype} or [
            part.shape for part in parts
        ] != [(rows, columns), (rows,)][: len(parts)]:
            raise ValueError("shapes or precisions of its layers do not fit together")
        columns = rows
    psi: OutputActivation = LINEAR
    if "output_activation" in header:
        psi = restore_output(
            header["output_activation"], tuple(header["output_activation_parameters"])
        )
    drawn = None
    if "drawn" in header:
        drawn = Drawn(header["drawn"]["seed"], tuple(header["drawn"]["init_scales"]))
    return Network.of_layers(layers, phi, header["activation_scale"], psi, drawn)
