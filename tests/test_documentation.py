# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every example in the documentation runs, every public name has a page, and links lead somewhere.

The site itself is built by .ci/run, which runs its tutorials and checks links between its pages.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections import Counter
from pathlib import Path

import pytest
from test_structure import PUBLIC

import fastntk

MODULES = [
    module.name
    for module in pkgutil.walk_packages(fastntk.__path__, "fastntk.")
    # torch_layers is imported with PyTorch.
    if not module.name.endswith(("._core", ".__main__", ".torch_layers"))
]
ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs"
PAGES = [
    path.relative_to(ROOT).as_posix()
    for folder, pattern in ((ROOT, "*.md"), (ROOT / ".github", "*.md"), (SITE, "**/*.md"))
    for path in sorted(folder.glob(pattern))
]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[str]:
    """Return the blocks of Python on a page; the cells of tutorials are run with the site."""
    return re.findall(r"^```python\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


WITH_EXAMPLES = [page for page in PAGES if blocks_of(page)]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    if name.startswith("fastntk.distributed"):
        for needed in ("dask.array", "zarr"):
            pytest.importorskip(needed, reason="needs fastntk[distributed]")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_docstrings_have_examples_at_all() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = sum(
        len(test.examples)
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
    )
    assert examples > 20


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_examples_of_pages(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page):
        exec(compile(block, page, "exec"), {})


def test_pages_have_examples_at_all() -> None:
    assert "README.md" in WITH_EXAMPLES
    assert {"docs/how_to/precision.md", "docs/how_to/large_n.md"} <= set(WITH_EXAMPLES)


def listed() -> list[str]:
    """Return the names, with their modules, that have a page in the reference or stand on one."""
    found, module = [], ""
    for path in sorted((SITE / "reference").glob("*.md")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.split()[-1]
            elif entry := re.fullmatch(r"(?:   |\.\. py:data:: )(\w+)", line):
                found.append(f"{module}.{entry[1]}")
    return found


def test_every_public_name_has_one_page() -> None:
    """The same object under a second name has that of the first."""
    counts = Counter(listed())
    assert [name for name, count in counts.items() if count > 1] == []
    public = {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module, names in PUBLIC.items()
        for name in names
        if name != "__version__"
    }
    objects = {name: value for name, value in public.items() if not inspect.ismodule(value)}
    assert counts.keys() - objects.keys() == set()
    shown = {id(objects[name]) for name in counts}
    assert [name for name, value in objects.items() if id(value) not in shown] == []


LINKS = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)|^```\{(?:image|include)\} (\S+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files(page: str) -> None:
    links = [link or file for link, file in LINKS.findall(text_of(page))]
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not ((ROOT / page).parent / link).exists()] == []


def test_the_tutorials_are_run_with_the_site() -> None:
    tutorials = [path for path in (SITE / "first_hour").glob("*.md") if path.stem != "index"]
    assert len(tutorials) >= 5
    for path in tutorials:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("---\nfile_format: mystnb\n")
        assert "```{code-cell}" in text
