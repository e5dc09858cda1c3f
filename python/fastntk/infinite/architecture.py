# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What an infinitely wide network is made of, its parameters checked.

A parameter is given once for all layers, or as a sequence with one value for each. Layer l of every
network has the l-th value: where several depths are asked for, shallower networks are made of the
first layers of the deepest one, and their last layer takes the value that stands at its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.activations import Activation
from fastntk.infinite.duals import PiecewiseLinear, dual_of
from fastntk.infinite.several_depths import SeveralDepths

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastntk.infinite.duals import Dual

_DEFAULT_DEPTH = 3


class Layers(NamedTuple):
    """The layers of the deepest network, with one value for each.

    Attributes
    ----------
    weight_std, bias_std : tuple of float
        σ_w and σ_b of the layers 1 … L + 1, the inputs' first.
    activation_scale : tuple of float
        c_φ of the hidden layers 1 … L.
    duals : tuple of Dual
        The duals of the activations of the hidden layers 1 … L.
    """

    weight_std: tuple[float, ...]
    bias_std: tuple[float, ...]
    activation_scale: tuple[float, ...]
    duals: tuple[Dual, ...]

    def gain(self, hidden: int) -> float:
        """Return σ_w c_φ between the hidden layer of an index that begins at 0 and the next."""
        return self.weight_std[hidden + 1] * self.activation_scale[hidden]


@dataclass(frozen=True)
class Architecture(SeveralDepths):
    """A fully connected network of infinite width, at one or several depths.

    The parameters are those of `fastntk.infinite.Network`, which adds what can be asked of it. They
    are stored in one form, so that equal networks compare equal: activations as `Activation`,
    sequences as tuples, and a single value where all layers have the same.
    """

    depth: int | Sequence[int] | None = None
    activation: str | Activation | Sequence[str | Activation] = "relu"
    weight_std: float | Sequence[float] = 1.0
    bias_std: float | Sequence[float] = 0.0
    _: KW_ONLY
    activation_scale: float | Sequence[float | None] | None = None
    parametrization: str = "ntk"
    width: int | None = None
    layer_weights: ArrayLike | None = None
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        """Check all parameters and bring them into one form."""
        self._set("depth", _checked_depth(self._depth_of_sequences()))
        layers = self.depths[-1] + 1
        self._set("activation", _for_layers(self.activation, "activation", layers - 1, _activation))
        self._set("tolerance", arguments.tolerance(self.tolerance))
        self._set("weight_std", _for_layers(self.weight_std, "weight_std", layers, _positive))
        self._set("bias_std", _for_layers(self.bias_std, "bias_std", layers, _not_negative))
        self._set(
            "activation_scale",
            _for_layers(self.activation_scale, "activation_scale", layers - 1, _scale),
        )
        named = arguments.choice(self.parametrization, "parametrization", ("ntk", "standard"))
        self._set("parametrization", named)
        if self.layer_weights is not None:
            if self.parametrization != "ntk" or self.width is not None:
                raise ValueError(
                    f"layer_weights={shown(self.layer_weights)}: expected None with "
                    f"parametrization={self.parametrization!r} and width={shown(self.width)}, "
                    "which set them"
                )
            self._set("layer_weights", _checked_layer_weights(self.layer_weights, layers))
        elif self.parametrization == "standard":
            if self.width is not None:
                self._set("width", arguments.integer(self.width, "width", minimum=1))
            elif layers > 1:
                raise ValueError(
                    "width=None: expected the width of the hidden layers, because the kernel of "
                    "the standard parametrization grows in proportion to it"
                )
        elif self.width is not None:
            raise ValueError(
                f"width={shown(self.width)}: expected None in the NTK parametrization, whose "
                "kernel has a limit that is free of the width"
            )

    def __repr__(self) -> str:
        """Return the call that makes this network, without what is as it is by default."""
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if not field.kw_only or value != field.default:
                shown.append(f"{field.name}={_shown(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters alone: compiled loops lie elsewhere in another process."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _depth_of_sequences(self) -> int | Sequence[int]:
        """Return the depth as given, or else that of the parameters with a value for each layer."""
        if self.depth is not None:
            return self.depth
        for name, outer in (
            ("weight_std", 1),
            ("bias_std", 1),
            ("activation", 0),
            ("activation_scale", 0),
        ):
            value = getattr(self, name)
            if arguments.has_items(value):
                value = arguments.items(value, name, "values, one for each layer")
                self._set(name, value)
                if len(value) < outer:
                    raise ValueError(f"{name}={shown(value)}: expected at least one number")
                return len(value) - outer
        return _DEFAULT_DEPTH

    @property
    def layer_count(self) -> int:
        """How many layers there are, that of the outputs included."""
        return self.depths[-1] + 1

    @cached_property
    def layers(self) -> Layers:
        """All layers of the deepest network."""
        hidden = self.depths[-1]
        phis = _each(self.activation, hidden)
        return Layers(
            _each(self.weight_std, hidden + 1),
            _each(self.bias_std, hidden + 1),
            tuple(
                phi.scale if scale is None else scale
                for phi, scale in zip(phis, _each(self.activation_scale, hidden), strict=True)
            ),
            tuple(self._duals[self._different.index(phi)] for phi in phis),
        )

    @cached_property
    def _different(self) -> list[Activation]:
        """The different activations; at depth 0 the one that was given, although none is used."""
        different: list[Activation] = []  # no set: custom functions need not have a hash
        for phi in _each(self.activation, 1):
            if phi not in different:
                different.append(phi)
        return different

    @cached_property
    def _duals(self) -> tuple[Dual, ...]:
        return tuple(dual_of(phi, self.tolerance) for phi in self._different)

    @property
    def piecewise_linear(self) -> bool:
        """Whether all activations are linear on both sides of 0, so that the recursion compiles."""
        return all(isinstance(dual, PiecewiseLinear) for dual in self._duals)

    @cached_property
    def kinks(self) -> NDArray[np.float64]:
        """The kinks (L,) of the hidden layers' activations, where these are piecewise linear."""
        duals = self.layers.duals
        return np.array([dual.kink for dual in duals if isinstance(dual, PiecewiseLinear)])

    @property
    def keeps_unit_norms(self) -> bool:
        """Whether samples of norm √d keep it through all layers."""
        return (self.weight_std, self.bias_std, self.activation_scale) == (1.0, 0.0, None)

    def rates(self, dimension: int) -> NDArray[np.float64]:
        """Return the learning rates ω of the weights and the biases of each layer.

        Parameters
        ----------
        dimension : int
            Number of inputs d.

        Returns
        -------
        ndarray (layers, 2)
            Of the deepest network, the inputs' layer first.
        """
        weight_std, bias_std = self.layers.weight_std, self.layers.bias_std
        if self.layer_weights is not None:
            rates = np.array(self.layer_weights, dtype=np.float64).reshape(len(weight_std), -1)
            return np.broadcast_to(rates, (len(weight_std), 2))
        if self.parametrization == "ntk":
            return np.ones((len(weight_std), 2))
        widths = [dimension] + [self.width or 0] * (len(weight_std) - 1)
        return np.array(
            [
                (width / weights**2, 1 / biases**2 if biases > 0 else 0.0)
                for width, weights, biases in zip(widths, weight_std, bias_std, strict=True)
            ]
        )

    def require_tangent_kernel(self) -> None:
        """Raise ValueError if a gradient would have to pass a jump."""
        if all(dual.no_derivative is None for dual in self.layers.duals):
            return
        # The rates of one input: only which of them are 0 matters here.
        first_trained = int(np.argmax(self.rates(1).any(axis=1)))
        phis = _each(self.activation, self.depths[-1])
        for phi, dual in list(zip(phis, self.layers.duals, strict=True))[first_trained:]:
            if dual.no_derivative is not None:
                raise ValueError(
                    f"activation={phi.name!r}: no tangent kernel exists for it at depth "
                    f"{self.depths[-1]}, because {dual.no_derivative}; expected another "
                    "activation, the NNGP kernel, or layer_weights that train the last layer only"
                )

    def at_depth(self, depth: int) -> Self:
        """Return the network of one depth that is made of the first layers of this one.

        Parameters
        ----------
        depth : int
            L, at most the largest depth of this network.

        Returns
        -------
        Network
            Whose kernels are those that the network of several depths has at this one: a tangent
            kernel of 0 where `layer_weights` train only layers that are deeper.

        Examples
        --------
        >>> from fastntk import infinite
        >>> net = infinite.Network(weight_std=[1.0, 1.2, 1.4])
        >>> net.at_depth(1)
        Network(depth=1, activation='relu', weight_std=(1.0, 1.2), bias_std=0.0)
        """
        depth = arguments.depth(depth)
        if depth > self.depths[-1]:
            raise ValueError(f"depth={depth}: expected at most {self.depths[-1]}")
        network = replace(
            self,
            depth=depth,
            activation=_first(self.activation, depth),
            weight_std=_first(self.weight_std, depth + 1),
            bias_std=_first(self.bias_std, depth + 1),
            activation_scale=_first(self.activation_scale, depth),
            layer_weights=None,
        )
        # Set without a look at it: all first layers may be frozen, and the kernel is then 0 here.
        network._set("layer_weights", _first(self.layer_weights, depth + 1))
        return network


def _each(value: Any, layers: int) -> tuple[Any, ...]:
    """Return a parameter layer by layer."""
    return value if isinstance(value, tuple) else (value,) * layers


def _first(value: Any, layers: int) -> Any:
    """Return a parameter of the first layers."""
    return value[:layers] if isinstance(value, tuple) else value


def _for_layers(
    value: Any, name: str, layers: int, checked: Callable[[Any, str], object]
) -> object:
    """Return a parameter, checked; a tuple where the layers have different values."""
    if not arguments.has_items(value):
        return checked(value, name)
    given = arguments.items(value, name, "values, one for each layer")
    items = tuple(checked(item, f"{name}[{i}]") for i, item in enumerate(given))
    if len(items) != layers:
        raise ValueError(
            f"{name}={shown(value)}: expected {layers} values, one for each of the "
            f"{'' if name.endswith('_std') else 'hidden '}layers, or a single one for all of them"
        )
    return items[0] if items and items.count(items[0]) == len(items) else items


def _checked_depth(depth: int | Sequence[int]) -> int | tuple[int, ...]:
    if arguments.has_items(depth):
        return arguments.depths(depth, "depth")  # type: ignore[arg-type]
    return arguments.depth(depth)


def _activation(value: Any, name: str) -> Activation:  # noqa: ARG001
    return activations.get(value)


def _positive(value: Any, name: str) -> float:
    return arguments.real(value, name, minimum=0.0, exclusive=True)


def _not_negative(value: Any, name: str) -> float:
    return arguments.real(value, name, minimum=0.0)


def _scale(value: Any, name: str) -> float | None:
    return None if value is None else arguments.scale(value, name)


def _checked_layer_weights(values: ArrayLike, layers: int) -> tuple[object, ...]:
    rates = arguments.layer_weights(values, layers).tolist()
    if all(weights == biases for weights, biases in rates):
        return tuple(weights for weights, _ in rates)
    return tuple((weights, biases) for weights, biases in rates)


def _shown(value: object) -> str:
    """Return a value as it can be given, with `fastntk.activations` where it has parameters."""
    if isinstance(value, Activation) and value.identity is None:
        if value.name in activations.names() and activations.get(value.name) == value:
            return repr(value.name)
        if hasattr(activations, value.name):
            return f"activations.{value.name}({', '.join(map(repr, value.parameters))})"
        return f"activations.restore({value.name!r}, {value.parameters!r})"
    if isinstance(value, tuple) and any(isinstance(item, Activation) for item in value):
        return f"({', '.join(map(_shown, value))}{',' * (len(value) == 1)})"
    return repr(value)
