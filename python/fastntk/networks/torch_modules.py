# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules as networks: chains of affine maps with one activation between them.

PyTorch is not imported here: whoever gives a module has done so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastntk import activations
from fastntk._support.arguments import shown
from fastntk.activations.outputs import LINEAR, Softmax
from fastntk.activations.outputs import output_activation as checked_output_activation
from fastntk.networks.network import Network
from fastntk.networks.torch_checks import require_outputs, require_same
from fastntk.networks.torch_parts import Activated, parts_of
from fastntk.networks.torch_states import maps_of_state
from fastntk.networks.torch_tensors import AffineMap, layers_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastntk.activations import Activation
    from fastntk.activations.outputs import OutputActivation
    from fastntk.networks.torch_parts import Part


def network_of_torch(
    module: Any,
    activation: str | Activation | None,
    output_activation: str | OutputActivation,
    check: tuple[Any, Any] | None,
) -> Network:
    """Return the network that a Sequential or its state_dict is; see `MLP.from_torch`."""
    if isinstance(module, Mapping):
        if activation is None:
            raise ValueError(
                "activation=None: expected the activation, which a state_dict does not say"
            )
        maps, phi = maps_of_state(module, checked=check is not None), activations.get(activation)
        layers = layers_of(maps)
        psi = checked_output_activation(output_activation, len(layers[-1].weights))
        network = Network.of_layers(layers, phi, 1.0, psi)
    else:
        given = {"activation": activation, "output_activation": output_activation}
        for (name, value), default in zip(given.items(), (None, "identity"), strict=True):
            if value != default:
                raise ValueError(
                    f"{name}={shown(value)}: expected {default!r}, the module has activations of "
                    "its own"
                )
        parts = parts_of(module, None)
        fault = no_chain(parts)
        if fault is not None:
            raise ValueError(fault)
        network = chain_of(parts)
        require_same(module, parts, chain_of)
    if check is not None:
        require_outputs(network, check)
    return network


def no_chain(parts: Sequence[Part]) -> str | None:
    """Return why parts are no maps with one activation between them all; None if they are."""
    return next(_faults(parts), None)


def _faults(parts: Sequence[Part]) -> Iterator[str]:
    """Yield a reason, and then nothing of use."""
    reads = "fastntk.from_torch reads such modules"
    # What stands after each Linear, and where.
    between: list[tuple[str, OutputActivation | None]] = []
    for part in parts:
        if isinstance(part, AffineMap):
            between.append((part.path, None))
        elif not isinstance(part, Activated):
            yield (
                f"{part.path} is a normalization, a gain and a shift, or a skip connection: "
                f"expected none of them in an MLP; {reads}"
            )
        elif not between or between[-1][1] is not None:
            yield f"{part.path} is {part.shown}: expected one activation after a Linear; {reads}"
        elif part.factor != 1:
            yield f"{part.path} is {part.shown}, {part.factor:g} times: expected it once; {reads}"
        else:
            between[-1] = part.path, part.function
    if not between:
        yield "module: expected at least one Linear"
    for path, phi in between[:-1]:
        if isinstance(phi, Softmax):
            yield f"{path} is a Softmax between layers: expected one at the end alone"
        if phi != between[0][1]:
            yield (
                f"{path} ends a layer with {phi or 'no activation'}, {between[0][0]} one with "
                f"{between[0][1] or 'none'}: expected the same activation after every Linear "
                f"but the last; {reads}"
            )


def chain_of(parts: Sequence[Part]) -> Network:
    """Return the network of parts for which `no_chain` finds no fault."""
    maps = [part for part in parts if isinstance(part, AffineMap)]
    phis = [part.function for part in parts if isinstance(part, Activated)]
    last = phis.pop() if isinstance(parts[-1], Activated) else LINEAR
    first = phis[0] if phis else activations.get("identity")
    assert not isinstance(first, Softmax)
    return Network.of_layers(layers_of(maps), first, 1.0, last)
