# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks in files: one ``.npz`` archive of plain arrays, with a version and a checksum."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations
from fastntk._atomic import replacing
from fastntk._network import Layer, Network

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from fastntk._typing import FloatArray

_FORMAT = "fastntk network"
_VERSION = 1


def save_network(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network with one readout to an ``.npz`` file, completely or not at all."""
    check_name(path, "path")
    phi = network.activation
    if phi.name not in activations.names():
        raise ValueError(
            f"activation={phi!r}: expected one that fastntk knows by name; a custom function "
            "cannot be written to a file"
        )
    header: dict[str, Any] = {
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
    arrays: dict[str, FloatArray] = {}
    for i, layer in enumerate(network.layers, start=1):
        arrays[f"W{i}"] = layer.weights
        if layer.bias is not None:
            arrays[f"b{i}"] = layer.bias
    write_archive(path, {"format": _FORMAT, "version": _VERSION, **header}, arrays)


def load_network(path: str | os.PathLike[str]) -> Network:
    """Read a network; refuse what is damaged, foreign or newer."""
    header, arrays = read_archive(path, "path", _FORMAT, _VERSION, "a file written by MLP.save")
    phi = activations.restore(header["activation"], tuple(header["activation_parameters"]))
    layers = [
        Layer(
            arrays[f"W{i}"],
            arrays[f"b{i}"] if entry["bias"] else None,
            entry["weight_scale"],
            entry["bias_scale"],
        )
        for i, entry in enumerate(header["layers"], start=1)
    ]
    return Network.of_layers(layers, phi, header["activation_scale"])


def check_name(path: str | os.PathLike[str], name: str) -> None:
    """Refuse the name of an archive without its ending, which NumPy would add."""
    if Path(path).suffix != ".npz":
        raise ValueError(f"{name}={str(path)!r}: expected a file that ends in .npz")


def write_archive(
    path: str | os.PathLike[str], header: dict[str, Any], arrays: Mapping[str, FloatArray]
) -> None:
    """Write arrays and what JSON can say about them, completely or not at all."""
    signed = {**header, "sha256": _checksum(header, arrays)}
    with replacing(path) as temporary:
        np.savez(temporary, header=np.array(json.dumps(signed)), **arrays)  # type: ignore[arg-type]


def read_archive(
    path: str | os.PathLike[str], name: str, file_format: str, version: int, expected: str
) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return header and arrays of a file; refuse what is damaged, foreign or newer."""
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            arrays = {key: archive[key] for key in archive.files if key != "header"}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.error) as error:
        what = file_format.removeprefix("fastntk ")
        raise ValueError(f"{name}={str(path)!r}: not a {what}, or damaged: {error}") from error
    if not isinstance(header, dict) or header.get("format") != file_format:
        raise ValueError(f"{name}={str(path)!r}: expected {expected}")
    if header.get("version") != version:
        raise ValueError(
            f"{name}={str(path)!r}: has version {header.get('version')!r} of the format; expected "
            f"{version}"
        )
    if header.pop("sha256", None) != _checksum(header, arrays):
        raise ValueError(f"{name}={str(path)!r}: the checksum does not match: the file is damaged")
    return header, arrays


def _checksum(header: dict[str, Any], arrays: Mapping[str, FloatArray]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
