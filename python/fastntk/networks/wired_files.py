# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks that are described by layers, in files: the layers in the header, and the parameters."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fastntk import activations, layers
from fastntk._support.archives import checked_path, checksum, read_archive, write_archive
from fastntk._support.files import require_own
from fastntk.activations.table import require_entry
from fastntk.layers.layer import Layer
from fastntk.networks.wired import WiredNetwork, with_arrays

if TYPE_CHECKING:
    import os

    from fastntk._support.dtypes import FloatArray

WIRED_FORMAT = "fastntk layers"
# How weights were drawn, "drawn", changes no number: earlier readers of version 1 overlook it.
_VERSIONS = (1,)

# The layers that files know, by their names.
_CLASSES: dict[str, type[Layer]] = {
    each.__name__: each
    for each in (
        layers.Activation,
        layers.Dense,
        layers.LayerNorm,
        layers.RMSNorm,
        layers.Rescale,
        layers.Residual,
    )
}


def save_wired(network: WiredNetwork, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write a network to an ``.npz`` file, completely or not at all."""
    name = checked_path(path, "path")
    content = described_wired(network)
    require_own(
        name,
        own=lambda: _is_alike(network, name),
        what="a network of the same layers",
        overwrite=overwrite,
    )
    write_archive(name, *content)


def _is_alike(network: WiredNetwork, path: str) -> bool:
    try:
        there = load_wired(path)
    except (OSError, ValueError):
        return False
    return (network.description, network.input_width) == (there.description, there.input_width)


def wired_digest(network: WiredNetwork) -> str:
    """Return a digest of everything that decides the function of a network, to the last bit."""
    header, arrays = described_wired(network)
    header.pop("drawn", None)
    return checksum(header, arrays)


def load_wired(path: str | os.PathLike[str]) -> WiredNetwork:
    """Read a network; refuse what is damaged, foreign or newer."""
    expected = "a file written by FiniteNetwork.save"
    header, arrays = read_archive(path, "path", WIRED_FORMAT, _VERSIONS, expected)
    try:
        return restored_wired(header, arrays)
    # The checksum is right: something else wrote this, or a layer of a newer version.
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"path={str(path)!r}: not a network that this version knows: {error!r}"
        ) from error


def restored_wired(header: dict[str, Any], arrays: dict[str, FloatArray]) -> WiredNetwork:
    """Return the network of a header and its arrays; any error of Python's if there is none."""
    description = tuple(_restored(entry) for entry in header["layers"])
    numbered = [arrays[f"p{i}"] for i in range(len(arrays))]
    seed = header["drawn"]["seed"] if "drawn" in header else None
    return with_arrays(description, header["inputs"], numbered, seed)


def described_wired(network: WiredNetwork) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return the header and the arrays that a file has of a network."""
    header: dict[str, Any] = {
        "format": WIRED_FORMAT,
        "version": _VERSIONS[0],
        "inputs": network.input_width,
        "layers": [_entry(layer, f"layers[{i}]") for i, layer in enumerate(network.description)],
    }
    if network.seed is not None:
        header["drawn"] = {"seed": network.seed}
    found = [array for layer in network.layers for array, _ in layer.arrays]
    return header, {f"p{i}": array for i, array in enumerate(found)}


def _entry(layer: Layer, path: str) -> dict[str, Any]:
    """Return what JSON has of a layer: its class and its parameters by their names."""
    entry: dict[str, Any] = {"layer": type(layer).__name__}
    for each in fields(layer):
        value = getattr(layer, each.name)
        if isinstance(value, activations.Activation):
            require_entry(value, f"{path}={layer!r}")
            value = {"name": value.name, "parameters": list(value.parameters)}
        elif isinstance(value, Layer):
            value = _entry(value, f"{path}.{each.name}")
        elif each.name == "layers":
            value = [_entry(inner, f"{path}.layers[{i}]") for i, inner in enumerate(value)]
        entry[each.name] = value
    return entry


def _restored(entry: dict[str, Any]) -> Layer:
    """Return the layer of an entry; any error of Python's if there is none."""
    parameters: dict[str, Any] = {}
    for name, value in entry.items():
        if name == "layer":
            continue
        if name == "activation":
            parameters[name] = activations.restore(value["name"], tuple(value["parameters"]))
        elif name == "layers":
            parameters[name] = [_restored(inner) for inner in value]
        else:
            parameters[name] = _restored(value) if isinstance(value, dict) else value
    return _CLASSES[entry["layer"]](**parameters)
