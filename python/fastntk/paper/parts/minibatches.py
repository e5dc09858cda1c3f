# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The protocol of the authors' code: κ of shuffled minibatches, angles of raw pixels.

The kernel of all samples is never formed, so that n may be any number: κ is taken of each minibatch
by itself, the smallest angle over all pairs tile by tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.eigenvalues import conditioning
from fastntk.kernels.depth_sweep import ntk_depths
from fastntk.kernels.rounding import feature_error
from fastntk.mlp import MLP
from fastntk.paper.claims import least_condition_number
from fastntk.paper.run import kept_tables
from fastntk.studies.identities import array_digest

if TYPE_CHECKING:
    import pandas as pd

    from fastntk._support.dtypes import FloatArray
    from fastntk.paper.run import Run

BATCH_SIZE = 512

_DTYPE = "float32"


@dataclass(frozen=True, kw_only=True, eq=False)
class Protocol:
    """What is measured.

    Attributes
    ----------
    X : ndarray (n, d)
        Pixels scaled to [−1, 1], for κ.
    raw : ndarray (m, d)
        Pixels as they are, for angles.
    depths, seeds : tuple of int
    width : int
    most_batches : int or None
        How many minibatches of each network, at most.
    """

    X: FloatArray
    raw: FloatArray
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    width: int
    most_batches: int | None

    @property
    def batch_size(self) -> int:
        """As in the authors' code, or all samples if there are fewer."""
        return min(BATCH_SIZE, len(self.X))

    def batches(self, seed: int) -> list[np.ndarray]:
        """Return the rows of each minibatch; what is left after the last whole one is dropped."""
        size = self.batch_size
        order = np.random.default_rng(seed).permutation(len(self.X))
        return np.split(order[: len(order) // size * size], len(order) // size)[: self.most_batches]


def minibatch_study(run: Run, protocol: Protocol) -> pd.DataFrame:
    """Return a row for each activation, seed and depth."""
    networks: dict[str, dict[str, Any]] = {
        f"{activation}, seed {seed}": {"activation": activation, "seed": seed}
        for activation in ("relu", "identity")
        for seed in protocol.seeds
    }
    common: dict[str, Any] = {
        "samples": array_digest(protocol.X),
        "raw": array_digest(protocol.raw),
        "width": protocol.width,
        "dtype": _DTYPE,
    }
    kappas = kept_tables(
        run,
        "κ of minibatches",
        {
            name: network
            | common
            | {"depths": list(protocol.depths), "most_batches": protocol.most_batches}
            for name, network in networks.items()
        },
        lambda name, _: _condition_numbers(protocol, **networks[name]),
    )
    cells: dict[str, dict[str, Any]] = {
        f"{name}, depth {depth}": network | {"depth": depth}
        for name, network in networks.items()
        for depth in protocol.depths
    }
    angles = kept_tables(
        run,
        "smallest angles",
        {name: cell | common for name, cell in cells.items()},
        lambda name, _: _angle(protocol, run.device, **cells[name]),
    )
    frame = kappas.merge(angles, on=["activation", "seed", "depth"])
    return frame.assign(
        width=protocol.width,
        batch_size=protocol.batch_size,
        samples=len(protocol.X),
        angle_samples=len(protocol.raw),
        dtype=_DTYPE,
    )


def _condition_numbers(protocol: Protocol, activation: str, seed: int) -> pd.DataFrame:
    import pandas as pd

    batches = protocol.batches(seed)
    found: dict[int, list[Any]] = {depth: [] for depth in protocol.depths}
    for rows in batches:
        kernels = ntk_depths(
            protocol.X[rows],
            protocol.depths,
            width=protocol.width,
            activation=activation,
            seed=seed,
            network_dtype=_DTYPE,
            dtype="float64",
            progress=False,
        )
        for depth, kernel in kernels.items():
            error = feature_error(depth, np.dtype(np.float64))
            found[depth].append(conditioning(kernel, bounds=False, feature_error=error))
    rows_of_table = []
    for depth, each in found.items():
        known = [one.condition_number for one in each if one.resolved]
        least = [least_condition_number(one) for one in each]
        resolved = len(known) == len(each)
        rows_of_table.append(
            {
                "activation": activation,
                "seed": seed,
                "depth": depth,
                "condition_number": float(np.mean(known)) if resolved else np.nan,
                "condition_number_least": float(np.mean(least)),
                "spread_over_batches": float(np.std(known)) if resolved else np.nan,
                "batches": len(each),
                "batches_resolved": len(known),
            }
        )
    return pd.DataFrame(rows_of_table)


def _angle(
    protocol: Protocol, device: str | None, activation: str, seed: int, depth: int
) -> pd.DataFrame:
    import pandas as pd

    widths = [protocol.raw.shape[1], *[protocol.width] * depth, 1]
    net = MLP(widths, activation=activation, seed=seed, dtype=_DTYPE).astype("float64")
    pair = net.smallest_angle(protocol.raw, device=device, progress=False)
    return pd.DataFrame(
        {
            "activation": [activation],
            "seed": [seed],
            "depth": [depth],
            "smallest_angle": [float(np.degrees(pair.angle))],
            "i": [pair.i],
            "j": [pair.j],
        }
    )
