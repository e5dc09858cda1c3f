# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The test double of CuPy: as strict as CuPy, and with its names and parameters."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastntk
from fastntk.devices.gpu_arrays import device_matrix, on_gpu

DOUBLE = Path(__file__).parent / "cupy_on_host"
PACKAGES = str(Path(fastntk.__file__).parent.parent)

# Prints {name: parameters, None where they cannot be known, or "nothing" where it does not exist}.
_SIGNATURES = """
import inspect, json, re, sys
import cupy, cupyx, cupyx.scipy.linalg
import cupy.cuda.memory, cupy.cuda.runtime

def parameters(thing):
    try:
        return list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        # Cython writes the parameters, with their types, into the first line of the docstring.
        first = (getattr(thing, "__doc__", None) or "").split(chr(10))[0]
        found = re.match(r"[\\w.]+\\((.*)\\)", first)
        if not found:
            return None
        parts = [part.split("=")[0].split()[-1] for part in found[1].split(", ") if part]
        return [part.lstrip("*") for part in parts if part.strip("*/\\\\")]

names = json.loads(sys.stdin.read())
result = {}
for name in names:
    thing = {"cupy": cupy, "cupyx": cupyx}[name.split(".")[0]]
    for part in name.split(".")[1:]:
        thing = getattr(thing, part, None)
    result[name] = "nothing" if thing is None else parameters(thing)
print(json.dumps(result))
"""

# These tests are of the double alone.
OWN = {"cupy.host_copies"}
OWN |= {f"cupy.cuda.memory.{name}" for name in ("total", "default_pool", "free_bytes_of_device")}
OWN |= {f"cupy.cuda.memory.MemoryPool.{name}" for name in ("take", "give_back", "peak")}


def public_names(module: Any, prefix: str) -> list[str]:
    """Return the functions, classes and methods that a module of the double defines or lists."""
    found = []
    for name, thing in vars(module).items():
        listed = name in getattr(module, "__all__", ())
        if name[0] == "_" or not (listed or getattr(thing, "__module__", "") == module.__name__):
            continue
        found.append(f"{prefix}.{name}")
        if isinstance(thing, type):
            methods = vars(thing).items()
            found += [f"{prefix}.{name}.{m}" for m, f in methods if callable(f) and m[0] != "_"]
    return [name for name in found if name not in OWN]


def test_the_real_one_has_all_that_the_double_has(cupy: Any) -> None:
    import cupyx.scipy.linalg

    python = [sys.executable, "-c", "import cupyx.scipy.linalg"]
    if subprocess.run(python, capture_output=True, check=False).returncode != 0:
        pytest.skip("CuPy is not installed")
    modules = {
        "cupy": cupy,
        "cupy.cuda": cupy.cuda,
        "cupy.cuda.memory": cupy.cuda.memory,
        "cupy.cuda.runtime": cupy.cuda.runtime,
        "cupy.cuda.cublas": cupy.cuda.cublas,
        "cupy.linalg": cupy.linalg,
        "cupyx": cupyx,
        "cupyx.scipy.linalg": cupyx.scipy.linalg,
    }
    names = [name for prefix, module in modules.items() for name in public_names(module, prefix)]
    assert "cupy.linalg.cholesky" in names
    assert "cupy.ndarray.get" in names
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", _SIGNATURES],
                input=json.dumps(names),
                # The double imports the package, which need not be installed.
                env=dict(os.environ, PYTHONPATH=os.pathsep.join([*path, PACKAGES])),
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for path in ([str(DOUBLE)], [])
    ]
    for name in names:
        mine, real = found[0][name], found[1][name]
        assert real != "nothing", f"CuPy has no {name}"
        # A ufunc calls its argument x, whatever the double does.
        if mine and real and real[0] != "x" and "kwargs" not in real:
            missing = [parameter for parameter in mine if parameter not in real]
            assert not missing, f"{name} of CuPy takes {real}, not {missing}"


def test_nothing_is_converted_unasked(cupy: Any) -> None:
    x = cupy.asarray(np.arange(6.0).reshape(2, 3))
    conversions: list[Any] = [np.asarray, lambda a: np.array(a, dtype=float)]
    for convert in conversions:
        with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
            convert(x)
    operations: list[Any] = [lambda: x + np.ones(3), lambda: np.ones(3) * x, lambda: x @ np.ones(3)]
    for operation in operations:
        with pytest.raises(TypeError, match="Unsupported type"):
            operation()
    with pytest.raises(TypeError, match="Unsupported type"):
        x[0] = np.ones(3)
    assert not isinstance(x, np.ndarray)
    assert isinstance(x[0, 0], cupy.ndarray)
    assert isinstance(x.sum(), cupy.ndarray)
    assert np.array_equal((2.0 * x + np.float64(1)).get(), 2.0 * x.get() + 1)


def test_views_share_memory_and_copies_are_counted(cupy: Any) -> None:
    x = cupy.zeros((3, 4))
    x[1:, ::2] = 1.0
    x.T[0, 0] = 5.0
    element = x[2, 3]
    x[2, 3] = 7.0
    cupy.host_copies.clear()
    assert float(element) == 7.0
    assert cupy.host_copies == [8]
    assert cupy.asnumpy(x).tolist() == [[5, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 7]]
    assert cupy.host_copies == [8, 96]
    square = cupy.zeros((3, 3))
    square.diagonal()[:] = 2.0
    assert float(square.sum()) == 6.0


def test_other_libraries_see_an_array_on_a_gpu(cupy: Any) -> None:
    x = cupy.asarray(np.arange(6.0).reshape(2, 3))
    assert on_gpu(x)
    seen = device_matrix(x, "X")
    assert (seen.pointer, seen.shape, seen.stream) == (x.data.ptr, (2, 3), 1)
    with cupy.cuda.Stream() as stream:
        assert device_matrix(x, "X").stream == stream.ptr
    assert device_matrix(x, "X").stream == 1

    class Other:
        def __init__(self) -> None:
            self.__cuda_array_interface__ = x.__cuda_array_interface__ | {"stream": 7}

        __array__ = None

    class ByDLPack:
        __dlpack__, __dlpack_device__ = x.__dlpack__, x.__dlpack_device__

    cupy.cuda.runtime.synchronized.clear()
    for other in (cupy.asarray(Other()), cupy.from_dlpack(ByDLPack())):
        assert other.data.ptr == x.data.ptr
        other[0, 0] += 1.0
    assert float(x[0, 0]) == 2.0
    assert cupy.cuda.runtime.synchronized == [7]


def test_memory_is_counted(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = cupy.get_default_memory_pool()
    gc.collect()  # what other tests have left would be freed meanwhile
    before = pool.used_bytes()
    x = cupy.empty((4, 4))
    y = x[1:].T
    del x
    assert pool.used_bytes() == before + 128
    del y
    assert pool.used_bytes() == before
    monkeypatch.setattr(cupy.cuda.memory, "total", before + 100)
    with pytest.raises(MemoryError, match="Out of memory allocating 128 bytes"):
        cupy.empty((4, 4))


def test_errors_of_cusolver_are_ignored_unless_asked_for(cupy: Any) -> None:
    import cupyx

    indefinite = cupy.asarray(np.diag([1.0, -1.0]))
    assert np.isnan(cupy.linalg.cholesky(indefinite).get()).any()
    with (
        cupyx.errstate(linalg="raise"),
        pytest.raises(np.linalg.LinAlgError, match=r"devInfo = \[2\]"),
    ):
        cupy.linalg.cholesky(indefinite)
    assert np.isnan(cupy.linalg.cholesky(indefinite).get()).any()


@pytest.mark.parametrize("trans", ["N", "T"])
@pytest.mark.parametrize("lower", [True, False])
def test_triangular_systems(cupy: Any, lower: bool, trans: str) -> None:
    from cupyx.scipy.linalg import solve_triangular

    random = np.random.default_rng(0)
    a, b = random.standard_normal((5, 5)) + 5 * np.eye(5), random.standard_normal((5, 2))
    triangle = np.tril(a) if lower else np.triu(a)
    for order in ("C", "F"):
        matrix = cupy.asarray(np.array(a, order=order))
        x = solve_triangular(matrix, cupy.asarray(b), trans=trans, lower=lower)
        assert np.allclose((triangle.T if trans == "T" else triangle) @ x.get(), b)
        x = solve_triangular(matrix, cupy.asarray(b[:, 0]), trans=trans, lower=lower)
        assert x.shape == (5,)
