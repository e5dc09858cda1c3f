# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Results as values and arrays, and back: what JSON and NumPy can say of them, and nothing runs.

Dataclasses are written field by field under the names of their classes, and made again only of
those classes that the reader lists.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations
from fastntk.activations.table import require_entry
from fastntk.architectures.finite import FiniteNetwork
from fastntk.mlp import MLP
from fastntk.networks.base import FiniteNetworkBase
from fastntk.networks.files import described, restored
from fastntk.networks.wired_files import WIRED_FORMAT, described_wired, restored_wired
from fastntk.training.networks import net_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastntk._support.dtypes import FloatArray


def encode(value: Any, arrays: dict[str, FloatArray]) -> Any:
    """Return what JSON can say of a value; arrays go to `arrays`, under new names."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, tuple):
        return {"tuple": [encode(each, arrays) for each in value]}
    if isinstance(value, dict):
        pairs = [[encode(key, arrays), encode(each, arrays)] for key, each in value.items()]
        return {"dict": pairs}
    return _encode_object(value, arrays)


def _encode_object(value: Any, arrays: dict[str, FloatArray]) -> dict[str, Any]:
    if isinstance(value, (MLP, FiniteNetwork)):
        header, weights = (
            described(value.network) if isinstance(value, MLP) else described_wired(value.network)
        )
        names = {name: encode(each, arrays)["array"] for name, each in weights.items()}
        return {"network": header, "arrays": names}
    if isinstance(value, activations.Activation):
        require_entry(value, f"activation={value!r}")
        return {"activation": value.name, "parameters": list(value.parameters)}
    if is_dataclass(value):
        content = {each.name: encode(getattr(value, each.name), arrays) for each in fields(value)}
        return {"class": type(value).__name__, "fields": content}
    raise TypeError(f"{type(value).__name__} cannot be written to a file")


def decode(value: Any, arrays: Mapping[str, FloatArray], classes: Mapping[str, type]) -> Any:
    """Return the value again; raise LookupError, TypeError or ValueError if there is none."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "tuple" in value:
        return tuple(decode(each, arrays, classes) for each in value["tuple"])
    if "dict" in value:
        return {
            decode(key, arrays, classes): decode(each, arrays, classes)
            for key, each in value["dict"]
        }
    return _decode_object(value, arrays, classes)


def _decode_object(
    value: dict[str, Any], arrays: Mapping[str, FloatArray], classes: Mapping[str, type]
) -> Any:
    if "network" in value:
        weights = {name: arrays[key] for name, key in value["arrays"].items()}
        header = value["network"]
        if header["format"] == WIRED_FORMAT:
            return net_of(restored_wired(header, weights))
        return net_of(restored(header, weights))
    if "activation" in value:
        return activations.restore(value["activation"], tuple(value["parameters"]))
    made: Any = classes[value["class"]]
    content = {name: decode(each, arrays, classes) for name, each in value["fields"].items()}
    # Fields that have a default were not in all versions of the files.
    required = {each.name for each in fields(made) if _has_no_default(each)}
    if not required <= set(content) <= {each.name for each in fields(made)}:
        raise ValueError(f"{value['class']} has other fields: {', '.join(sorted(content))}")
    return made(**content)


def same(one: Any, other: Any) -> bool:
    """Return whether two values that `encode` takes are equal, with arrays and NaN compared.

    Networks are compared by what they are made of.
    """
    if isinstance(one, FiniteNetworkBase) and isinstance(other, FiniteNetworkBase):
        one, other = one.network, other.network
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if type(one) is type(other) and is_dataclass(one):
        compared = [each.name for each in fields(one) if each.compare]
        return all(same(getattr(one, name), getattr(other, name)) for name in compared)
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is not np.ndarray and type(other) is not np.ndarray and bool(one == other)


def _has_no_default(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
