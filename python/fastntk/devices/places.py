# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The place for a computation: the one that is asked for, or where its arrays are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastntk._support import arguments
from fastntk.devices import gpu_arrays
from fastntk.devices.processor import PROCESSOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastntk.devices.place import Place


def place_of(device: str | None, arrays: Mapping[str, Any]) -> Place:
    """Return where to compute.

    Parameters
    ----------
    device : str or None
        "cpu", "cuda" (the first GPU) or "cuda:1" (the second); None: where the arrays are.
    arrays : mapping of str to array_like or None
        By the names of the arguments; None is left out.

    Raises
    ------
    ValueError
        If there is no such device.
    TypeError
        If some arrays lie on a GPU and others do not, or if they lie where they cannot be used.
    RuntimeError
        If a GPU is asked for, and cannot be used: the reason.
    """
    number = _gpu_number(device)
    there = [
        name for name, values in arrays.items() if values is not None and gpu_arrays.on_gpu(values)
    ]
    if not there and number is None:
        return PROCESSOR
    from fastntk.devices.gpu import GpuForDeviceArrays, GpuForHostArrays, UnusableGpuError

    if not there and number is not None:
        try:
            return GpuForHostArrays(number)
        except UnusableGpuError as reason:
            raise RuntimeError(f"device={arguments.shown(device)}: {reason}") from None
    given = {name: values for name, values in arrays.items() if values is not None}
    first = there[0]
    if device == "cpu":
        raise TypeError(
            f"{first} lies in the memory of a GPU: expected an array of the host for "
            f"device='cpu', such as cupy.asnumpy({first})"
        )
    lies_on = gpu_arrays.gpu_number(given[first])
    try:
        place = GpuForDeviceArrays(lies_on)
    except UnusableGpuError:
        gpu_arrays.refuse(given[first], first)
    for name in given:
        if name not in there:
            raise TypeError(
                f"{name} is an array of the host, but {first} lies in the memory of a GPU: "
                f"expected both on the same side, such as cupy.asarray({name})"
            )
    for name in there:
        found = gpu_arrays.gpu_number(given[name])
        if found != (lies_on if number is None else number):
            expected = f"that of {first}" if number is None else f"device={arguments.shown(device)}"
            raise ValueError(f"{name} lies on GPU {found}: expected {expected}")
    return place


def _gpu_number(device: object) -> int | None:
    if device is None or (isinstance(device, str) and device == "cpu"):
        return None
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", device) if isinstance(device, str) else None
    if match is None:
        raise ValueError(
            f"device={arguments.shown(device)}: expected 'cpu', 'cuda', or 'cuda:1' and so on"
        )
    return int(match[1] or 0)
