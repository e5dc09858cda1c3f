# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules, taken apart: what is plain is read, everything else is refused.

PyTorch is not imported here: whoever gives a module has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.activations.outputs import Softmax, restore_output
from fastntk.networks.torch_tensors import AffineMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastntk.activations.activation import TorchModule
    from fastntk.activations.outputs import OutputActivation

    # What somebody says of the classes of their own: which parts their modules consist of.
    Blocks: TypeAlias = Mapping[type, Callable[[Any], Any]]


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
_NORMALIZATIONS = ("LayerNorm", "RMSNorm", "BatchNorm1d")
# What modules may have of their own.
_PARAMETERS = {
    "Linear": {"weight", "bias"},
    _PRELU: {"weight"},
    "LayerNorm": {"weight", "bias"},
    "RMSNorm": {"weight"},
    "BatchNorm1d": {"weight", "bias"},
    "Rescale": {"weight", "bias"},
}
_BUFFERS = {"BatchNorm1d": {"running_mean", "running_var", "num_batches_tracked"}}
_MODULES = {"Residual": {"branch", "projection"}}
_LINEAR_PARTS = ", ".join(["Linear", *sorted([*_ACTIVATIONS, _PRELU])])
_PLAIN = "Identity, Flatten, and Dropout in evaluation mode, each of exactly this class"
_EXPECTED_CHAIN = (
    f"expected a torch.nn.Sequential of {_LINEAR_PARTS}, Softmax at the end, {_PLAIN}; "
    "fastntk.from_torch also reads normalizations, and skip connections that blocks= describes"
)
_EXPECTED = (
    f"expected a torch.nn.Sequential of {_LINEAR_PARTS}, LayerNorm, RMSNorm, BatchNorm1d in "
    f"evaluation mode, {_PLAIN}; or a class of your own that blocks= describes"
)
_BLOCK_KEYS = ("layers", "scale", "projection")

# Where a module and a tensor keep functions that are called with its outputs or its gradients.
_MODULE_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


@dataclass(frozen=True)
class Activated:
    """An activation, times a factor."""

    path: str
    shown: str  # the module, in messages
    function: OutputActivation
    factor: float = 1.0

    @property
    def tensors(self) -> list[tuple[str, Any]]:
        """None."""
        return []


@dataclass(frozen=True)
class Normalized:
    """A normalization over the neurons of each sample, with a gain and a shift where there are."""

    path: str
    shown: str
    width: int
    centered: bool
    epsilon: float | None  # None: that of the precision
    gain: Any
    shift: Any

    @property
    def tensors(self) -> list[tuple[str, Any]]:
        """The names and tensors of the gain and of the shift, those that there are."""
        return _elementwise(self.path, ("weight", "bias"), self.gain, self.shift)


@dataclass(frozen=True)
class Rescaled:
    """A gain and a shift of each neuron, those that there are.

    Those that were made of statistics are no parameters of the module.
    """

    path: str
    shown: str
    width: int
    gain: Any
    shift: Any
    of_statistics: bool = False

    @property
    def tensors(self) -> list[tuple[str, Any]]:
        """The names and tensors of the gain and of the shift, those that there are."""
        names = ("running_var", "running_mean") if self.of_statistics else ("weight", "bias")
        return _elementwise(self.path, names, self.gain, self.shift)


@dataclass(frozen=True)
class Branched:
    """A skip connection: h + scale · branch(h), or with a projection of the former."""

    path: str
    parts: tuple[Part, ...]
    scale: float
    projection: AffineMap | None

    @property
    def tensors(self) -> list[tuple[str, Any]]:
        """Those of the projection, and of the branch."""
        parts = self.parts if self.projection is None else (self.projection, *self.parts)
        return tensors_of(parts)


Part: TypeAlias = AffineMap | Activated | Normalized | Rescaled | Branched


def tensors_of(parts: Sequence[Part]) -> list[tuple[str, Any]]:
    """Return the names and tensors of parts, in the order of computation."""
    return [pair for part in parts for pair in part.tensors]


def statistics_of(parts: Sequence[Part]) -> int:
    """Return how many numbers of the parts are made of statistics, and no parameters."""
    count = 0
    for part in parts:
        if isinstance(part, Branched):
            count += statistics_of(part.parts)
        elif isinstance(part, Rescaled) and part.of_statistics:
            count += 2 * part.width
    return count


def with_tensors(parts: Sequence[Part], other: Callable[[Any], Any]) -> list[Part]:
    """Return parts that compute the same with other tensors; `other` is asked for each of them."""

    def exchanged(tensor: Any) -> Any:
        return None if tensor is None else other(tensor)

    def with_others(part: Part) -> Part:
        if isinstance(part, AffineMap):
            return affine(part)
        if isinstance(part, (Normalized, Rescaled)):
            return replace(part, gain=exchanged(part.gain), shift=exchanged(part.shift))
        if isinstance(part, Branched):
            projection = None if part.projection is None else affine(part.projection)
            inner = tuple(map(with_others, part.parts))
            return replace(part, parts=inner, projection=projection)
        return part

    def affine(part: AffineMap) -> AffineMap:
        return replace(part, weight=other(part.weight), bias=exchanged(part.bias))

    return list(map(with_others, parts))


def _elementwise(path: str, names: tuple[str, str], gain: Any, shift: Any) -> list[tuple[str, Any]]:
    both = zip(names, (gain, shift), strict=True)
    return [(f"{path}.{name}", tensor) for name, tensor in both if tensor is not None]


def parts_of(module: Any, blocks: Blocks | None) -> list[Part]:
    """Return what a module computes, part by part.

    Parameters
    ----------
    module : torch.nn.Module
    blocks : mapping of classes to functions, or None
        See `fastntk.from_torch`; None where a chain of layers is wanted.

    Raises
    ------
    TypeError, ValueError
        If there is anything that is not known, with its place.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"module is of class {_class_of(module)}: "
            + (f"{_EXPECTED_CHAIN}; or its state_dict" if blocks is None else _EXPECTED)
        )
    walk = _Walk(torch.nn, blocks)
    return walk.parts(module, "module")


class _Walk:
    """Modules that are being taken apart."""

    def __init__(self, nn: Any, blocks: Blocks | None) -> None:
        # Modules that this package made; with PyTorch, which is there by now.
        from fastntk.networks import torch_layers

        self._nn, self._own = nn, torch_layers
        self._blocks = {} if blocks is None else _checked_blocks(blocks, self._classes)
        self._expected = _EXPECTED_CHAIN if blocks is None else _EXPECTED
        self._activations = {
            getattr(nn, name): known for name, known in (_ACTIVATIONS | _OF_OUTPUTS).items()
        }
        # How modules are called that a block handed out, and which are being taken apart.
        self._names: dict[int, str] = {}
        self._open: list[Any] = []

    @property
    def _classes(self) -> set[type]:
        known = ("Sequential", *_NORMALIZATIONS, "Linear", _PRELU, *_PASSED_OVER)
        names = (*known, *_ACTIVATIONS, *_OF_OUTPUTS)
        own = self._own.Residual, self._own.Rescale, self._own.Scale
        # Early versions of PyTorch have no RMSNorm.
        return {getattr(self._nn, name) for name in names if hasattr(self._nn, name)} | {*own}

    def parts(self, module: Any, path: str) -> list[Part]:
        """Return the parts of a module, which is plain."""
        path = self._names.get(id(module), path)
        if not isinstance(module, self._nn.Module):
            raise TypeError(f"{path} is of class {_class_of(module)}: {self._expected}")
        describe = self._blocks.get(type(module))
        self._require_plain(module, path, described=describe is not None)
        if describe is None and type(module) not in {self._nn.Sequential, self._own.Residual}:
            return self._leaf(module, path)
        if any(module is each for each in self._open):
            raise ValueError(f"{path} is a part of itself: expected parts of it, from blocks=")
        self._open.append(module)
        if type(module) is not self._nn.Sequential:
            for name, inner in module.named_modules(remove_duplicate=False):
                self._names.setdefault(id(inner), path + _dotted(name))
        if describe is not None:
            made = describe(module)
            made = [made] if isinstance(made, (Mapping, self._nn.Module)) else made
            found = self._listed(made, f"blocks[{type(module).__name__}]({path})")
        elif type(module) is self._own.Residual:
            branch, projection = module.branch, module.projection
            found = [self._branched([branch], module.scale, projection, path)]
        else:
            # Not named_children, which leaves out what is there twice.
            children = vars(module)["_modules"].items()
            found = list(
                self._joined((child, f"{path}{_dotted(name)}") for name, child in children)
            )
        self._open.pop()
        return found

    def _listed(self, made: Any, path: str) -> list[Part]:
        """Return the parts of what a block was said to consist of."""
        if not isinstance(made, (list, tuple)):
            raise TypeError(
                f"{path} is {shown(made)}: expected a list of modules, and of dicts of "
                f"{', '.join(map(repr, _BLOCK_KEYS))} for skip connections"
            )
        return list(self._joined((each, f"{path}[{i}]") for i, each in enumerate(made)))

    def _joined(self, placed: Iterator[tuple[Any, str]]) -> Iterator[Part]:
        """Yield the parts of what stands in a row, each with its place."""
        last: Part | None = None
        for each, path in placed:
            if type(each) is self._own.Scale:
                self._require_plain(each, path, described=False)
                if isinstance(last, Activated):
                    last = replace(last, factor=last.factor * each.factor)
                    continue
            made = [self._skip(each, path)] if isinstance(each, Mapping) else self.parts(each, path)
            for part in made:
                if last is not None:
                    yield last
                last = part
        if last is not None:
            yield last

    def _skip(self, given: Mapping[str, Any], path: str) -> Branched:
        """Return the skip connection that a dict describes."""
        unknown = [key for key in given if key not in _BLOCK_KEYS]
        if unknown or "layers" not in given:
            raise ValueError(
                f"{path} has the keys {', '.join(map(repr, given)) or 'of an empty dict'}: "
                "expected 'layers', and perhaps 'scale' and 'projection', as for "
                "fastntk.layers.Residual"
            )
        scale = arguments.real(given.get("scale", 1.0), f"{path}['scale']", minimum=0.0)
        return self._branched(given["layers"], scale, given.get("projection"), path)

    def _branched(self, made: Any, scale: float, projection: Any, path: str) -> Branched:
        made = [made] if isinstance(made, (Mapping, self._nn.Module)) else made
        parts = self._listed(made, f"{path}['layers']")
        if not parts:
            raise ValueError(f"{path}: the branch of a skip connection computes nothing")
        affine: AffineMap | None = None
        if projection is not None:
            for found in self.parts(projection, f"{path}['projection']"):
                if affine is not None or not isinstance(found, AffineMap):
                    raise ValueError(
                        f"{self._names.get(id(projection), path)} is a projection of a skip "
                        "connection: expected a Linear"
                    )
                affine = found
        return Branched(path, tuple(parts), scale, affine)

    def _leaf(self, part: Any, path: str) -> list[Part]:
        """Return the parts of a module that has none of its own."""
        nn, kind = self._nn, type(part)
        found: list[Part] = []
        if kind is nn.Linear:
            found.append(AffineMap((f"{path}.weight", f"{path}.bias"), part.weight, part.bias))
        elif kind in self._activations:
            function = _activation_of(part, path, self._activations[kind])
            found.append(Activated(path, repr(part), function))
        elif kind is nn.PReLU:
            slope = activations.leaky_relu(_slope_of(part, path, nn))
            found.append(Activated(path, repr(part), slope))
        elif kind is self._own.Scale:
            identity = activations.get("identity")
            found.append(Activated(path, repr(part), identity, part.factor))
        elif kind is self._own.Rescale:
            found.append(Rescaled(path, repr(part), part.width, part.weight, part.bias))
        elif kind is nn.BatchNorm1d:
            found += _batch_normalization(part, path, nn)
        elif kind.__name__ in _NORMALIZATIONS:
            found.append(_normalized(part, path, centered=kind is nn.LayerNorm))
        else:
            _require_identity(part, path, nn)
        for name, tensor in tensors_of(found):
            _plain_parameter(tensor, name, nn)
        return found

    def _require_plain(self, part: Any, path: str, *, described: bool) -> None:
        """Refuse a module of an unknown class, or that does something else than it says."""
        own, nn = vars(part), self._nn
        hooks = [name.strip("_").replace("_", " ") for name in _MODULE_HOOKS if own.get(name)]
        if nn.utils.parametrize.is_parametrized(part):
            raise ValueError(
                f"{path} has a parametrization of {', '.join(part.parametrizations)}: expected "
                "plain parameters, with respect to which the kernel is taken; "
                "torch.nn.utils.parametrize.remove_parametrizations makes them"
            )
        if not described and type(part) not in self._classes:
            hint = ""
            if isinstance(part, (nn.Sequential, nn.Linear)):
                hint = " (a class derived from one of them may compute something else)"
            raise ValueError(f"{path} is of class {_class_of(part)}: {self._expected}{hint}")
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
                f"{path} has been compiled: expected a module as it was before module.compile(), "
                "such as copy.deepcopy(module)"
            )
        if described:
            return  # what it has of its own, and no part has, is found in the end
        name = type(part).__name__
        parameters, modules = _PARAMETERS.get(name, set()), _MODULES.get(name, set())
        # The dictionaries themselves: the methods leave out what is there twice.
        found = {key for key, value in own["_parameters"].items() if value is not None}
        found -= parameters
        found |= {key for key, value in own["_buffers"].items() if value is not None}
        found -= _BUFFERS.get(name, set())
        found |= set() if type(part) is nn.Sequential else set(own["_modules"]) - modules
        if found:
            raise ValueError(
                f"{path} has {', '.join(sorted(found))} of its own: expected {_class_of(part)} "
                f"with {_shown_parameters(parameters)} only"
            )


def _checked_blocks(blocks: Any, known: set[type]) -> Blocks:
    if not isinstance(blocks, Mapping):
        raise TypeError(
            f"blocks={shown(blocks)}: expected a dict of classes of modules, with a function each"
        )
    for of, describe in blocks.items():
        if not isinstance(of, type) or not callable(describe):
            raise TypeError(
                f"blocks={shown(blocks)}: expected classes of modules as keys, and for each a "
                "function that takes a module and returns the parts of it"
            )
        if of in known:
            raise ValueError(
                f"blocks has {of.__name__}, which is known: expected classes of your own"
            )
    return dict(blocks)


def _dotted(name: str) -> str:
    """Return how a module is called in another: "[0]", ".body", ".body[0].fc"."""
    parts = name.split(".") if name else []
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in parts)


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


def _normalized(part: Any, path: str, *, centered: bool) -> Normalized:
    """Return what a LayerNorm or RMSNorm computes."""
    shape = tuple(part.normalized_shape)
    if len(shape) != 1:
        raise ValueError(
            f"{path} is {part!r}: expected a normalized_shape of one number, the neurons of a layer"
        )
    shift = part.bias if centered else None
    return Normalized(path, repr(part), shape[0], centered, part.eps, part.weight, shift)


def _batch_normalization(part: Any, path: str, nn: Any) -> list[Part]:
    """Return what a batch normalization computes of one sample, with the statistics that it has.

    That is γ ∘ (s ∘ z + t) + β with s = 1/√(variance + ε) and t = −s ∘ mean: a gain and a shift
    that are frozen, and those that may be trained. The gradient with respect to γ is s ∘ z + t.
    """
    if part.training or part.running_mean is None or part.running_var is None:
        has = "in training mode" if part.training else "without running statistics"
        raise ValueError(
            f"{path} is {part!r} {has}: the outputs for a sample depend on all samples of its "
            "batch, and there is no kernel of two samples: expected evaluation mode "
            "(module.eval()), with running statistics"
        )
    mean, variance = part.running_mean.double(), part.running_var.double()
    if (variance + part.eps <= 0).any():
        raise ValueError(
            f"{path}.running_var has {float(variance.min()):g} as its smallest number, eps is "
            f"{part.eps:g}: expected a sum above 0, the square of a standard deviation"
        )
    inverse = (variance + part.eps).rsqrt()
    dtype = part.running_var.dtype
    gain, shift = (
        nn.Parameter(values.to(dtype), requires_grad=False) for values in (inverse, -mean * inverse)
    )
    found: list[Part] = [
        Rescaled(path, repr(part), part.num_features, gain, shift, of_statistics=True)
    ]
    if part.affine:
        found.append(Rescaled(path, repr(part), part.num_features, part.weight, part.bias))
    return found


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


def _shown_parameters(parameters: set[str]) -> str:
    if not parameters:
        return "no parameters or buffers"
    return " and ".join(f"a {name}" for name in sorted(parameters, reverse=True))


def _class_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
