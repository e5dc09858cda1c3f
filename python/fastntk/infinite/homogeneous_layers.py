# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pairs through the program of a network of `homogeneous_program`, compiled: a row at a time.

The factors that all samples share are those of a sample of norm 1, so that no tile depends on who
else is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite.compiled_recursion import spread
from fastntk.infinite.duals import PiecewiseLinear
from fastntk.infinite.duals.half_angle import angle_factor, deficit_factor
from fastntk.infinite.gaps import TINY
from fastntk.infinite.homogeneous_program import (
    ACTIVATE,
    FLAG,
    INDEX,
    INPUTS,
    KIND,
    NOTHING,
    OUT,
    SLOPES,
    SLOPES_OUT,
    WRITE,
    U,
    V,
    X,
    Y,
    is_homogeneous,
    program_of,
)
from fastntk.infinite.layered_factors import LayeredFactors
from fastntk.infinite.pair_layers import write_row
from fastntk.infinite.sample_norms import Norms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.compiled_recursion import Rows
    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_program import Program
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class HomogeneousLayers:
    """A described network of which all samples share the factors.

    Attributes
    ----------
    programs : tuple of Program
        For the NNGP alone, and with the tangent kernel.
    kinks : ndarray (activations,)
        Those of the activations.
    factors : LayeredFactors
        What the samples bring into the recursion: the scales of the kernels.
    """

    programs: tuple[Program, Program]
    kinks: Array
    factors: LayeredFactors

    @classmethod
    def of(cls, network: LayeredArchitecture, factors: LayeredFactors) -> HomogeneousLayers | None:
        """Return the network, or None if it is another one."""
        if not is_homogeneous(network):
            return None
        one = Norms(network.inputs, np.array([0.5]), np.array([1]), np.zeros(1))
        try:
            unit = LayeredFactors.of(one, network)
        except (OverflowError, ValueError):  # smaller or larger samples may be in range
            return None
        if any(each.sizes[0, 0] == 0 for each in unit.sums.values()):
            return None
        kinks = np.array([_kink(network, step) for step in unit.activated])
        programs = tuple(program_of(network, unit, tangent=each) for each in (False, True))
        return cls((programs[0], programs[1]), kinks, factors)

    def tile(self, part: slice, first: int, *, tangent: bool) -> Rows:  # noqa: ARG002
        """Return what takes rows of a tile through the program: see `propagate`."""
        network = self.programs[tangent], self.kinks
        return lambda gaps, *where: propagate(gaps, network, *where)


def _kink(network: LayeredArchitecture, step: int) -> float:
    dual = network.duals[step]
    assert isinstance(dual, PiecewiseLinear)
    return dual.kink


# Without contractions, see `activate_differences`.
@njit(nogil=True, cache=True)
def _sum(b: Array, op: Array, numbers: Array, width: int) -> None:
    """Write a sum of multiples of two registers."""
    u, v, out = op[U], op[V], op[OUT]
    a, c = numbers[0], numbers[1]
    for j in range(width):
        b[out, 0, j] = a * b[u, 0, j] + c * b[v, 0, j]
        b[out, 1, j] = a * b[u, 1, j] + c * b[v, 1, j]


# Without contractions, see `activate_differences`.
@njit(nogil=True, cache=True)
def _sum_with_product(b: Array, op: Array, numbers: Array, width: int) -> None:
    """Write a sum of multiples of two registers, and of the product of two others with slopes."""
    u, v, x, y, slopes, out = op[U], op[V], op[X], op[Y], op[SLOPES], op[OUT]
    a, c, d, e = numbers[0], numbers[1], 0.5 * numbers[2], 0.5 * numbers[3]
    for j in range(width):
        near = d * b[x, 0, j] + e * b[y, 0, j]
        far = d * b[x, 1, j] + e * b[y, 1, j]
        turned = near * b[slopes, 1, j] + far * b[slopes, 0, j]
        rest = near * b[slopes, 0, j] + far * b[slopes, 1, j]
        b[out, 0, j] = a * b[u, 0, j] + c * b[v, 0, j] + turned
        b[out, 1, j] = a * b[u, 1, j] + c * b[v, 1, j] + rest


@njit(nogil=True, cache=True, fastmath={"contract"})
def _activate(
    b: Array, u: int, out: tuple[int, int], kink: float, tangent: bool, width: int
) -> None:
    """Write both gaps of φ and of φ' for an activation with this kink, see `recursion`."""
    made, slopes = out
    for j in range(width):
        near, far = b[u, 0, j], b[u, 1, j]
        acute = near <= far
        least = near if acute else far
        v = 0.5 * least
        root = math.sqrt(v)
        deficit = kink * (v * root * deficit_factor(v))
        turned = (1.0 - kink) * least + deficit
        b[made, 0, j] = near - deficit if acute else (2.0 - kink) - turned
        b[made, 1, j] = far + deficit if acute else kink + turned
        if tangent:
            turn = root * angle_factor(v)
            turn = turn if acute else 1.0 - turn
            b[slopes, 0, j] = kink * turn
            b[slopes, 1, j] = (2.0 - kink) + kink * (1.0 - turn)


@njit(nogil=True, cache=True)
def propagate(
    gaps: Array,
    network: tuple[Program, Array],
    targets: tuple[Target, Target],
    one: float,
    position: Position,
    start: int,
) -> int:
    """Take rows of a tile of pairs through the program and write what is asked for at each depth.

    Parameters
    ----------
    gaps : ndarray (rows, columns)
        Gaps of the inputs, with a sign.
    network : tuple of Program, ndarray
        The program, and the kinks of its activations.
    targets : tuple of Target
        Where the two kernels go, NNGP and NTK, with the scales of the samples of the tile.
    one : float
        See `Target`.
    position : Position
        Where the tile lies.
    start : int
        The first row.

    Returns
    -------
    int
        The number of rows.
    """
    program, kinks = network
    b = np.empty((program.registers, 2, spread(gaps.shape[1])))
    b[NOTHING, 0], b[NOTHING, 1] = 0.0, 2.0
    for i in range(start, gaps.shape[0]):
        # Samples with themselves, and what lies left of the diagonal, are left out.
        skipped = i + 1 if position.diagonal else 0
        width = gaps.shape[1] - skipped
        for j in range(width):
            gap = gaps[i, skipped + j]
            other = -gap if gap < 0.0 else 2.0 - gap
            b[INPUTS, 0, j] = 2.0 + gap if gap < 0.0 else gap
            b[INPUTS, 1, j] = other if other > TINY else 0.0
        for k in range(len(program.instructions)):
            op, numbers = program.instructions[k], program.numbers[k]
            flag = op[FLAG] == 1
            if op[KIND] == ACTIVATE:
                out = op[OUT], op[SLOPES_OUT]
                _activate(b, op[U], out, kinks[op[INDEX]], flag, width)
            elif op[KIND] == WRITE:
                u = b[op[U], 0, :width], b[op[U], 1, :width]
                v = b[op[V], 0, :width], b[op[V], 1, :width]
                write_row(targets, (u, v), one, position, (op[INDEX], i))
            elif flag:
                _sum_with_product(b, op, numbers, width)
            else:
                _sum(b, op, numbers, width)
    return len(gaps)
