# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far a network goes in training, and its kernel with it.

A wide network with a linear output layer ends training at a distance ‖w_t − w_0‖₂ that does not
depend on its width, and yet its kernel hardly moves: not because the weights do not, but because
the Hessian is small [1]_.

.. [1] C. Liu, L. Zhu, M. Belkin, "On the linearity of large non-linear models: when and why the
   tangent kernel is constant", NeurIPS 2020.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk._support.progress import monitored
from fastntk.devices.places import place_of
from fastntk.linearity.kernel_states import FollowedKernel
from fastntk.linearity.linear_model import LinearizedMLP
from fastntk.linearity.linear_training import LinearizedTraining
from fastntk.linearity.parameter_space import by_layer, parameter_vector
from fastntk.networks.base import FiniteNetworkBase
from fastntk.networks.network import Network
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork

    Values = npt.NDArray[np.float64]

_EXPECTED = "expected the networks of a training, by step or in their order"


class Trained(Protocol):
    """What a training leaves behind, such as a `fastntk.History`."""

    @property
    def networks(self) -> Mapping[int, FiniteNetworkBase]:
        """The networks on its way, by the number of steps before each."""


@dataclass(frozen=True, eq=False)
class KernelDrift:
    """How far the networks of a training are from the first one; the result of `kernel_drift`.

    Arrays have one entry for each of the k networks, the first one included.

    Attributes
    ----------
    steps : ndarray (k,) of int
        After how many steps each network was kept, or its place where that is not known.
    relative_change : ndarray (k,)
        ‖K_t − K_0‖_F/‖K_0‖_F; NaN if K_0 is 0.
    alignment : ndarray (k,)
        ⟨K_t, K_0⟩/(‖K_t‖ ‖K_0‖): 1 if the kernel has only been scaled, NaN if one of them is 0.
    condition_number : ndarray (k,)
        κ of K_t; NaN where its λ_min is not resolved.
    resolved : ndarray (k,) of bool
        Whether λ_min of K_t is resolved, as in `fastntk.Conditioning`.
    weight_change, weight_change_max : ndarray (k,)
        ‖w_t − w_0‖₂ and ‖w_t − w_0‖_∞ of the raw parameters, as in `fastntk.History`.
    layer_change, layer_change_max : ndarray (k, L + 1)
        The same for weights and bias of each layer; of a `FiniteNetwork`, for each layer with
        parameters.
    output_change : ndarray (k,)
        Root mean square, over samples and outputs, of f_t − f_0.
    linear_error : ndarray (k,)
        That of f_t − (f_0 + F_0 (w_t − w_0)): how far the network is from its linear model at the
        same weights.
    trajectory_error : ndarray (k,)
        That of f_t and the outputs of the linear model after as many steps of its own; NaN if
        `kernel_drift` was not given its training.
    """

    steps: npt.NDArray[np.int64]
    relative_change: Values
    alignment: Values
    condition_number: Values
    resolved: npt.NDArray[np.bool_]
    weight_change: Values
    weight_change_max: Values
    layer_change: Values
    layer_change_max: Values
    output_change: Values
    linear_error: Values
    trajectory_error: Values

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        last = {"change": self.relative_change[-1], "κ": self.condition_number[-1]}
        return short_repr(self, networks=len(self.steps), steps=self.steps[-1], **last)

    def _repr_html_(self) -> str:
        from fastntk._support.display import frame_html

        return frame_html(repr(self), self.to_frame())

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each network; layers are numbered from 1."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name, values in vars(self).items():
            if values.ndim == 1:
                columns[name] = values
            else:
                columns |= {f"{name}_{k}": column for k, column in enumerate(values.T, 1)}
        return pd.DataFrame(columns)


def kernel_drift(
    networks: Trained | Sequence[FiniteNetworkBase] | Mapping[int, FiniteNetworkBase],
    X: npt.ArrayLike,
    *,
    linear: LinearizedTraining | None = None,
    learning_rate: float | None = None,
    device: str | None = None,
    progress: Progress = False,
) -> KernelDrift:
    """Measure how far training takes a network, and its kernel on some samples.

    Parameters
    ----------
    networks : History, sequence of MLP or FiniteNetwork, or mapping of int to these
        A training that has kept its networks, as `fastntk.train` does with `keep_every`. Or the
        network at the start, then in training: at least two, of the same layers,
        with the steps after which they are so, ascending, or in their order.
    X : array_like (n, d)
        Samples, one a row, on which kernels and outputs are compared: n² numbers.
    linear, learning_rate : LinearizedTraining and float, optional
        The training of the linear model around the first network, and the rate of the steps: what
        `trajectory_error` compares with, which needs the networks by their steps.
    device : str, optional
        Where to compute, as in `MLP.ntk`.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each network.

    Returns
    -------
    KernelDrift

    Raises
    ------
    OverflowError
        If a kernel, or a change, is not finite: training has diverged.

    Notes
    -----
    Everything is in float64, for networks in float32 too. Kernels are summed over the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> net = fastntk.MLP([4, 256, 256, 1], activation="tanh")
    >>> history = fastntk.train(
    ...     net, X, np.sign(X[:, 0]), loss="mse", learning_rate=1.0, epochs=100, keep_every=50
    ... )
    >>> drift = fastntk.linearity.kernel_drift(history, X)
    >>> drift.steps.tolist()
    [0, 50, 100]
    >>> bool(0 < drift.relative_change[-1] < 0.5)
    True
    >>> bool(np.isclose(drift.weight_change[-1], history.weight_change[-1]))
    True
    """
    if hasattr(networks, "networks"):
        networks = _kept_by(networks)
    given = _checked_networks(networks)
    if linear is not None and not isinstance(linear, LinearizedTraining):
        raise TypeError(
            f"linear={arguments.shown(linear)}: expected the training of a linear model, "
            "from net.linearize().fit"
        )
    if linear is not None and not isinstance(networks, Mapping):
        raise TypeError(
            f"networks is a {type(networks).__name__}: expected a mapping of steps to networks "
            "beside linear"
        )
    if linear is None and learning_rate is not None:
        raise ValueError(
            f"learning_rate={arguments.shown(learning_rate)}: expected None without linear"
        )
    place = place_of(device, {"X": X})
    double = np.dtype(np.float64)
    start = next(iter(given.values())).network.with_dtype(double)
    samples = place.on_host(start.samples(X, "X", place))
    predicted = None
    if linear is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # of a rate at which it diverges
            predicted = linear.outputs(samples, steps=list(given), learning_rate=learning_rate)
    path = _Path(start, samples, place_of(place.device, {"X": samples}))
    rows = []
    with monitored(progress, "drift") as monitor:
        for k, (step, net) in enumerate(given.items()):
            try:
                expected = None if predicted is None else predicted[k]
                rows.append(path.point(net.network.with_dtype(double), expected))
            except OverflowError as error:
                raise OverflowError(f"networks, step {step}: {error}") from None
            if monitor is not None:
                monitor("networks", len(rows), len(given))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return KernelDrift(steps=np.array(list(given), dtype=np.int64), **columns)


class _Path:
    """The way of a training from its start, in float64.

    Samples are of the host, and so are the arrays that the place returns, wherever it computes.
    """

    def __init__(self, start: AnyNetwork, X: FloatArray, place: Place) -> None:
        self._samples = X
        self._samples_there = start.samples(X, "X", place)
        self._place = place
        self._weights = parameter_vector(start)
        self._outputs = self._evaluate(start)
        self._linear = LinearizedMLP(FiniteNetworkBase(start))
        self._kernel = FollowedKernel(start, X, place.device)

    def point(self, network: AnyNetwork, expected: FloatArray | None) -> dict[str, Any]:
        """Return what `KernelDrift` has of a network."""
        state = self._kernel.state(network)
        change = parameter_vector(network) - self._weights
        layers = by_layer(network, change)
        outputs = self._evaluate(network)
        linear = self._linear(self._samples, change, device=self._place.device)
        return {
            "relative_change": state.relative_change,
            "alignment": math.cos(state.angle),
            "condition_number": state.condition_number,
            "resolved": state.resolved,
            "weight_change": float(np.linalg.norm(change)),
            "weight_change_max": float(np.abs(change).max()),
            "layer_change": [float(np.linalg.norm(part)) for part in layers],
            "layer_change_max": [float(np.abs(part).max()) for part in layers],
            "output_change": _root_mean_square(outputs - self._outputs),
            "linear_error": _root_mean_square(outputs - linear),
            "trajectory_error": (
                math.nan if expected is None else _root_mean_square(outputs - expected)
            ),
        }

    def _evaluate(self, network: AnyNetwork) -> FloatArray:
        outputs: FloatArray = PlacedNetwork(network, self._place).evaluate(self._samples_there)
        return outputs


def _root_mean_square(values: FloatArray) -> float:
    return float(np.linalg.norm(values)) / math.sqrt(values.size)


def _kept_by(training: Trained) -> Mapping[int, FiniteNetworkBase]:
    if not training.networks:
        raise ValueError(
            f"networks is a {type(training).__name__} without any: expected that of a training "
            "which keeps them, as fastntk.train does with keep_every"
        )
    return training.networks


def _checked_networks(networks: Any) -> dict[int, FiniteNetworkBase]:
    """Return networks by their steps, or by their places."""
    if isinstance(networks, Mapping):
        items = list(networks.items())
        steps = [arguments.integer(step, "networks: a step", minimum=0) for step, _ in items]
        nets = [net for _, net in items]
    else:
        nets = arguments.items(networks, "networks", "networks")
        steps = list(range(len(nets)))
    if len(nets) < 2:
        raise ValueError(f"networks={arguments.shown(networks)}: {_EXPECTED}, at least two")
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError(f"networks has the steps {arguments.shown(steps)}: expected them to rise")
    for net in nets:
        if not isinstance(net, FiniteNetworkBase):
            raise TypeError(f"networks has {arguments.shown(net)}: {_EXPECTED}")
    first = _kind(nets[0].network)
    for step, net in zip(steps, nets, strict=True):
        if _kind(net.network) != first:
            raise ValueError(
                f"networks, step {step}: {_kind(net.network)}: expected the {first} of the first"
            )
    return dict(zip(steps, nets, strict=True))


def _kind(network: AnyNetwork) -> str:
    """Return what the networks of one training have in common."""
    if isinstance(network, WiredNetwork):
        return f"layers {list(network.description)!r}, inputs {network.input_width}"
    assert isinstance(network, Network)
    layers = ", ".join(
        f"{layer.weights.shape[1]}→{layer.weights.shape[0]}"
        f"{'' if layer.bias is None else ' with bias'}"
        f" × ({layer.weight_scale:.17g}, {layer.bias_scale:.17g})"
        for layer in network.layers
    )
    return (
        f"layers {layers}, {network.activation!r}, c_φ {network.activation_scale:.17g}, outputs "
        f"{network.output_activation!r}"
    )
