# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: D103, T201 (a script of the tests)
"""Which lines of the CUDA sources the tests on the processor run.

    python3 cpp/tests/cuda/coverage.py [--at-least 95]

Prints, for each file, the share of its lines and those that are never run; of a line of a template
it is enough that one instance runs it. Ends with status 1 below the least share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from build_tests import CPP, SOURCES, Build

MEASURED = (CPP / "include/fastntk/cuda", CPP / "src/cuda")


def counts(build: Build) -> dict[Path, dict[int, int]]:
    """Return how often each line of each file was run."""
    lines: dict[Path, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for notes in sorted(build.folder.glob("*.gcno")):
        report = subprocess.run(
            ["gcov", "--json-format", "--stdout", str(notes)],
            check=True,
            capture_output=True,
            cwd=build.folder,
        )
        for text in report.stdout.splitlines():
            for source in json.loads(text)["files"]:
                path = Path(source["file"]).resolve()
                if not any(path.is_relative_to(folder) for folder in MEASURED):
                    continue
                for line in source["lines"]:
                    lines[path][line["line_number"]] += line["count"]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-least", type=float, default=95.0, help="percent")
    parser.add_argument("--jobs", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build = Build(Path(folder), ["--coverage"])
        build.compile_all(SOURCES, chosen.jobs)
        if failure := build.failure(SOURCES, Path(folder) / "tests"):
            print(f"the tests fail: {failure}")
            return 1
        measured = counts(build)
    run = total = 0
    for path, lines in sorted(measured.items()):
        missed = sorted(number for number, count in lines.items() if count == 0)
        run += len(lines) - len(missed)
        total += len(lines)
        print(
            f"{100 * (1 - len(missed) / len(lines)):6.1f} %  {path.relative_to(CPP)}  "
            f"{'never run: ' + str(missed) if missed else ''}"
        )
    share = 100 * run / total
    print(f"{share:6.1f} %  of {total} lines")
    return 0 if share >= chosen.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
