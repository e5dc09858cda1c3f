# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which networks a depth study has: architectures, checked, and the families of each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.architectures.by_depth import Architecture, checked_residual_scale
from fastntk.architectures.network import Network
from fastntk.layers.kinds import KINDS
from fastntk.studies.depth_families import FiniteFamily, InfiniteFamily
from fastntk.studies.described_families import (
    FiniteDescribedFamily,
    InfiniteDescribedFamily,
    activations_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastntk.activations import Activation
    from fastntk.studies.depth_families import Family

# Those of which the networks are described by a function of the user's.
OwnArchitecture: TypeAlias = Callable[[int], Network]
AnyArchitecture: TypeAlias = str | Architecture | OwnArchitecture
Architectures: TypeAlias = "dict[str, Architecture | OwnArchitecture]"

# Limits of infinite width do not depend on it; a normalization needs three neurons.
_ANY_WIDTH = 3


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """What the networks of a study have in common, as `depth_study` describes it.

    Attributes
    ----------
    activations : dict of str to Activation
        By their labels.
    activation_scale, weight_std, bias_std, parametrization, dtype, tolerance, infinite
        Those of the study, checked.
    """

    activations: Mapping[str, Activation]
    activation_scale: float | None
    weight_std: float
    bias_std: float
    parametrization: str
    dtype: str
    tolerance: float
    infinite: bool

    @property
    def scales(self) -> dict[str, Any]:
        """The scales of layers."""
        return {
            "activation_scale": self.activation_scale,
            "weight_std": self.weight_std,
            "bias_std": self.bias_std,
        }


def checked_architectures(architecture: Any, scales: Any, parametrization: str) -> Architectures:
    """Return the architectures by their labels; those that are given by name at each scale."""
    alphas = [
        checked_residual_scale(each, name) for each, name in _one_or_more(scales, "residual_scale")
    ]
    found: list[tuple[str, Architecture | OwnArchitecture]] = []
    given = _one_or_more(architecture, "architecture")
    for each, name in given:
        if isinstance(each, Architecture):
            found.append((each.label, each))
        elif isinstance(each, str):
            plain = arguments.choice(each, name, KINDS) == "plain"
            at_scales = [Architecture(each, residual_scale=a) for a in ([1.0] if plain else alphas)]
            found += [(one.label, one) for one in at_scales]
        elif callable(each):
            found.append((getattr(each, "__name__", type(each).__name__), each))
        else:
            raise TypeError(
                f"{name}={shown(each)}: expected one of {', '.join(map(repr, KINDS))}, an "
                "Architecture, or a function that returns the fastntk.Network of a depth"
            )
    result = dict(found)
    if len(result) < len(found):
        raise ValueError(f"architecture={shown(architecture)}: expected each only once")
    if alphas != [1.0] and not any(isinstance(each, str) and each != "plain" for each, _ in given):
        raise ValueError(
            f"residual_scale={shown(scales)}: expected 1, because no architecture that is given by "
            "name has blocks"
        )
    if parametrization != "ntk" and set(result) != {"plain"}:
        raise ValueError(
            f"parametrization={shown(parametrization)} with architecture={shown(architecture)}: "
            "expected 'ntk', the parametrization of described layers"
        )
    return result


def _one_or_more(values: Any, argument: str) -> list[tuple[Any, str]]:
    """Return one value, or each of several, with what errors call it."""
    if not arguments.has_items(values):
        return [(values, argument)]
    given = arguments.items(values, argument, f"values of {argument}")
    if not given:
        raise ValueError(f"{argument}={shown(values)}: expected at least one")
    return [(each, f"{argument}[{i}]") for i, each in enumerate(given)]


def families_of(
    architectures: Architectures,
    settings: NetworkSettings,
    *,
    inputs: int,
    depths: Sequence[int],
    widths: Sequence[int],
    seeds: Sequence[int],
) -> list[Family]:
    """Return the families of networks: those of infinite width, then seed by seed."""
    every: list[_Plain | _WithBlocks | _Own] = []
    for name, kind in architectures.items():
        if not isinstance(kind, Architecture):
            every.append(_Own(name, _described(kind, name, inputs, depths)))
        elif kind.has_blocks:
            every += [
                _WithBlocks(name, label, kind, phi, settings, inputs, tuple(depths))
                for label, phi in settings.activations.items()
            ]
        else:
            every += [_Plain(label, phi, settings) for label, phi in settings.activations.items()]
    tolerance, dtype = settings.tolerance, settings.dtype
    return [
        *(each.infinite(tolerance) for each in every if settings.infinite),
        *(
            each.finite(width, seed, dtype)
            for seed in seeds
            for each in every
            for width in (each.widths or widths)
        ),
    ]


@dataclass(frozen=True)
class _Plain:
    """Plain networks with one activation."""

    label: str
    phi: Activation
    settings: NetworkSettings
    widths: Sequence[int] = ()  # as asked for

    def infinite(self, tolerance: float) -> Family:
        scales = self.settings.scales
        return InfiniteFamily(label=self.label, activation=self.phi, tolerance=tolerance, **scales)

    def finite(self, width: int, seed: int, dtype: str) -> Family:
        return FiniteFamily(
            label=self.label,
            activation=self.phi,
            width=width,
            seed=seed,
            parametrization=self.settings.parametrization,
            dtype=dtype,
            **self.settings.scales,
        )


class _Described(ABC):
    """Networks that are described for every depth."""

    called: str
    label: str

    @abstractmethod
    def networks(self, width: int) -> dict[int, Network]:
        """Return the descriptions by their depths, of layers of a width where it is theirs."""

    def infinite(self, tolerance: float) -> Family:
        networks = self.networks(_ANY_WIDTH)
        return InfiniteDescribedFamily(
            called=self.called, label=self.label, networks=networks, tolerance=tolerance
        )

    def finite(self, width: int, seed: int, dtype: str) -> Family:
        return FiniteDescribedFamily(
            called=self.called,
            label=self.label,
            networks=self.networks(width),
            width=width,
            seed=seed,
            dtype=dtype,
        )


@dataclass(frozen=True)
class _WithBlocks(_Described):
    """Networks of an architecture with blocks and one activation."""

    called: str
    label: str
    kind: Architecture
    phi: Activation
    settings: NetworkSettings
    inputs: int
    depths: tuple[int, ...]
    widths: Sequence[int] = ()  # as asked for

    def networks(self, width: int) -> dict[int, Network]:
        scales = self.settings.scales
        return {
            depth: self.kind.network(depth, self.inputs, width=width, activation=self.phi, **scales)
            for depth in self.depths
        }


@dataclass(frozen=True)
class _Own(_Described):
    """Networks that a function of the user's has described."""

    called: str
    given: dict[int, Network]

    @property
    def label(self) -> str:  # type: ignore[override]
        return activations_of(self.given[max(self.given)])

    @property
    def widths(self) -> Sequence[int]:
        """The largest width of a layer, that of the outputs left out where there are others."""
        return (max(max(net.widths[1:-1] or net.widths[1:]) for net in self.given.values()),)

    def networks(self, width: int) -> dict[int, Network]:  # noqa: ARG002
        return self.given


def _described(
    function: OwnArchitecture, name: str, inputs: int, depths: Sequence[int]
) -> dict[int, Network]:
    """Return what a function of the user's describes for each depth, checked."""
    expected = "expected a function of the depth alone that returns a fastntk.Network"
    found = {}
    for depth in depths:
        at = f"architecture={name}, at depth {depth}"
        try:
            network = function(depth)
        except Exception as error:  # of the user's function, any error
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{at}: {type(error).__qualname__}: {error}; {expected}") from error
        given = f"{at}: {shown(network)}"
        if not isinstance(network, Network):
            raise TypeError(f"{given}: {expected}")
        if network.inputs != inputs:
            raise ValueError(f"{given}: expected inputs={inputs}, the number of columns of X")
        found[depth] = network
    return found
