# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Times all ways to compute a workload in interleaved rounds, after their answers were compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.table.results import Row, Timed
from benchmarks.yardstick import gemm_rate, pause
from fastntk import amx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from benchmarks.peers.process import Peer

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Way:
    """A way to compute a workload.

    Attributes
    ----------
    peer : str
        The name of the process.
    function : str
        Which of its computations.
    name : str
        In tables.
    settings : dict
        In addition to those of the workload.
    share : float
        What part of the workload it computes, where all would take too long.
    part : tuple of slice
        Where that part lies in the whole answer.
    """

    peer: str
    function: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    part: tuple[slice, ...] = ()


@dataclass(frozen=True)
class Workload:
    """What is computed; the first of `ways` is fastntk.

    Attributes
    ----------
    section, name, dtype, flops, pair_layers
        As of a `Row`.
    arrays : callable
        Makes what the ways are given.
    settings : dict
    ways : tuple of Way
    rtol : float
        How far answers may be from each other, relative to the largest entry.
    rounds : int
    repeats : int
        Calls for one timing.
    """

    section: str
    name: str
    dtype: str
    arrays: Callable[[], dict[str, Array]]
    ways: tuple[Way, ...]
    rtol: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    flops: float | None = None
    pair_layers: float | None = None
    rounds: int = 5
    repeats: int = 1


def possible(ways: tuple[Way, ...], peers: Mapping[str, Peer]) -> list[Way]:
    """Return the ways whose process is there; those without AMX where there is one."""
    return [
        way
        for way in ways
        if way.peer in peers and (way.settings.get("amx", True) or amx.is_available())
    ]


def prepare(workload: Workload, ways: list[Way], peers: Mapping[str, Peer]) -> list[int]:
    """Let every way compute once, and assert that their answers agree with the first one's.

    Returns
    -------
    list of int
        By which numbers the processes know what is ready now.
    """
    for peer in peers.values():
        peer.forget()
    arrays = workload.arrays()
    ready = []
    whole: Array | None = None
    for way in ways:
        settings = {**workload.settings, **way.settings}
        number, answer = peers[way.peer].prepare(way.function, arrays, settings)
        ready.append(number)
        if whole is None:
            whole = answer
        require_agreement(answer, whole[way.part], workload, way)
    return ready


def require_agreement(answer: Array, ours: Array, workload: Workload, way: Way) -> None:
    """Raise AssertionError if an answer is another."""
    what = f"{way.name}, {workload.name}, {workload.dtype}"
    assert answer.shape == ours.shape, f"{what}: shape {answer.shape}, expected {ours.shape}"
    # In float32, units whose sum is next to 0 may be active in one and not in the other: in a few
    # rows of thousands.
    error = float(np.linalg.norm(answer - ours) / np.linalg.norm(ours))
    # Not so either if one of the numbers is NaN.
    assert error <= workload.rtol, f"{what}: differs by {error:.2e}, allowed {workload.rtol:.2e}"


def measure(
    workload: Workload,
    peers: Mapping[str, Peer],
    rounds: int | None = None,
    gemm: Callable[[str], float] = gemm_rate,
) -> Row:
    """Return the times of all ways; neighbours in time are those that are compared.

    Parameters
    ----------
    workload : Workload
    peers : mapping of str to Peer
        The processes by their names; ways of those that are not there are left out.
    rounds : int, optional
        Instead of the workload's own.
    gemm : callable, optional
        Measures the rate of matrix multiplication in a precision.
    """
    ways = possible(workload.ways, peers)
    ready = prepare(workload, ways, peers)
    timed = [Timed(way.name, share=way.share) for way in ways]
    for turn in range(rounds or workload.rounds):
        before = after = gemm(workload.dtype)
        order = range(len(ways))
        for i in order if turn % 2 == 0 else reversed(order):
            pause()
            wall, cpu = peers[ways[i].peer].time(ready[i], workload.repeats)
            if workload.flops is not None:
                pause()
                after = gemm(workload.dtype)
            timed[i].wall.append(wall / ways[i].share)
            timed[i].cpu.append(cpu / ways[i].share)
            timed[i].gemm.append((before + after) / 2)
            before = after
    return Row(
        workload.section, workload.name, workload.dtype, workload.flops, workload.pair_layers, timed
    )
