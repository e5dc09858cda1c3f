# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: T201 (a script of the tests)
"""Seeds small bugs into copies of the Python package and checks that the tests find each.

    python -m pytest --cov --cov-context=test --hypothesis-seed=0
    python tests/seed_bugs.py [--sample N] [--seed S] [--only WORD …] [--but WORD …] [--jobs N]

The first line records which test runs which line. A bug (`small_bugs.py`) is found if one of the
tests that run its line, or its function if that line runs as the module is imported, fails or does
not end; it survives if they pass, of which at most --most are tried. Nothing here is measured in
seconds: a sample ends everywhere in the same way. It is drawn by digests: a change of one module
leaves the bugs of the others as they were.

What cannot be found, since the package does the same with the bug or since no promise is broken,
stands in explained_bugs.toml with its reason. Ends with status 1 if another one survives.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import concurrent.futures
import contextlib
import hashlib
import importlib
import importlib.util
import itertools
import multiprocessing
import os
import queue
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import coverage
import numba
import on_host
import pytest
from small_bugs import Bug, bugs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Not imported here: the processes that run the tests import a copy.
_spec = importlib.util.find_spec("fastntk")
assert _spec is not None
assert _spec.origin is not None
PACKAGE = Path(_spec.origin).parent
ROOT = Path(__file__).parent.parent
EXPLAINED = Path(__file__).with_name("explained_bugs.toml")

# Modules that run on a GPU alone, for which the processor stands in (on_host.py).
OF_GPUS = ("gpu", "driver")
# What tests import, once for all processes.
PRELOADED = ["click.testing", "matplotlib.figure", "mpmath", "pandas", "pytest"]
PRELOADED += ["numba", "scipy.integrate", "scipy.linalg", "scipy.sparse.linalg", "scipy.stats"]
PRELOADED += ["sklearn"]

# A process in which no test ends for so long is taken for one that never ends.
SILENT_SECONDS = 180.0
# Tests of the first round, and the files they are taken from: each has to be imported.
FIRST_TESTS = 32
# That most tests of a file run a line says little if there are no more than these.
FEW_TESTS = 10
FIRST_FILES = 8


class Modules:
    """The package's modules as syntax trees, and their bugs."""

    def __init__(self, only: list[str], but: list[str]) -> None:
        self.trees = {
            path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted(PACKAGE.rglob("*.py"))
        }
        self.chosen = [
            path
            for path in self.trees
            if any(word in path for word in only)
            and not any(word in path for word in but)
            and (on_host.VARIABLE in os.environ or not any(word in path for word in OF_GPUS))
        ]

    def bugs(self) -> list[Bug]:
        return [bug for path in self.chosen for bug in bugs_of(path, self.trees[path])]

    def sample(self, count: int, seed: int) -> list[Bug]:
        """Draw bugs, each node as probable as any other."""
        nodes: dict[tuple[str, int], list[Bug]] = defaultdict(list)
        for bug in self.bugs():
            nodes[bug.path, bug.node].append(bug)
        drawn: dict[str, Bug] = {}
        # Known by their text, that of each function counted: what is elsewhere does not matter.
        for (path, _), bugs in nodes.items():
            lines = self.sources[path][bugs[0].lines.start - 1 : bugs[0].lines.stop - 1]
            text = f"{seed} {path} {bugs[0].column} {lines}"
            digest = hashlib.sha256(text.encode()).hexdigest()
            drawn[digest] = random.Random(digest).choice(bugs)
        return [drawn[digest] for digest in sorted(drawn)[:count]]

    @cached_property
    def sources(self) -> dict[str, list[str]]:
        return {
            path: (PACKAGE / path).read_text(encoding="utf-8").splitlines() for path in self.trees
        }

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """What each module imports."""
        return {path: _imported(tree) for path, tree in self.trees.items()}

    @cached_property
    def imports_of_tests(self) -> dict[str, set[str]]:
        """What each file of tests imports."""
        files = (ROOT / "tests").rglob("test_*.py")
        return {
            file.relative_to(ROOT).as_posix(): _imported(ast.parse(file.read_text("utf-8")))
            for file in sorted(files)
        }

    def importers(self, path: str) -> list[str]:
        """Return the modules that import this one."""
        return [other for other, names in self.imports.items() if _name(path) in names]

    def tests_of(self, path: str) -> set[str]:
        """Return the files of tests that import this module."""
        return {file for file, names in self.imports_of_tests.items() if _name(path) in names}

    def compiled_with(self, path: str) -> set[str]:
        """Return the modules whose compiled functions can contain something of this one."""
        found, new = set(), {path}
        while new:
            found |= new
            new = {
                other
                for one in new
                for other in self.importers(one)
                if self._compiles(other) or other.endswith("__init__.py")
            } - found
        return found

    def _compiles(self, path: str) -> bool:
        """Return whether a module has functions that Numba compiles."""
        names = self.imports[path]
        return "numba" in names or "fastntk.infinite.duals.compiled.Loop" in names


def _imported(tree: ast.Module) -> set[str]:
    """Return what a module imports, by dotted names; of packages, each name."""
    return {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    }


def _name(path: str) -> str:
    return "fastntk." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Tests:
    """Which tests run which lines."""

    def __init__(self, data: Path, modules: Modules) -> None:
        self.modules = modules
        recorded = coverage.CoverageData(str(data))
        recorded.read()
        self.lines: dict[str, dict[int, set[str]]] = {}
        for path in recorded.measured_files():
            tail = Path(path).as_posix().rpartition("/fastntk/")[2]
            self.lines[tail] = {
                line: {test.rpartition("|")[0] for test in tests}
                for line, tests in recorded.contexts_by_lineno(path).items()
            }
        # How many lines of the package each runs: those that run few are quick, and ask for little.
        self.sizes = Counter(
            test for lines in self.lines.values() for tests in lines.values() for test in tests
        )
        del self.sizes[""]
        self.in_file = Counter(test.partition("::")[0] for test in self.sizes)

    def contexts(self, path: str, lines: Iterable[int]) -> set[str]:
        """Return what has run some lines: tests, and "" for what comes before all tests."""
        recorded = self.lines.get(path, {})
        return {test for line in lines for test in recorded.get(line, ())}

    def that_run(self, path: str, lines: Iterable[int]) -> set[str]:
        return self.contexts(path, lines) - {""}

    def of(self, bug: Bug) -> tuple[set[str], set[str]]:
        """Return the tests that run what is changed, or else what is around it, and further ones.

        What is run before all tests, as modules are imported, may be used by tests that run
        nothing but other lines of the module.
        """
        everything = range(1, 100_000)
        early = "" in self.contexts(bug.path, bug.lines)
        further = self.that_run(bug.path, everything) if early else set()
        ways = (self.that_run(bug.path, lines) for lines in (bug.lines, *bug.within, everything))
        found = next((tests for tests in ways if tests), set())
        if not found or (not early and not self.that_run(bug.path, bug.lines)):
            # A compiled function is run by its callers, which no tracer sees: tests of modules that
            # import it, and all of a file that does.
            found |= self.modules.tests_of(bug.path)
            for other in self.modules.importers(bug.path):
                found |= self.that_run(other, everything)
        return found, further - found

    def rounds(self, bug: Bug, most: int) -> list[list[str]]:
        """Return tests in the order in which they are tried, in two rounds.

        Files of whose tests the largest part runs what is changed come first, and of each file the
        tests that run the fewest lines; files take turns. The second round is for what survives.
        """
        direct, further = self.of(bug)
        by_file: dict[str, list[str]] = defaultdict(list)
        for test in sorted(direct | further, key=lambda t: (t in further, self.sizes[t], t)):
            by_file[test.partition("::")[0]].append(test)
        share = {file: len(by_file[file]) / (self.in_file[file] + FEW_TESTS) for file in by_file}
        for file in direct & by_file.keys():  # whole ones
            by_file[file], share[file] = [file], 1.0
        files = sorted(by_file, key=lambda file: (-share[file], file))
        turns = itertools.zip_longest(*(by_file[file] for file in files[:FIRST_FILES]))
        first = [test for turn in turns for test in turn if test is not None][:FIRST_TESTS]
        turns = itertools.zip_longest(*(by_file[file] for file in files))
        tried = set(first)
        second = [test for turn in turns for test in turn if test is not None and test not in tried]
        return [tests for tests in (first, second[: most - len(first)]) if tests]


@dataclass(frozen=True)
class Outcome:
    """How the tests ended: "found", "survives" or "not run", and what found the bug."""

    word: str
    by: str = ""


def run_pytest(arguments: list[str], environment: dict[str, str], written: Path) -> None:
    """Run tests on another package than this one; for a process of its own."""
    os.setsid()
    with written.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(ROOT)
    os.environ |= environment
    # Compiled code lies beside the modules, where the copy has it.
    cast("Any", numba.config).CACHE_DIR = ""
    for name in ("NUMBA_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    sys.dont_write_bytecode = False
    sys.path[:0] = [environment["PYTHONPATH"], str(ROOT)]
    status = pytest.main(arguments)
    sys.stdout.flush()
    os._exit(int(status))


class Copy:
    """A copy of the package, and of what Numba has compiled of it, for one bug at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "package" / "fastntk"
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("*.pyc"))
        compileall.compile_dir(self.package, quiet=1)

    def run(self, tests: list[str]) -> tuple[int | None, str]:
        """Return the status of pytest, None if it did not end, and what it wrote."""
        names, written = self.folder / "tests", self.folder / "written"
        names.write_text("\n".join(tests), encoding="utf-8")
        environment = {
            "PYTHONPATH": str(self.folder / "package"),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(self.folder / "hypothesis"),
        }
        arguments = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider"]
        arguments += ["--hypothesis-seed=0", f"--basetemp={self.folder / 'scratch'}", f"@{names}"]
        process = multiprocessing.get_context("forkserver").Process(
            target=run_pytest, args=(arguments, environment, written)
        )
        process.start()
        size, last = -1, time.monotonic()
        while process.is_alive() and time.monotonic() - last < SILENT_SECONDS:
            process.join(1.0)
            if size < (size := _size(written)):
                last = time.monotonic()
        status = process.exitcode
        # The tests may have left processes of their own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        return status, written.read_text(encoding="utf-8", errors="replace")

    def require_success(self, tests: list[str]) -> None:
        """Raise if tests fail without any bug."""
        status, output = self.run(tests) if tests else (0, "")
        if status != 0:
            raise RuntimeError(f"tests fail without any bug:\n{output}")

    @contextlib.contextmanager
    def _compiled_anew(self, modules: set[str]) -> Iterator[None]:
        """Set aside what Numba has compiled of these modules; what it compiles meanwhile goes."""
        before = self._compiled(modules)
        for file in before:
            file.rename(file.with_suffix(".aside"))
        try:
            yield
        finally:
            for file in self._compiled(modules):
                file.unlink()
            for file in before:
                file.with_suffix(".aside").rename(file)

    def _compiled(self, modules: set[str]) -> list[Path]:
        return [
            file
            for path in map(self.package.joinpath, modules)
            for file in (path.parent / "__pycache__").glob(f"{path.stem}.*.nb[ci]")
        ]

    def outcome(self, module: str, source: str, affected: set[str], tests: list[str]) -> Outcome:
        """Run tests with another source of a module; the affected ones may have to be compiled."""
        path = self.package / module
        original, times = path.read_bytes(), path.stat()
        path.write_text(source, encoding="utf-8")
        try:
            with self._compiled_anew(affected):
                status, output = self.run(tests)
                if status == pytest.ExitCode.USAGE_ERROR:
                    # Tests are called by what the bug has changed: take all of the same function.
                    functions = list(dict.fromkeys(test.partition("[")[0] for test in tests))
                    status, output = self.run(functions)
        finally:
            path.write_bytes(original)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        if status == pytest.ExitCode.USAGE_ERROR:
            # All modules of tests can be imported without the bug.
            if "found no collectors for" in output:
                return Outcome("found", "a module of tests cannot be imported")
            return Outcome("not run", output[-300:])
        if status is None:
            return Outcome("found", "did not end")
        if status == 0:
            return Outcome("survives")
        failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - |$)", output, re.MULTILINE)
        return Outcome("found", failed[1] if failed else f"status {status}: {output[-300:]}")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def explained() -> dict[tuple[str, str, str], str]:
    """Return the reasons for bugs that cannot be found, by module, removed and added lines."""
    with EXPLAINED.open("rb") as file:
        entries = tomllib.load(file)["bug"]
    return {(entry["path"], entry["old"], entry["new"]): entry["reason"] for entry in entries}


@contextlib.contextmanager
def in_copies(jobs: int) -> Iterator[tuple[concurrent.futures.Executor, queue.Queue[Copy]]]:
    """Yield so many copies of the package, and what tries bugs in all of them at once.

    Whoever takes a copy puts it back.
    """
    multiprocessing.set_forkserver_preload(PRELOADED)
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ThreadPoolExecutor(jobs) as pool,
    ):
        copies: queue.Queue[Copy] = queue.Queue()
        for number in range(jobs):
            copies.put(Copy(Path(folder) / str(number)))
        yield pool, copies


def outcomes(
    bugs: list[Bug], tests: Tests, most: int, jobs: int
) -> Iterator[tuple[Bug, tuple[str, str], Outcome]]:
    """Yield each bug, how it changes the module, and what has become of it."""
    known = explained()
    with in_copies(jobs) as (pool, copies):
        copied = copies.get()
        copied.require_success(sorted(tests.sizes, key=lambda test: (tests.sizes[test], test))[:1])
        copies.put(copied)

        def outcome(bug: Bug) -> tuple[Bug, tuple[str, str], Outcome]:
            tree = tests.modules.trees[bug.path]
            change = bug.difference(tree)
            if (bug.path, *change) in known:
                return bug, change, Outcome("explained", known[bug.path, *change])
            result = Outcome("not run")
            copied = copies.get()
            try:
                affected = tests.modules.compiled_with(bug.path)
                for chosen in tests.rounds(bug, most):
                    result = copied.outcome(bug.path, bug.applied(tree), affected, chosen)
                    if result.word == "found":
                        break
            finally:
                copies.put(copied)
            return bug, change, result

        found_by: set[str] = set()
        for result in pool.map(outcome, bugs):
            yield result
            if result[2].word == "found":
                found_by.add(result[2].by)
        # A test that fails without any bug has found none.
        copies.get().require_success(sorted(found_by & tests.sizes.keys()))


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=100, help="so many bugs")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument(
        "--only", nargs="*", default=[""], help="modules whose path has such a word"
    )
    parser.add_argument("--but", nargs="*", default=[], help="no modules with such a word")
    parser.add_argument("--list", action="store_true", help="show the bugs and end")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--most", type=int, default=400, help="tests that are tried for each bug")
    parser.add_argument("--coverage", type=Path, default=ROOT / ".coverage")
    asked = parser.parse_args()
    modules = Modules(asked.only, asked.but)
    bugs = modules.sample(asked.sample, asked.seed)
    if asked.list:
        for bug in bugs:
            old, new = bug.difference(modules.trees[bug.path])
            print(f"{bug.path}:{bug.lines.start}: {bug.kind}\n  - {old}\n  + {new}")
        return 0
    began = time.monotonic()
    counts: dict[str, int] = defaultdict(int)
    tests = Tests(asked.coverage, modules)
    for bug, (old, new), outcome in outcomes(bugs, tests, asked.most, asked.jobs):
        counts[outcome.word] += 1
        print(f"{outcome.word:9} {bug.path}:{bug.lines.start}: {bug.kind}: {outcome.by}")
        if outcome.word != "found":
            print(f"  - {old}\n  + {new}")
        sys.stdout.flush()
    words = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(f"{len(bugs)} bugs: {words}; {time.monotonic() - began:.0f} s")
    return 1 if counts["survives"] + counts["not run"] else 0


if __name__ == "__main__":
    sys.exit(main())
