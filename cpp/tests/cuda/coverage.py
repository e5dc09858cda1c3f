# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: D103, T201 (a script of the tests)
"""Which lines of the CUDA sources the tests on the processor have run.

    cmake -S cpp -B BUILD -DCMAKE_BUILD_TYPE=Debug -DFASTNTK_COVERAGE=ON
    cmake --build BUILD --target fastntk_cuda_tests && ctest --test-dir BUILD -R ^cuda
    python3 cpp/tests/cuda/coverage.py BUILD [--at-least 95]

Prints, for each file, the share of its lines and those that are never run; of a line of a template
it is enough that one instance runs it. Ends with status 1 below the least share, and if nothing was
measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from build_tests import CPP

MEASURED = (CPP / "include/fastntk/cuda", CPP / "src/cuda")


def counts(folder: Path) -> dict[Path, dict[int, int]]:
    """Return how often each line of each file was run by the tests that were built in a folder."""
    lines: dict[Path, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for notes in sorted(folder.rglob("*.gcno")):
        report = subprocess.run(
            ["gcov", "--json-format", "--stdout", str(notes.resolve())],
            check=True,
            capture_output=True,
            cwd=folder,
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
    parser.add_argument("build", type=Path, help="where the tests were built, and have run")
    parser.add_argument("--at-least", type=float, default=95.0, help="percent")
    chosen = parser.parse_args()
    measured = counts(chosen.build)
    if not measured:
        print(f"{chosen.build}: no test that was built with FASTNTK_COVERAGE has run")
        return 1
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
