# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which networks have a limit of infinite width that is known: errors for all others.

Of each node it is known of which nodes it is a sum: outputs of layers of weights, whose neurons are
Gaussian, independent of each other, and have mean zero; what activations made; or the inputs. What
is linear, the identity among activations and normalizations, leaves a sum one of the same nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk.layers.steps import Activate, Add, GainShift, Linear, Normalize, label

if TYPE_CHECKING:
    from fastntk.layers.steps import Steps

_INPUTS = 0


def require_limit(steps: Steps, *, bottlenecks: bool) -> None:
    """Raise ValueError where there is no limit, or none in closed form, with the layer.

    Parameters
    ----------
    steps : Steps
        The steps of the network.
    bottlenecks : bool
        Whether layers that are narrower than those around them grow as well.
    """
    if not bottlenecks:
        _require_no_bottleneck(steps)
    # Of each node, the nodes whose sum it is, up to normalizations.
    parts: list[frozenset[int]] = [frozenset({_INPUTS})]
    gaussian: set[int] = set()
    # Those whose mean over the neurons tends to 0, which a LayerNorm subtracts: of what an odd
    # function makes of Gaussian neurons, too.
    centered: set[int] = set()
    for step in steps.steps:
        if isinstance(step, Activate) and step.layer.phi.linear:
            parts.append(parts[step.source])
        elif isinstance(step, (Linear, Activate)):
            if isinstance(step, Linear):
                gaussian.add(step.target)
                centered.add(step.target)
            else:
                _require_gaussian(label(step), parts[step.source], gaussian)
                if step.layer.phi.odd:
                    centered.add(step.target)
            parts.append(frozenset({step.target}))
        elif isinstance(step, Add):
            skip, branch = parts[step.skip], parts[step.branch]
            _require_independent(label(step), skip, branch, gaussian)
            parts.append(skip | branch)
        else:
            source = parts[step.source]
            if isinstance(step, Normalize) and step.layer.centered and not source <= centered:
                raise ValueError(
                    f"{label(step)}: no limit of infinite width is known for the normalization of "
                    f"{_what(source, gaussian)}, whose mean over the neurons is not 0: expected a "
                    "LayerNorm of the outputs of layers of weights, or of activations that are "
                    "odd, such as tanh; or RMSNorm"
                )
            if isinstance(step, GainShift) and _INPUTS in source:
                raise ValueError(
                    f"{label(step)}: there is no limit of infinite width with a gain or shift of "
                    "the inputs, whose number does not grow: expected none of them there"
                )
            parts.append(source)


def require_gradients(steps: Steps) -> None:
    """Raise ValueError where the tangent kernel has no closed form, with the layer: see `wiring`.

    That is where the gradients by a gain come to an activation, and have not been neurons times a
    number all the way, or the activation is not linear on both sides of 0.
    """
    # Of each node, whether gradients by gains are such multiples of it, or parts of a sum.
    apart, summed = [False], [False]
    for step in steps.steps:
        if isinstance(step, Linear):
            found = False, False
        elif isinstance(step, Add):
            parts = (*(apart[k] for k in step.sources), *(summed[k] for k in step.sources))
            found = False, any(parts)
        else:
            found = apart[step.source], summed[step.source]
            if isinstance(step, GainShift) and step.layer.gain and step.layer.rates[0] > 0:
                found = True, found[1]
            if (
                isinstance(step, Activate)
                and not step.layer.phi.linear
                and (found[1] or (found[0] and not step.layer.phi.slopes))
            ):
                raise ValueError(
                    f"{label(step)}: no closed form is known of the tangent kernel where the "
                    "neurons that this takes have a gain that is trained: expected a Dense between "
                    "both, an activation that is linear on both sides of 0 right after the gain, "
                    "trained=(0, 1) for the normalization, or the NNGP kernel"
                )
        apart.append(found[0])
        summed.append(found[1])


def _require_gaussian(name: str, source: frozenset[int], gaussian: set[int]) -> None:
    if not source <= gaussian:
        raise ValueError(
            f"{name}: no limit of infinite width is known for an activation of "
            f"{_what(source, gaussian)}, which is not Gaussian: expected activations of the "
            "outputs of layers of weights, of sums of these, and of their normalizations"
        )


def _require_independent(
    name: str, skip: frozenset[int], branch: frozenset[int], gaussian: set[int]
) -> None:
    if _INPUTS in skip:
        raise ValueError(
            f"{name}: there is no limit of infinite width for a skip connection from the inputs, "
            "whose number does not grow: expected a Dense before it, or a projection"
        )
    if not branch <= gaussian or branch & skip:
        what = _what(branch, gaussian) if not branch <= gaussian else "what it is added to"
        raise ValueError(
            f"{name}: no limit of infinite width is known for a branch that ends with {what}, as "
            "it is not independent of what it is added to: expected a Dense at its end, perhaps "
            "with a normalization after it"
        )


def _what(source: frozenset[int], gaussian: set[int]) -> str:
    if _INPUTS in source:
        return "the inputs"
    return (
        "an activation's outputs"
        if len(source - gaussian) == len(source)
        else ("a sum with an activation's outputs")
    )


def _require_no_bottleneck(steps: Steps) -> None:
    narrowest: dict[int, int] = {}
    origin = {0: 0}
    for step in steps.steps:
        # The step of weights that what a map takes comes from.
        origin[step.target] = step.target if isinstance(step, Linear) else origin[step.sources[0]]
        if isinstance(step, Linear):
            node = origin[step.source]
            narrowest[node] = min(step.outputs, narrowest.get(node, step.outputs))
    for step in steps.linear_maps:
        node = origin[step.source]
        after = narrowest.get(step.target)
        if node != _INPUTS and after is not None and step.outputs < min(step.inputs, after):
            raise ValueError(
                f"{label(step)}: a layer of {step.outputs} neurons between {step.inputs} and "
                f"{after} is a bottleneck, and there is no such limit while its width stays as it "
                "is: expected bottlenecks='grow' for the limit in which all widths grow, or a "
                "layer that is not narrower than both"
            )
