# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes the environment in which the peers run: ``python -m benchmarks.peers.environment DIR``.

A virtual environment of its own, as neural-tangents needs an older NumPy than fastntk's users have;
some minutes and 3 GB. ``pytest benchmarks`` finds the peers where FASTNTK_PEERS names DIR.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

# neural-tangents' last release, and the JAX and NumPy of its day, with which all of it works.
REQUIREMENTS = (
    "torch==2.13.0",
    "neural-tangents==0.6.5",
    "jax[cpu]==0.4.25",
    "numpy<2",
    "scipy<1.13",
)

# Written when everything is there: an environment without it was interrupted.
_COMPLETE = "fastntk-peers.txt"


def python_of(folder: Path) -> Path:
    """Return the Python of an environment."""
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def known_python() -> Path | None:
    """Return the Python of the environment that the variable FASTNTK_PEERS names, if any does."""
    folder = os.environ.get("FASTNTK_PEERS")
    return None if not folder else python_of(Path(folder))


def make_environment(folder: Path) -> Path:
    """Make the environment unless it is there, and return its Python."""
    mark, wanted = folder / _COMPLETE, "\n".join(REQUIREMENTS)
    if mark.exists() and mark.read_text() == wanted:
        return python_of(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").exists():
        raise FileExistsError(
            f"{folder} is there and is no virtual environment: name another, or one to be made"
        )
    print(f"making an environment with {', '.join(REQUIREMENTS)} in {folder}", flush=True)
    venv.create(folder, with_pip=True)
    python = python_of(folder)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    mark.write_text(wanted)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(make_environment(parser.parse_args().folder))


if __name__ == "__main__":
    main()
