# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training that was interrupted, in a file: everything that the rest of it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.archives import checked_path, read_archive, write_archive
from fastntk._support.digests import sha256
from fastntk.activations import Activation
from fastntk.activations.identities import activation_identity
from fastntk.layers.steps import Activate, label
from fastntk.networks.network import Network
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from fastntk._support.dtypes import FloatArray
    from fastntk.activations.outputs import OutputActivation
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.training.descent import Sgd

_FORMAT = "fastntk checkpoint"
_EXPECTED = "a checkpoint written by fastntk.train"
_VERSION = 1


class Checkpoint:
    """A file that continues one call of `fastntk.train` and no other.

    `call` says what makes the call: numbers and names as they are, arrays by their hash.
    """

    def __init__(self, path: str | os.PathLike[str], call: Mapping[str, Any]) -> None:
        self._path = checked_path(path, "checkpoint")
        self._call = {name: _description(value) for name, value in call.items()}

    def write(self, state: Mapping[str, Any], sgd: Sgd) -> None:
        """Write the state (of what JSON knows) and the arrays that change."""
        header = {"format": _FORMAT, "version": _VERSION, "call": self._call, "state": dict(state)}
        write_archive(self._path, header, _arrays(sgd), "checkpoint")

    def read(self, sgd: Sgd) -> dict[str, Any] | None:
        """Return the state and put the arrays back; None if there is no file yet."""
        try:
            header, arrays = read_archive(
                self._path,
                "checkpoint",
                _FORMAT,
                (_VERSION,),
                _EXPECTED,
            )
        except FileNotFoundError:
            return None
        written, state = header.get("call"), header.get("state")
        if not isinstance(written, dict) or not isinstance(state, dict):
            raise ValueError(f"checkpoint={self._path!r}: not {_EXPECTED}, or damaged")
        different = [name for name, value in self._call.items() if written.get(name) != value]
        if different:
            raise ValueError(
                f"checkpoint={self._path!r}: expected one of the same call, but "
                f"{', '.join(different)} differ; remove the file to start anew"
            )
        targets = _arrays(sgd)
        if any(name not in arrays or arrays[name].shape != targets[name].shape for name in targets):
            raise ValueError(
                f"checkpoint={self._path!r}: not {_EXPECTED}, or damaged: arrays are missing "
                "or have other shapes"
            )
        for name, array in targets.items():
            array[...] = arrays[name]
        return state


def _arrays(sgd: Sgd) -> dict[str, FloatArray]:
    return {
        f"{what}_{layer}_{('weights', 'bias')[kind]}": array
        for what, arrays in (("trained", sgd.parameters), ("velocity", sgd.velocities))
        for (layer, kind), array in arrays.items()
    }


def network_description(network: AnyNetwork) -> dict[str, Any]:
    """Return what a checkpoint must agree with of the network at the start."""
    arrays = [array for layer in network.layers for array, _ in layer.arrays]
    if isinstance(network, WiredNetwork):
        steps = [step for step in network.steps.steps if isinstance(step, Activate)]
        return {
            "net": arrays,
            "layers": list(map(repr, network.description)),
            "scales": [list(layer.kernel_weights) for layer in network.layers],
            **_own_functions({label(step): step.layer.phi for step in steps}),
        }
    assert isinstance(network, Network)
    phi, psi = network.activation, network.output_activation
    scales = [[layer.weight_scale, layer.bias_scale] for layer in network.layers]
    # Checkpoints of networks of which nothing is frozen say nothing of it.
    frozen = [] if network.kernel_weights is None else list(map(list, network.kernel_weights))
    # Nor do those of linear outputs say that they are linear.
    outputs = [] if network.has_linear_outputs else [repr(psi)]
    return {
        "net": arrays,
        "activation": [repr(phi), network.activation_scale, *outputs],
        "scales": scales + frozen,
        **_own_functions({f"activation={phi!r}": phi, f"output_activation={psi!r}": psi}),
    }


def _own_functions(given: Mapping[str, Activation | OutputActivation]) -> dict[str, Any]:
    """Return the values of functions of the user's, which may share a name with others."""
    return {
        f"values of {name}": activation_identity(phi)
        for name, phi in given.items()
        if isinstance(phi, Activation) and phi.identity is not None
    }


def _description(value: Any) -> Any:
    arrays = value if isinstance(value, list) else [value]
    if not all(isinstance(array, np.ndarray) for array in arrays):
        return value
    parts: list[str | FloatArray] = []
    for array in arrays:
        parts += [f"{array.dtype.str} {array.shape}", array]
    return sha256(*parts)
