# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is said of GPUs: without a driver, and with drivers made for the test, each of one kind."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import fastntk
from fastntk import _core, cuda, info
from fastntk.devices import driver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# The functions of cuda.h that are used. A function that fails writes nothing, like the real ones;
# where it is told to (GARBAGE), it even leaves something to be misread.
DRIVER = r"""
#include <stddef.h>
#include <string.h>
#ifndef INIT
#define INIT 0
#endif
#ifndef COUNT_STATUS
#define COUNT_STATUS 0
#endif
#ifndef COUNT
#define COUNT 2
#endif
#ifndef VERSION
#define VERSION 13020
#endif
#ifndef MAJOR
#define MAJOR 9
#endif
static int ready = 0;
int cuInit(unsigned flags) { if (flags) return 1; if (!INIT) ready = 1; return INIT; }
int cuDriverGetVersion(int* version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int* count) {
  if (!ready) return 3;
#ifdef GARBAGE
  *count = 77;
#endif
  if (COUNT_STATUS) return COUNT_STATUS;
  *count = COUNT;
  return 0;
}
int cuDeviceGet(int* device, int ordinal) {
  if (ordinal < 0 || ordinal >= COUNT) return 101;
  *device = 40 + ordinal;  /* not the ordinal */
  return 0;
}
int cuDeviceGetName(char* name, int size, int device) {
  static const char* names[] = {"First GPU", "Second GPU"};
  if (device < 40 || size < 16) return 1;
  strcpy(name, names[device - 40]);
  return 0;
}
int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  if (device < 40) return 1;
  *bytes = (size_t)(80 + device - 40) << 30;  /* more than an int holds */
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  if (device < 40) return 1;
  if (attribute == 75) *value = MAJOR - (device - 40);
  else if (attribute == 76) *value = device - 40;
  else return 1;
  return 0;
}
#ifndef NO_MEANING
int cuGetErrorString(int status, const char** text) {
  if (status != 999) return 1;
  *text = "unknown error";
  return 0;
}
#endif
"""


@pytest.fixture
def use_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a driver of the given kind the one that is found, for an extension built with CUDA."""

    def use(source: str = DRIVER, **macros: int) -> None:
        file = tmp_path / "driver.c"
        file.write_text(source, encoding="ascii")
        # A library that was opened stays open: each needs its own name.
        library = tmp_path / f"libcuda{len(list(tmp_path.iterdir()))}.so.1"
        defines = [f"-D{name}={value}" for name, value in macros.items()]
        command = ["gcc", "-shared", "-fPIC", *defines, str(file), "-o", str(library)]
        subprocess.run(command, check=True)
        monkeypatch.setattr(driver, "_DRIVER", str(library))

    monkeypatch.setattr(_core, "cuda_runtime", 13000)
    monkeypatch.setattr(driver, "_cublas_candidates", lambda: ["libc.so.6"])
    return use


def test_without_cuda_in_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "cuda_runtime", 0)
    assert not cuda.is_available()
    assert cuda.runtime_version() is None
    reason = cuda.why_not()
    assert reason is not None
    assert "built without CUDA" in reason
    assert "pip install . -C cmake.define.FASTNTK_CUDA=ON" in reason


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "cuda_runtime", 13000)
    monkeypatch.setattr(driver, "_DRIVER", "libcuda-that-is-not-there.so.1")
    assert cuda.devices() == []
    reason = cuda.why_not()
    assert reason is not None
    assert reason.startswith("there is no NVIDIA driver (libcuda-that-is-not-there.so.1: cannot")
    assert "install one" in reason


def test_a_working_driver(use_driver: Callable[..., None]) -> None:
    use_driver()
    assert cuda.why_not() is None
    assert fastntk.cuda.is_available()
    assert cuda.devices() == [
        cuda.Device(0, "First GPU", (9, 0), 80 << 30, (13, 2), (13, 0)),
        cuda.Device(1, "Second GPU", (8, 1), 81 << 30, (13, 2), (13, 0)),
    ]


@pytest.mark.parametrize(
    ("macros", "expected"),
    [
        ({"INIT": 100}, "the NVIDIA driver finds no GPU: check nvidia-smi"),
        ({"INIT": 999}, r"does not work: cuInit returns 999 \(unknown error\): check it with nv"),
        ({"INIT": 803}, r"does not work: cuInit returns 803: check it with nvidia-smi"),
        ({"INIT": 999, "NO_MEANING": 1}, r"cuInit returns 999: check it"),
        ({"COUNT": 0}, "the NVIDIA driver finds no GPU"),
        ({"COUNT_STATUS": 100}, "the NVIDIA driver finds no GPU"),
        ({"COUNT_STATUS": 100, "GARBAGE": 1}, "the NVIDIA driver finds no GPU"),
        ({"COUNT_STATUS": 999}, r"cuDeviceGetCount returns 999 \(unknown error\)"),
        ({"COUNT_STATUS": 999, "GARBAGE": 1}, r"cuDeviceGetCount returns 999"),
    ],
)
def test_drivers_that_have_nothing_to_show(
    macros: dict[str, int], expected: str, use_driver: Callable[..., None]
) -> None:
    use_driver(**macros)
    assert cuda.devices() == []
    assert not cuda.is_available()
    with pytest.raises(AssertionError, match=expected):
        raise AssertionError(cuda.why_not())


def test_a_driver_that_is_too_old(
    use_driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_driver(VERSION=12080)
    expected = "the NVIDIA driver is too old: it runs programs up to CUDA 12.8, and fastntk was bu"
    assert str(cuda.why_not()).startswith(expected)
    assert len(cuda.devices()) == 2  # they are there all the same
    # Programs of CUDA 13.2 run on a driver of 13.0: the first number decides.
    use_driver(VERSION=13000)
    monkeypatch.setattr(_core, "cuda_runtime", 13020)
    assert cuda.is_available()


def test_gpus_that_are_too_old(use_driver: Callable[..., None]) -> None:
    use_driver(MAJOR=7)
    assert str(cuda.why_not()) == (
        "no GPU is recent enough: compute capability 8.0 or more is needed, found First GPU (7.0), "
        "Second GPU (6.1)"
    )
    use_driver(MAJOR=8, COUNT=2)  # the second alone is too old
    assert cuda.is_available()


def test_a_library_that_is_no_driver(use_driver: Callable[..., None]) -> None:
    use_driver("int cuInit(unsigned flags) { return (int)flags; }")
    assert cuda.devices() == []
    assert "has no function cuDriverGetVersion" in str(cuda.why_not())
    use_driver("int nothing;")
    assert "has no function cuInit" in str(cuda.why_not())


def test_without_cublas(use_driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    use_driver()
    monkeypatch.setattr(driver, "_cublas_candidates", lambda: ["libcublas-not-there.so.13"])
    assert cuda.cublas_library() is None
    assert str(cuda.why_not()).startswith("cuBLAS (libcublas.so.13) is not found: pip install nvi")


def test_cublas_of_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_driver: Callable[..., None]
) -> None:
    use_driver()
    monkeypatch.undo()
    assert driver._cublas_candidates()[-1] == "libcublas.so.13"
    folder = tmp_path / "site" / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True)
    (library,) = tmp_path.glob("libcuda*")  # any library will do
    wheel = library.rename(folder / "libcublas.so.13")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    assert str(wheel) in driver._cublas_candidates()
    assert cuda.cublas_library() == str(wheel)


def test_info_says_what_was_found(use_driver: Callable[..., None]) -> None:
    use_driver()
    rows = [value for what, value in info.describe() if what == "CUDA"]
    assert rows == [
        "First GPU, compute capability 9.0, 80.0 GiB, driver for CUDA 13.2",
        "Second GPU, compute capability 8.1, 81.0 GiB, driver for CUDA 13.2",
        "ready: built with CUDA 13.0; cuBLAS: libc.so.6",
    ]
    use_driver(INIT=100)
    rows = [value for what, value in info.describe() if what == "CUDA"]
    assert rows == [f"not used: {cuda.why_not()}"]


def test_import_asks_for_nothing() -> None:
    code = (
        "import sys, fastntk.cuda; fastntk.cuda.why_not(); fastntk.cuda.devices();"
        "print([m for m in ('cupy', 'torch', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
