# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What very large runs would take, on paper: from rates that were measured on one machine."""

from __future__ import annotations

from dataclasses import dataclass

# Rows of a tile; blocks a side of what a task of the closest pairs looks at.
CHUNK = 2048
SIDE = 8

# Each element of a stored kernel is formed, mirrored, summed up and copied: so often it is read
# from memory or written to it.
_TIMES_THROUGH_MEMORY = 6

# A network of 10 Gbit/s, which one machine cannot measure.
_NETWORK = 1.25e9


@dataclass(frozen=True)
class Rates:
    """What one machine does.

    Attributes
    ----------
    kernel_pair, closest_pair : float
        Seconds of a core for a pair of samples, of a kernel and of the search for closest pairs.
    features : float
        Seconds of a core for the features of a sample.
    task : float
        Seconds of the scheduler and the client for a task.
    disk, memory : float
        Bytes a second that are written to disk; and read and written in memory.
    cores : int
        Of the machine.
    inputs : int
        Of a sample.
    """

    kernel_pair: float
    closest_pair: float
    features: float
    task: float
    disk: float
    memory: float
    cores: int
    inputs: int

    def lines(self) -> list[str]:
        """Return the rates as they are shown."""
        kernel, closest = self.kernel_pair * 1e9, self.closest_pair * 1e9
        return [
            f"- a pair of samples: {kernel:.0f} ns of a core in the kernel,",
            f"  {closest:.0f} ns in the search for closest pairs;",
            f"- the features of a sample: {self.features * 1e6:.0f} µs of a core;",
            f"- a task: {self.task * 1e3:.2f} ms of the scheduler;",
            f"- disk: {self.disk / 1e6:.0f} MB/s written; memory: {self.memory / 1e9:.1f} GB/s.",
        ]


@dataclass(frozen=True)
class Estimate:
    """How long each resource would be at work; what takes longest bounds the whole."""

    what: str
    seconds: dict[str, float]

    @property
    def bound(self) -> str:
        """What takes longest."""
        return max(self.seconds, key=lambda name: self.seconds[name])

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {shown(spent)}" for name, spent in self.seconds.items())
        whole = shown(self.seconds[self.bound])
        return f"{self.what}: about {whole}, bound by {self.bound} ({parts})"


def kernel_estimate(rates: Rates, n: int, machines: int, *, shared_disk: bool) -> Estimate:
    """Return what a kernel of n samples in float64 would take, written to a store.

    Of the two blocks of a tile one is that of the tile before, the features of the other one are
    computed anew.
    """
    cores, tiles, size = machines * rates.cores, (n / CHUNK) ** 2 / 2, 8.0 * n**2
    features = tiles * CHUNK * rates.features
    return Estimate(
        f"kernel of n = {n:.0e}, {machines} machines of {rates.cores} cores, "
        + ("one disk of all" if shared_disk else "a disk each"),
        {
            "arithmetic": (n**2 / 2 * rates.kernel_pair + features) / cores,
            "disk": size / rates.disk / (1 if shared_disk else machines),
            "memory": _TIMES_THROUGH_MEMORY * size / rates.memory / machines,
            "tasks": tiles * rates.task,
        },
    )


def pairs_estimate(rates: Rates, n: int, machines: int) -> Estimate:
    """Return what the closest pairs of n samples would take.

    A task looks at a square of so many blocks a side, whose samples come through the network and
    whose features are computed anew.
    """
    cores, tasks = machines * rates.cores, (n / CHUNK / SIDE) ** 2 / 2
    samples = tasks * 2 * SIDE * CHUNK
    return Estimate(
        f"closest pairs of n = {n:.0e}, {machines} machines of {rates.cores} cores",
        {
            "arithmetic": (n**2 / 2 * rates.closest_pair + samples * rates.features) / cores,
            "network": samples * 8 * rates.inputs / _NETWORK / machines,
            "tasks": tasks * rates.task,
        },
    )


def shown(seconds: float) -> str:
    """Return a time as people say it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
