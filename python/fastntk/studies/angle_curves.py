# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradient angle against input angle for several activations, at infinite and finite width.

Figures 1 and 2 of Liu, Bi, Hui, Liu, arXiv 2305.08813.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import infinite
from fastntk._support import arguments
from fastntk._support.display import spans
from fastntk._support.progress import monitored, require_progress
from fastntk.activations.activation import activation_label
from fastntk.devices import matrices
from fastntk.kernels.angles import gradient_angles
from fastntk.mlp import MLP
from fastntk.networks.initialization import activation_and_scale
from fastntk.networks.settings import USUAL
from fastntk.training.result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.progress import Progress
    from fastntk.activations import Activation
    from fastntk.figures.panels import Sheet

    Array = NDArray[np.float64]


def _sheet(result: AngleCurves) -> Sheet:
    from fastntk.figures.angle_curves import angle_curves_sheet

    return angle_curves_sheet(result)


@dataclass(frozen=True, eq=False)
class AngleCurves(Result, kind="set of angle curves", sheet=_sheet):
    """Gradient angles, see `angle_curves`.

    Attributes
    ----------
    theta : ndarray (angles,)
        Input angles.
    depths : tuple of int
        Numbers of hidden layers.
    activations : tuple of str
        Their names; those of an `Activation` with its parameters.
    infinite : ndarray (activations, depths, angles)
        Gradient angles at infinite width.
    width : int, or None
        The width of the hidden layers of random networks, if there are any.
    mean, deviation : ndarray (activations, depths, angles), or None
        Mean and standard deviation of the gradient angles of the random networks.
    activation_scales : tuple of float
        c_φ of each activation.
    resolved : ndarray of bool (activations, depths, angles)
        Which angles at infinite width are known up to a relative 1e-3, see
        `infinite.Network.gradient_angle`.
    seeds : int, or None
        The number of random networks of each depth, if there are any.
    tolerance : float
        That of the angles at infinite width.

    Notes
    -----
    `plot` draws gradient angle against input angle, with a panel for each activation, of its name.
    """

    theta: Array
    depths: tuple[int, ...]
    activations: tuple[str, ...]
    infinite: Array
    width: int | None
    mean: Array | None
    deviation: Array | None
    activation_scales: tuple[float, ...]
    resolved: NDArray[np.bool_]
    seeds: int | None
    tolerance: float

    def __repr__(self) -> str:
        beside = (
            "" if self.width is None else f"; beside {self.seeds} networks of width {self.width}"
        )
        return (
            f"<AngleCurves: {', '.join(map(str, self.activations))}; depths {spans(self.depths)}; "
            f"{len(self.theta)} angles{beside}>"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of all networks, by the last columns of the table.

        Those of finite width, if there are any, have the seeds from 0 on, so many of them.
        """
        finite = {} if self.width is None else {"width": self.width, "seeds": self.seeds}
        return {"tolerance": self.tolerance} | finite | USUAL | {"dtype": "float64"}

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each activation, depth and angle; the last columns are settings."""
        import pandas as pd

        index = pd.MultiIndex.from_product(
            [self.activations, self.depths, self.theta], names=["activation", "depth", "theta"]
        )
        columns = {"infinite": self.infinite.ravel(), "resolved": self.resolved.ravel()}
        if self.mean is not None and self.deviation is not None:
            columns |= {"mean": self.mean.ravel(), "deviation": self.deviation.ravel()}
        frame = pd.DataFrame(columns, index=index).reset_index()
        rows = len(self.depths) * len(self.theta)
        scales = np.repeat(self.activation_scales, rows)
        return frame.assign(activation_scale=scales, **self.settings)


def angle_curves(
    theta: ArrayLike,
    depths: Sequence[int] = (1, 3, 6),
    activations: Sequence[str | Activation] = ("relu2", "gelu", "tanh"),
    *,
    activation_scale: float | None = None,
    tolerance: float = 1e-10,
    width: int | None = None,
    seeds: int = 5,
    progress: Progress = False,
) -> AngleCurves:
    """Return gradient angles against input angles, for several activations and depths.

    Parameters
    ----------
    theta : array_like (angles,)
        Input angles in [0, π].
    depths : sequence of int
        Numbers of hidden layers.
    activations : sequence of str or Activation
        See `fastntk.activations`.
    activation_scale : float, optional
        c_φ of all activations, see `MLP`; by default that of each activation.
    tolerance : float
        Of the angles at infinite width, see `infinite.Network`.
    width : int, optional
        Width of the hidden layers of random networks, whose angles are to be set beside those at
        infinite width. Their activations must be ones that `MLP` has.
    seeds : int
        Number of random networks.
    progress : bool or callable
        Whether to show a progress bar; or a function of (stage, done, total).

    Returns
    -------
    AngleCurves

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> curves = fastntk.angle_curves([0.1, 1.0], depths=[3], activations=["relu", "gelu", "tanh"])
    >>> curves.infinite[:, 0].round(3)
    array([[0.32 , 1.099],
           [0.146, 1.148],
           [0.161, 1.192]])
    """
    depths = arguments.depths(depths)
    given = _several(activations)
    seeds = arguments.integer(seeds, "seeds", minimum=2)
    require_progress(progress)
    angles = np.atleast_1d(matrices.host_array(theta, "theta"))
    if angles.ndim != 1:
        raise ValueError(f"theta has shape {angles.shape}: expected a vector of angles")
    chosen = [activation_and_scale(each, activation_scale) for each in given]
    limits = [
        infinite.Network(
            depths, phi, activation_scale=activation_scale, tolerance=tolerance
        ).gradient_angle(angles, bounds=True)
        for phi, _ in chosen
    ]
    mean = deviation = None
    if width is not None:
        width = arguments.integer(width, "width", minimum=1)
        found = _random_networks(angles, depths, chosen, width, seeds, progress)
        mean, deviation = found.mean(axis=0), found.std(axis=0, ddof=1)
    return AngleCurves(
        theta=angles.astype(np.float64),
        depths=depths,
        activations=tuple(
            each if isinstance(each, str) else activation_label(each) for each in given
        ),
        infinite=np.stack([found.angle for found in limits]),
        width=width,
        mean=mean,
        deviation=deviation,
        activation_scales=tuple(scale for _, scale in chosen),
        resolved=np.stack([found.resolved for found in limits]),
        seeds=None if width is None else seeds,
        tolerance=float(tolerance),
    )


def _several(activations: Sequence[str | Activation]) -> list[str | Activation]:
    given = arguments.items(activations, "activations", "names")
    if not given:
        raise ValueError(f"activations={arguments.shown(activations)}: expected at least one name")
    return given


def _random_networks(
    theta: Array,
    depths: tuple[int, ...],
    activations: Sequence[tuple[Activation, float]],
    width: int,
    seeds: int,
    progress: Progress,
) -> Array:
    """Return the angles of each network: (seeds, activations, depths, angles)."""
    angles = np.concatenate([[0.0], theta])
    circle = math.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = np.empty((seeds, len(activations), len(depths), len(theta)))
    with monitored(progress, "random networks") as report:
        for done, (seed, i, k) in enumerate(np.ndindex(found.shape[:3]), 1):
            phi, scale = activations[i]
            net = MLP(
                [2, *[width] * depths[k], 1], activation=phi, activation_scale=scale, seed=seed
            )
            found[seed, i, k] = gradient_angles(net.ntk(circle))[0, 1:]
            if report is not None:
                report(f"{phi.name}, depth {depths[k]}", done, found[..., 0].size)
    return found
