# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How the kernel changes along a segment in parameter space.

The kernel moves as fast as the Hessian lets it. Where φ has a kink, φ'' is a point mass, which the
Hessian of `hessian_vector_product` leaves out, by convention: what the gradients of the units that
cross their kink on the way add to the change of the kernel can be measured only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.progress import monitored
from fastntk.devices.places import place_of
from fastntk.linearity.kernel_states import FollowedKernel
from fastntk.linearity.parameter_space import directions, moved
from fastntk.networks.base import require_finite_network

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from fastntk._support.progress import Progress
    from fastntk.networks.base import FiniteNetworkBase


@dataclass(frozen=True, eq=False)
class KernelChange:
    """The kernel along a segment w + t δ; the result of `kernel_change`.

    Attributes
    ----------
    positions : ndarray (steps,)
        t, from 1/steps to 1.
    relative_change : ndarray (steps,)
        ‖K(w + t δ) − K(w)‖_F/‖K(w)‖_F; NaN if K(w) is 0.
    alignment : ndarray (steps,)
        ⟨K(w + t δ), K(w)⟩/(‖K(w + t δ)‖ ‖K(w)‖): 1 if the kernel has only been scaled, NaN if one
        of them is 0.
    """

    positions: npt.NDArray[np.float64]
    relative_change: npt.NDArray[np.float64]
    alignment: npt.NDArray[np.float64]

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        return short_repr(self, **vars(self))

    def _repr_html_(self) -> str:
        from fastntk._support.display import frame_html

        return frame_html(repr(self), self.to_frame())

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each position."""
        import pandas as pd

        return pd.DataFrame(vars(self))


def kernel_change(
    net: FiniteNetworkBase,
    X: npt.ArrayLike,
    direction: npt.ArrayLike,
    steps: int = 1,
    *,
    layer_weights: npt.ArrayLike | None = None,
    device: str | None = None,
    progress: Progress = False,
) -> KernelChange:
    """Measure the change of the tangent kernel along a segment in parameter space.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        The network at the beginning, w.
    X : array_like (n, d)
        Samples, one a row, of which the kernels are formed: n² numbers.
    direction : array_like (P,)
        δ, from the beginning of the segment to its end, in the order of `MLP.gradient_features`.
    steps : int
        Kernels are formed at so many points w + δ k/steps, k = 1, …, steps.
    layer_weights : array_like (L + 1,) or (L + 1, 2), optional
        ω, as in `MLP.ntk`: the kernel of some layers.
    device : str, optional
        Where to compute, as in `MLP.ntk`.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each kernel.

    Returns
    -------
    KernelChange

    Raises
    ------
    OverflowError
        If a kernel is not finite.

    Notes
    -----
    Everything is in float64, for networks in float32 too. Kernels are summed over the outputs.

    Examples
    --------
    A ReLU network of one hidden layer, of which the first layer moves: its gradients change at the
    kinks only, where the second derivative is not a number.

    >>> import numpy as np
    >>> import fastntk
    >>> net, X = fastntk.MLP([3, 100, 1]), np.eye(3)
    >>> delta = np.random.default_rng(0).standard_normal(net.n_parameters)
    >>> delta[300:] = 0
    >>> H_delta = fastntk.linearity.hessian_vector_product(net, X, delta)
    >>> bool(np.any(H_delta[:300]))
    False
    >>> change = fastntk.linearity.kernel_change(net, X, delta, layer_weights=[1, 0])
    >>> bool(change.relative_change[-1] > 0.01)
    True
    """
    require_finite_network(net)
    double = net.network.with_dtype(np.dtype(np.float64))
    place = place_of(device, {"X": X})
    samples = place.on_host(double.samples(X, "X", place))
    along, single = directions(double, direction, "direction", place_of(None, {}))
    if not single:
        raise ValueError(
            f"direction is a matrix of {len(along)} columns: expected a vector ({along.shape[1]},)"
        )
    count = arguments.integer(steps, "steps", minimum=1)
    kernel = FollowedKernel(double, samples, place.device, layer_weights)
    positions = np.arange(1, count + 1) / count
    found: list[tuple[float, float]] = []
    with monitored(progress, "kernel change") as monitor:
        for t in positions:
            try:
                found.append(kernel.distance(moved(double, t * along[0])))
            except OverflowError as error:
                raise OverflowError(f"direction, at {t:g} of it: {error}") from None
            if monitor is not None:
                monitor("kernels", len(found), count)
    changes, angles = zip(*found, strict=True)
    alignments = [math.cos(angle) for angle in angles]
    return KernelChange(positions, np.array(changes), np.array(alignments))
