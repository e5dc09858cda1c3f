# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Settings and fixtures for all tests."""

from __future__ import annotations

import os

# Processes that run the tests side by side share the processors out. Threads of each for every
# processor would mostly wait for those of the others, awake. Tests of threads set their number.
if _processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _processes)))

import functools
import importlib
import sys
import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import on_host
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RUNTIME = on_host.use()

# Figures need no screen.
os.environ.setdefault("MPLBACKEND", "Agg")

# Machines are shared and noisy: a slow example is no failure.
settings.register_profile("fastntk", deadline=None, max_examples=40)
settings.load_profile("fastntk")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long`` runs the long suites, and nothing else."""
    parser.addoption(
        "--long", action="store_true", help="run the long suites instead of the quick tests"
    )


# Python runs at about half its speed while lines are counted. Of a test with many cases so many are
# counted, as the others run the same lines: `fail_under` of pyproject.toml holds for what is left.
_CASES_MEASURED = 1


def pytest_configure(config: pytest.Config) -> None:
    """While lines are counted: do not count those of Numba's compiler, most of what runs."""
    if config.getoption("--cov", None):
        compiler: Any = importlib.import_module("numba.core.compiler")
        compile_extra = compiler.compile_extra

        @functools.wraps(compile_extra)
        def uncounted(*arguments: Any, **settings: Any) -> Any:
            counting = sys.gettrace()
            sys.settrace(None)
            try:
                return compile_extra(*arguments, **settings)
            finally:
                sys.settrace(counting)

        compiler.compile_extra = uncounted


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests marked ``long`` with ``--long``, and all others without."""
    wanted = bool(config.getoption("--long"))
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        (kept if (item.get_closest_marker("long") is not None) == wanted else dropped).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept
    # With contexts, which tests run a line is what is asked.
    if config.getoption("--cov", None) and not config.getoption("--cov-context"):
        cases: Counter[str] = Counter()
        for item in items:
            function = item.nodeid.partition("[")[0]
            cases[function] += 1
            if cases[function] > _CASES_MEASURED:
                item.add_marker("no_cover")


_CASES = "cases that held"


@pytest.fixture
def count_cases(
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[Literal["properties", "faults"], int], None]]:
    """What a long test calls with how many cases it has seen to hold; the summary adds them up."""
    counted: Counter[str] = Counter()

    def count(kind: Literal["properties", "faults"], cases: int = 1) -> None:
        counted[kind] += cases

    yield count
    # Reports take the properties of a test along, also from another process.
    request.node.user_properties.append((_CASES, dict(counted)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """State how many cases the long suites have counted."""
    counted: Counter[str] = Counter()
    for report in terminalreporter.stats.get("", []):
        if getattr(report, "when", None) == "teardown":
            for name, cases in report.user_properties:
                if name == _CASES:
                    counted.update(cases)
    for kind, cases in sorted(counted.items()):
        terminalreporter.write_line(f"{kind}: {cases} cases held")


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """After each test, pyplot knows of no figure: it warns of many."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="module")
def cupy() -> Iterator[Any]:
    """The test double of CuPy, which `import cupy` finds until the module's tests are done."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] in {"cupy", "cupyx"}]:
            patch.delitem(sys.modules, name)
        patch.syspath_prepend(Path(__file__).parent / "cupy_on_host")
        import cupy

        yield cupy
        for name in [name for name in sys.modules if name.split(".")[0] in {"cupy", "cupyx"}]:
            del sys.modules[name]


@pytest.fixture
def runtime() -> Iterator[on_host.Runtime]:
    """What stands in for CUDA; as it was after each test."""
    if _RUNTIME is None:
        pytest.skip(on_host.WHY_SKIPPED)
    yield _RUNTIME
    _RUNTIME.limit_memory(0)
    _RUNTIME.set_gpus(1)
    _RUNTIME.fail(b"", 0, 0)


@pytest.fixture
def xp(cupy: Any, runtime: on_host.Runtime, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The double of CuPy, whose arrays the runtime takes for arrays on the GPU."""
    described = cupy.ndarray.__cuda_array_interface__
    adopted: set[int] = set()

    def interface(self: Any) -> Any:
        memory = self._host
        while isinstance(memory.base, np.ndarray):
            memory = memory.base
        address = int(memory.__array_interface__["data"][0])
        if memory.nbytes and address not in adopted:
            adopted.add(address)
            runtime.adopt(address, memory.nbytes)

            def forget() -> None:
                adopted.discard(address)
                runtime.disown(address)

            weakref.finalize(memory, forget)
        return described.fget(self)

    monkeypatch.setattr(cupy.ndarray, "__cuda_array_interface__", property(interface))
    return cupy
