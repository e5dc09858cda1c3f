# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""NVIDIA's driver, by ctypes: which GPUs there are, or why none can be used."""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import fastntk._core as _core

_DRIVER = "libcuda.so.1"
_CUBLAS = "libcublas.so.13"
_CUBLAS_WHEEL_FOLDER = "cu13/lib"

# The oldest GPUs that the extension has code for: Ampere.
_OLDEST_CAPABILITY = (8, 0)


# These numbers are CUDA_ERROR_NO_DEVICE and CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_… in cuda.h.
_ERROR_NO_DEVICE = 100
_ATTRIBUTE_CAPABILITY_MAJOR = 75
_ATTRIBUTE_CAPABILITY_MINOR = 76


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes
    ----------
    index : int
        Its number, from 0.
    name : str
        As the driver gives it, such as "NVIDIA H100".
    compute_capability : (int, int)
        Such as (9, 0) for an H100.
    memory : int
        Bytes, used or not.
    driver_version : (int, int)
        The CUDA version up to which the installed driver can run programs.
    runtime_version : (int, int) or None
        The CUDA version that fastntk was built with; None without CUDA.
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory: int
    driver_version: tuple[int, int]
    runtime_version: tuple[int, int] | None


class _UnusableError(Exception):
    """There is no driver that can be asked; the message says why, as a sentence."""


def is_available() -> bool:
    """Return whether fastntk can compute on a GPU here.

    Examples
    --------
    >>> from fastntk import cuda
    >>> cuda.is_available() == (cuda.why_not() is None)
    True
    """
    return why_not() is None


def why_not() -> str | None:
    """Return why fastntk cannot compute on a GPU here, and what to do; None if it can.

    Examples
    --------
    >>> from fastntk import cuda
    >>> reason = cuda.why_not()
    >>> print("ready" if reason is None else reason)  # doctest: +SKIP
    fastntk was built without CUDA: install it with "pip install . -C
    cmake.define.FASTNTK_CUDA=ON", which needs nvcc of CUDA 13
    """
    runtime = runtime_version()
    if runtime is None:
        return (
            'fastntk was built without CUDA: install it with "pip install . -C '
            'cmake.define.FASTNTK_CUDA=ON", which needs nvcc of CUDA 13'
        )
    try:
        driver = _Driver()
        version = driver.version()
        if version[0] < runtime[0]:
            return (
                f"the NVIDIA driver is too old: it runs programs up to CUDA {dotted(version)}, "
                f"and fastntk was built with CUDA {dotted(runtime)}: update the driver"
            )
        found = driver.devices()
    except _UnusableError as reason:
        return str(reason)
    if all(too_old(device) for device in found):
        old = ", ".join(f"{d.name} ({dotted(d.compute_capability)})" for d in found)
        return (
            f"no GPU is recent enough: compute capability {dotted(_OLDEST_CAPABILITY)} or more is "
            f"needed, found {old}"
        )
    if cublas_library() is None:
        return (
            f"cuBLAS ({_CUBLAS}) is not found: pip install nvidia-cublas, or put the folder of the "
            "CUDA toolkit's libraries into LD_LIBRARY_PATH"
        )
    return None


def too_old(device: Device) -> str | None:
    """Return why fastntk has no code for this GPU, or None if it has."""
    if device.compute_capability >= _OLDEST_CAPABILITY:
        return None
    return (
        f"{device.name} has compute capability {dotted(device.compute_capability)}: "
        f"{dotted(_OLDEST_CAPABILITY)} or more is needed"
    )


def devices() -> list[Device]:
    """Return the GPUs that the driver shows, whether or not fastntk was built for them.

    ``CUDA_VISIBLE_DEVICES`` chooses among them. Without a driver or a GPU the list is empty.

    Examples
    --------
    >>> from fastntk import cuda
    >>> all(device.memory > 0 for device in cuda.devices())
    True
    """
    try:
        return _Driver().devices()
    except _UnusableError:
        return []


def runtime_version() -> tuple[int, int] | None:
    """Return the CUDA version that fastntk was built with, or None if it was built without."""
    return _version(_core.cuda_runtime) if _core.cuda_runtime else None


def cublas_library() -> str | None:
    """Return the name or the path by which cuBLAS can be opened, or None if it cannot.

    The library of the wheel ``nvidia-cublas`` in this environment comes first, then the one that
    the system finds.
    """
    for candidate in _cublas_candidates():
        try:
            ctypes.CDLL(candidate)
        except OSError:
            continue
        return candidate
    return None


def _cublas_candidates() -> list[str]:
    nvidia = importlib.util.find_spec("nvidia")  # a package of the folders of several wheels
    folders = [] if nvidia is None else nvidia.submodule_search_locations or []
    in_wheels = [Path(folder) / _CUBLAS_WHEEL_FOLDER / _CUBLAS for folder in folders]
    return [*(str(path) for path in in_wheels if path.exists()), _CUBLAS]


def _version(number: int) -> tuple[int, int]:
    return number // 1000, number % 1000 // 10  # as in 12080 for 12.8


def dotted(version: tuple[int, int]) -> str:
    """Return a version or a compute capability as people write it: '13.0'."""
    return f"{version[0]}.{version[1]}"


class _Driver:
    """The driver's library, initialized. No output of a call is read unless the call succeeded."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_DRIVER)
        except OSError as error:
            raise _UnusableError(
                f"there is no NVIDIA driver ({error}): install one; in a container, start it with "
                "the GPUs made visible"
            ) from None
        status = self._status("cuInit", ctypes.c_uint(0))
        if status == _ERROR_NO_DEVICE:
            raise _UnusableError(_no_device())
        self._check("cuInit", status)

    def version(self) -> tuple[int, int]:
        number = ctypes.c_int(0)
        self._call("cuDriverGetVersion", ctypes.byref(number))
        return _version(number.value)

    def devices(self) -> list[Device]:
        count = ctypes.c_int(0)
        status = self._status("cuDeviceGetCount", ctypes.byref(count))
        if status == _ERROR_NO_DEVICE or (status == 0 and count.value == 0):
            raise _UnusableError(_no_device())
        self._check("cuDeviceGetCount", status)
        version = self.version()
        return [self._device(index, version) for index in range(count.value)]

    def _device(self, index: int, driver_version: tuple[int, int]) -> Device:
        device = ctypes.c_int(0)
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, ctypes.c_int(len(name)), device)
        memory = ctypes.c_size_t(0)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        capability = (
            self._attribute(_ATTRIBUTE_CAPABILITY_MAJOR, device),
            self._attribute(_ATTRIBUTE_CAPABILITY_MINOR, device),
        )
        return Device(
            index,
            name.value.decode("utf-8", errors="replace"),
            capability,
            memory.value,
            driver_version,
            runtime_version(),
        )

    def _attribute(self, attribute: int, device: ctypes.c_int) -> int:
        value = ctypes.c_int(0)
        self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
        return value.value

    def _call(self, name: str, *arguments: object) -> None:
        self._check(name, self._status(name, *arguments))

    def _status(self, name: str, *arguments: object) -> int:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise _UnusableError(
                f"{_DRIVER} has no function {name}: it is not a driver of NVIDIA, or a very old one"
            ) from None
        function.restype = ctypes.c_int
        return int(function(*arguments))

    def _check(self, name: str, status: int) -> None:
        if status != 0:
            raise _UnusableError(
                f"the NVIDIA driver does not work: {name} returns {status}"
                f"{self._meaning(status)}: check it with nvidia-smi"
            )

    def _meaning(self, status: int) -> str:
        text = ctypes.c_char_p()
        if not hasattr(self._library, "cuGetErrorString"):
            return ""
        # For a status that the driver does not know, the text stays empty.
        self._status("cuGetErrorString", ctypes.c_int(status), ctypes.byref(text))
        return f" ({text.value.decode(errors='replace')})" if text.value else ""


def _no_device() -> str:
    return (
        "the NVIDIA driver finds no GPU: check nvidia-smi and the environment variable "
        "CUDA_VISIBLE_DEVICES"
    )
