# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules as networks: what is plain is read, everything else is refused.

PyTorch is not imported here: whoever gives a module has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations
from fastntk._support.arguments import shown
from fastntk.activations.outputs import LINEAR, Softmax, restore_output
from fastntk.activations.outputs import output_activation as checked_output_activation
from fastntk.devices import matrices
from fastntk.devices.processor import PROCESSOR
from fastntk.networks.network import Network
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.torch_states import maps_of_state
from fastntk.networks.torch_tensors import AffineMap, array_of, layers_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.activations import Activation
    from fastntk.activations.activation import TorchModule
    from fastntk.activations.outputs import OutputActivation


# The names of activations and what is known of their modules, by the name of the class in torch.nn:
# GELU is two of them.
_ACTIVATIONS: dict[str, list[tuple[str, TorchModule]]] = {}
for _phi in map(activations.get, activations.names()):
    if _phi.module is not None:
        _ACTIVATIONS.setdefault(_phi.module.name, []).append((_phi.name, _phi.module))
# Those that only the outputs have.
_OF_OUTPUTS = {Softmax.module.name: [(Softmax.name, Softmax.module)]}
# A leaky ReLU whose slope is a tensor.
_PRELU = "PReLU"
_PASSED_OVER = ("Dropout", "Flatten", "Identity")
_EXPECTED = (
    f"expected a torch.nn.Sequential of {', '.join(['Linear', *sorted([*_ACTIVATIONS, _PRELU])])}, "
    "Softmax at the end, Identity, Flatten, and Dropout in evaluation mode, each of exactly this "
    "class"
)

# Where a module and a tensor keep functions that are called with its outputs or its gradients.
_MODULE_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")

# The outputs of the network and the module are compared for so many random samples, in float64. A
# Softplus is linear above its threshold, which changes values by up to 1e-10 of them; rounding is
# far below. Another network differs by far more than this part of its largest output.
_SAMPLES = 8
_TOLERANCE = 1e-6
# The same for outputs that the user has, by the least precise of the arrays.
_CHECK_TOLERANCES = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-8}


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
        maps, phi, psi = _parts_of(module)
        network = Network.of_layers(layers_of(maps), phi, 1.0, psi)
        _require_same(module, network)
    if check is not None:
        _require_outputs(network, check)
    return network


def _parts_of(module: Any) -> tuple[list[AffineMap], Activation, OutputActivation]:
    """Return the affine maps of a module, and the activations between them and of the outputs."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise TypeError(f"module is of class {_class_of(module)}: {_EXPECTED}; or its state_dict")
    classes = {
        getattr(torch.nn, name): known for name, known in (_ACTIVATIONS | _OF_OUTPUTS).items()
    }
    maps: list[AffineMap] = []
    # What stands after each Linear, and where.
    between: list[tuple[str, OutputActivation | None]] = []
    for path, part in _flat(module, "module", torch.nn):
        if type(part) is torch.nn.Linear:
            maps.append(_map_of(part, path, torch.nn))
            between.append((path, None))
        elif type(part) in classes or type(part) is torch.nn.PReLU:
            if not between or between[-1][1] is not None:
                raise ValueError(f"{path} is {part!r}: expected one activation after a Linear")
            if type(part) is torch.nn.PReLU:
                between[-1] = path, activations.leaky_relu(_slope_of(part, path, torch.nn))
            else:
                between[-1] = path, _activation_of(part, path, classes[type(part)])
        else:
            _require_identity(part, path, torch.nn)
    if not maps:
        raise ValueError(f"module={module!r}: expected at least one Linear")
    _, last = between[-1]
    for path, phi in between[:-1]:
        if isinstance(phi, Softmax):
            raise ValueError(f"{path} is a Softmax between layers: expected one at the end alone")
        if phi != between[0][1]:
            raise ValueError(
                f"{path} ends a layer with {phi or 'no activation'}, {between[0][0]} one with "
                f"{between[0][1] or 'none'}: expected the same activation after every Linear "
                "but the last"
            )
    first = between[0][1] if len(between) > 1 else None
    assert not isinstance(first, Softmax)
    return maps, first or activations.get("identity"), last or LINEAR


def _activation_of(
    part: Any, path: str, known: Sequence[tuple[str, TorchModule]]
) -> OutputActivation:
    """Return the activation of a module, of those of its class the one that it computes."""
    reasons = []
    for name, of_class in known:
        try:
            return restore_output(name, of_class.parameters(part))
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(f"{path}: {'; or '.join(reasons)}")


def _slope_of(prelu: Any, path: str, nn: Any) -> float:
    """Return the slope of a PReLU below 0; it is no parameter of the network."""
    name = f"{path}.weight"
    weight = _plain_parameter(prelu.weight, name, nn)
    if weight.numel() != 1:
        raise ValueError(
            f"{name} has {weight.numel()} slopes: expected one, PReLU(1), the same for all units"
        )
    if weight.requires_grad:
        raise ValueError(
            f"{name} is trained: expected requires_grad=False, as the slope of a leaky ReLU is no "
            "parameter of the network, and the kernel has no part of it; "
            "requires_grad_(False) freezes it"
        )
    return float(weight)


def _flat(module: Any, path: str, nn: Any) -> list[tuple[str, Any]]:
    """Return the parts of a Sequential, of those in it too, with their paths; all are plain."""
    _require_plain(module, path, nn)
    if type(module) is not nn.Sequential:
        return [(path, module)]
    parts = []
    # Not named_children, which leaves out what is there twice.
    for index, (name, child) in enumerate(vars(module)["_modules"].items()):
        at = f"{path}[{index}]" if name.isdigit() else f"{path}.{name}"
        parts += _flat(child, at, nn)
    return parts


def _require_plain(part: Any, path: str, nn: Any) -> None:
    """Refuse a module of a class that is not known, or that does something else than it says."""
    own = vars(part)
    hooks = [name.strip("_").replace("_", " ") for name in _MODULE_HOOKS if own.get(name)]
    if nn.utils.parametrize.is_parametrized(part):
        raise ValueError(
            f"{path} has a parametrization of {', '.join(part.parametrizations)}: expected plain "
            "parameters, with respect to which the kernel is taken; "
            "torch.nn.utils.parametrize.remove_parametrizations makes them"
        )
    if type(part) not in {
        getattr(nn, name)
        for name in ("Sequential", "Linear", _PRELU, *_PASSED_OVER, *_ACTIVATIONS, *_OF_OUTPUTS)
    }:
        hint = ""
        if isinstance(part, (nn.Sequential, nn.Linear)):
            hint = " (a class derived from one of them may compute something else)"
        raise ValueError(f"{path} is of class {_class_of(part)}: {_EXPECTED}{hint}")
    if hooks:
        raise ValueError(
            f"{path} has {', '.join(hooks)}: expected a module without hooks, which may change "
            "its weights, outputs or gradients; call remove() of their handles, or "
            "torch.nn.utils.remove_weight_norm, remove_spectral_norm or prune.remove"
        )
    if "forward" in own:
        raise ValueError(f"{path} has a forward of its own: expected that of {_class_of(part)}")
    if own.get("_compiled_call_impl") is not None:
        raise ValueError(
            f"{path} has been compiled: expected a module as it was before module.compile(), such "
            "as copy.deepcopy(module)"
        )
    known = {nn.Linear: {"weight", "bias"}, nn.PReLU: {"weight"}}
    parameters = known.get(type(part), set())
    # The dictionaries themselves: the methods leave out what is there twice.
    found = {name for name, value in own["_parameters"].items() if value is not None} - parameters
    found |= {name for name, value in own["_buffers"].items() if value is not None}
    found |= set() if type(part) is nn.Sequential else set(own["_modules"])
    if found:
        raise ValueError(
            f"{path} has {', '.join(sorted(found))} of its own: expected {_class_of(part)} with "
            f"{_listed(parameters)} only"
        )


def _listed(parameters: set[str]) -> str:
    if not parameters:
        return "no parameters or buffers"
    return " and ".join(f"a {name}" for name in sorted(parameters, reverse=True))


def _map_of(linear: Any, path: str, nn: Any) -> AffineMap:
    result = AffineMap((f"{path}.weight", f"{path}.bias"), linear.weight, linear.bias)
    for name, tensor in result.tensors:
        _plain_parameter(tensor, name, nn)
    return result


def _plain_parameter(tensor: Any, name: str, nn: Any) -> Any:
    """Return a parameter that is nothing else."""
    if type(tensor) is not nn.Parameter:
        raise ValueError(f"{name} is of class {_class_of(tensor)}: expected a torch.nn.Parameter")
    hooks = [
        hook.strip("_").replace("_", " ") for hook in _TENSOR_HOOKS if getattr(tensor, hook, None)
    ]
    if hooks:
        raise ValueError(
            f"{name} has {', '.join(hooks)}: expected a parameter without hooks, which may "
            "change its gradient; call remove() of their handles"
        )
    return tensor


def _require_identity(part: Any, path: str, nn: Any) -> None:
    """Refuse what does more than hand on the rows of a matrix."""
    if type(part) is nn.Identity:
        return
    if type(part) is nn.Flatten:
        if (part.start_dim, part.end_dim) == (1, -1):
            return
        raise ValueError(
            f"{path} is {part!r}: expected start_dim=1 and end_dim=-1, which make rows of samples"
        )
    # What is left of the classes that are known is Dropout.
    if part.training:
        raise ValueError(
            f"{path} is {part!r} in training mode: expected Dropout in evaluation mode "
            "(module.eval()), in which it does nothing"
        )


def _require_same(module: Any, network: Network) -> None:
    """Refuse a network with other outputs, or another number of parameters, than the module."""
    torch = sys.modules["torch"]
    slopes = {id(part.weight) for part in module.modules() if type(part) is torch.nn.PReLU}
    count = sum(
        parameter.numel() for parameter in module.parameters() if id(parameter) not in slopes
    )
    if count != network.n_parameters:
        raise ValueError(
            f"module has {count} parameters, {count - network.n_parameters:+d} than its layers "
            f"have: expected {network.n_parameters}, their weights and biases"
        )
    X = np.random.default_rng(0).standard_normal((_SAMPLES, network.input_width))
    # In float64 on the processor, whatever precision products have elsewhere. Numbers are only
    # lent to the module: it keeps its parameters, their gradients, its mode and its device.
    lent = {
        name: parameter.detach().to("cpu", torch.float64)
        for name, parameter in module.named_parameters()
    }
    with torch.no_grad():
        found = torch.func.functional_call(module, lent, (torch.from_numpy(X),))
    actual = array_of(found, "module(X)")
    _require_close(
        _outputs(network, X), actual, _TOLERANCE, f"module computes for {_SAMPLES} random samples"
    )


def _require_outputs(network: Network, check: tuple[Any, Any]) -> None:
    """Refuse a network whose outputs are not those that somebody has."""
    if not isinstance(check, (tuple, list)) or len(check) != 2:
        raise TypeError(f"check={shown(check)}: expected None or a pair of arrays (X, outputs)")
    X, given = (array_of(values, f"check[{i}]") for i, values in enumerate(check))
    dtypes = (network.dtype, X.dtype, given.dtype)
    dtype = np.dtype(np.float32 if np.dtype(np.float32) in dtypes else np.float64)
    samples = matrices.samples(X, "check[0]", columns=network.input_width)
    rows = given[:, np.newaxis] if given.ndim == 1 and network.n_outputs == 1 else given
    outputs = matrices.matrix(rows, "check[1]", given=given)
    _require_close(_outputs(network, samples), outputs, _CHECK_TOLERANCES[dtype], "check[1] has")


def _outputs(network: Network, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    double = network.with_dtype(np.dtype(np.float64))
    values: npt.NDArray[np.float64] = PlacedNetwork(double, PROCESSOR).evaluate(
        X.astype(np.float64)
    )
    return values


def _require_close(
    outputs: npt.NDArray[np.float64], wanted: npt.NDArray[Any], tolerance: float, whose: str
) -> None:
    if wanted.shape != outputs.shape:
        raise ValueError(
            f"{whose} outputs of shape {wanted.shape}: expected {outputs.shape}, as the network of "
            "its layers has"
        )
    largest = float(np.abs(outputs).max())
    difference = float(np.abs(outputs - wanted).max())
    if not difference <= tolerance * largest:
        raise ValueError(
            f"{whose} outputs that differ by up to {difference:.3g} from those of the network of "
            f"its layers, the largest of which is {largest:.3g}: expected at most "
            f"{tolerance:g} of it; something else is computed than affine maps with the activation "
            "between them"
        )


def _class_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
