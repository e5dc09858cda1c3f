# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of described networks after several numbers of blocks in one pass.

As with `depth_sweep`, networks share the weights of their common layers, and the Gram matrices of
what these make are computed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastntk.kernels.destinations import new_kernels
from fastntk.kernels.request import KernelRequest

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk._support.progress import Progress
    from fastntk.devices.place import Place
    from fastntk.networks.wired import WiredNetwork


def ntk_blocks(
    network: WiredNetwork, place: Place, X: Any, dtype: FloatDType, progress: Progress
) -> dict[int, FloatArray]:
    """Return the kernel K(X, X) after each number of blocks of a network that has several.

    Parameters
    ----------
    network : WiredNetwork
    place : Place
    X : array (n, d)
        Samples as the place has them.
    dtype : dtype
        Precision of the Gram matrices and of the kernels.
    progress : bool or callable
    """
    request = KernelRequest.precise(
        network, place, X, outputs=range(network.n_outputs), split="none", dtype=dtype
    )
    assert network.blocks is not None
    return dict(zip(network.blocks, new_kernels(request, progress), strict=True))
