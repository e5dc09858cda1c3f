# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The page of the paper, and the commands that write it."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from matplotlib.figure import Figure

from fastntk import paper
from fastntk._cli import cli
from fastntk.figures.panels import Line, Panel, Sheet, draw
from fastntk.paper import catalogue
from fastntk.paper.claims import Claim, Statement
from fastntk.paper.part import Part
from fastntk.paper.parts import scales
from fastntk.paper.report.page import page
from fastntk.paper.report.svg import _own_identifiers, element
from fastntk.paper.reproduction import Reproduction

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"
# Those that take seconds together.
QUICK = ("figure 5", "figure 6")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def reproduction(tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    folder = tmp_path_factory.mktemp("page")
    return paper.reproduce(folder, only=QUICK, seeds=2, width=32, progress=False)


# Figures in it.


def test_points_tell_their_numbers() -> None:
    x = np.array([1.0, 2.0, 3.0])
    lines = [
        Line(x=x, y=np.array([10.0, np.nan, 1000.0]), spread=x, label="ReLU", style="both"),
        Line(x=x[:1], y=np.array([50.0]), label="linear", style="open", hue=1),
        Line(x=x, y=x, label="diagonal", style="dotted"),
    ]
    sheet = Sheet(title="t", panels=[Panel(x="depth", y="κ", lines=lines, y_kind="log")])
    root = ET.fromstring(element(draw(sheet), "name", "what it shows", sheet))
    areas = root.findall(f".//{SVG}circle")
    assert [area.findtext(f"{SVG}title") for area in areas] == [
        "ReLU\ndepth: 1\nκ: 10 ± 1",
        "ReLU\ndepth: 3\nκ: 1000 ± 3",
        "linear\ndepth: 1\nκ: > 50",
    ]
    # Larger x is further to the right, larger κ further up; all lie on the figure.
    places = [(float(area.attrib["cx"]), float(area.attrib["cy"])) for area in areas]
    assert places[0][0] == places[2][0] < places[1][0]
    assert places[1][1] < places[2][1] < places[0][1]
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert all(0 < left < width and 0 < top < height for left, top in places)
    assert root.findtext(f"{SVG}title") == "what it shows"
    assert root.attrib["aria-labelledby"] == "name-title"


def test_identifiers_are_of_names_with_any_sign() -> None:
    line = Line(x=np.arange(3.0), y=np.arange(3.0), label="ReLU")
    sheet = Sheet(title="t", panels=[Panel(x="x", y="y", lines=[line])])
    texts = [element(draw(sheet), name, "title", sheet) for name in ("my data_1", "my data-1")]
    for text, start in zip(texts, ("my_20_data_5f_1-", "my_20_data-1-"), strict=True):
        identifiers = set(re.findall(r'id="([^"]*)"', text))
        assert all(re.fullmatch(start + r"[\w.-]+", each) for each in identifiers)
        referred = set(re.findall(r'(?:url\(#|href="#)([^")]*)', text))
        assert referred
        assert referred <= identifiers


def test_areas_lie_on_the_marks() -> None:
    x = np.array([1.0, 2.0])
    line = Line(x=x, y=x, label="a", style="marks")
    sheet = Sheet(title="t", panels=[Panel(x="x", y="y", lines=[line])])
    root = ET.fromstring(element(draw(sheet), "n", "t", sheet))
    marks = [
        (float(use.attrib["x"]), float(use.attrib["y"]))
        for use in root.findall(f".//{SVG}use")
        if "fill: #0072b2" in use.attrib.get("style", "")
    ]
    areas = [(float(a.attrib["cx"]), float(a.attrib["cy"])) for a in root.iter(f"{SVG}circle")]
    np.testing.assert_allclose(areas, marks[:2], atol=0.06)


def test_any_figure_can_be_shown() -> None:
    figure = Figure()
    figure.subplots().plot([1, 2])
    assert "<svg" in element(figure, "name", "title")


@pytest.mark.parametrize("key", ["href", "{http://www.w3.org/1999/xlink}href"])
def test_identifiers_are_those_of_a_figure(key: str) -> None:
    root = ET.fromstring(
        '<svg><path id="a"/><use xmlns:x="http://www.w3.org/1999/xlink" clip="url(#a)"/></svg>'
    )
    root[1].set(key, "#a")
    _own_identifiers(root, "own")
    assert root[0].get("id") == "own-a"
    assert (root[1].get(key), root[1].get("clip")) == ("#own-a", "url(#own-a)")


# Its structure.


class Page(HTMLParser):
    """What a page has."""

    VOID = ("meta", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.identifiers: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] += 1
        if tag not in self.VOID:
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] += 1
        self._attributes(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def _attributes(self, attrs: Any) -> None:
        for name, value in attrs:
            if name == "id":
                self.identifiers.append(value)
            if name in {"href", "src", "xlink:href", "srcset", "data", "action"}:
                self.addresses.append(value)


def test_page(reproduction: Reproduction) -> None:
    text = reproduction.report.read_text(encoding="utf-8")
    found = Page(text)
    assert not found.open
    assert found.tags["svg"] == 2
    assert found.tags["script"] == found.tags["img"] == 0
    # Nothing is asked for from anywhere, and every reference within the page has a target.
    assert len(set(found.identifiers)) == len(found.identifiers)
    inner = [address for address in found.addresses if address != "data:,"]
    assert all(address.startswith("#") for address in inner)
    assert {address[1:] for address in inner} <= set(found.identifiers)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(found.identifiers)
    # Browsers know this prefix alone, whatever it is said to stand for.
    assert set(re.findall(r"\s(\S+?):href", text)) == {"xlink"}
    assert not re.search(r"url\((?!#)|@import", text)
    # Each statement with its verdict and evidence, in the table and below its figure.
    assert len(reproduction.claims) == 7
    for claim in reproduction.claims:
        assert text.count(f"{claim.statement.text}") == 2
        assert claim.evidence.replace("“", "“") in text
    counts = Counter(claim.verdict for claim in reproduction.claims)
    for verdict, count in counts.items():
        assert f"<strong>{count}</strong> {verdict}" in text
    for part in reproduction.parts:
        assert f"<code>{part.command}</code>" in text
        assert "--seeds 2 --width 32" in part.command
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert "OpenBLAS" in text or "BLAS" in text


def test_links_to_the_parts_tell_them_apart() -> None:
    names = ["figure-3-digits", "figure-3-a b", "hardest-pairs-digits", "edge-of-chaos"]
    parts = [Part(name=name, title="Beyond: all", text="", command="") for name in names]
    text = page(parts, "", 1.0, 1)
    links = re.findall(r'<a href="#([^"]*)">([^<]*)</a>', text)
    assert re.findall(r'<section id="([^"]*)">', text)[1:-1] == [link for link, _ in links[1:-1]]
    assert links[1:-1] == [
        ("figure-3-digits", "Figure 3 digits"),
        ("figure-3-a_20_b", "Figure 3 a b"),
        ("hardest-pairs-digits", "Hardest pairs digits"),
        ("edge-of-chaos", "Edge of chaos"),
    ]


def test_text_of_others_is_escaped() -> None:
    claim = Claim(Statement("<b>", "a < b & c", ""), "holds", "<script>", "x.csv")
    text = page([Part(name="p", title="<i>", text="", command="", claims=(claim,))], "", 1.0, 1)
    assert "<script>" not in text
    assert "a &lt; b &amp; c" in text


def test_files_beside_it(reproduction: Reproduction) -> None:
    folder = reproduction.report.parent
    for part in reproduction.parts:
        for file, table in part.table_files(folder).items():
            read = pd.read_csv(file, keep_default_na=False)
            assert list(read.columns) == list(table.columns)
            assert len(read) == len(table)
        for stem in part.figures:
            assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
            assert (folder / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
            ET.parse(folder / f"{stem}.svg")
    assert reproduction.peak_memory > 10**7


# In a browser.

MEASURE = """
<script>
window.addEventListener("load", () => setTimeout(() => {
  const box = e => e.getBoundingClientRect();
  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const clashes = [];
  const check = list => list.forEach((a, i) => list.slice(i + 1).forEach(b => {
    if (overlap(box(a), box(b))) clashes.push([a.id || a.textContent.slice(0, 40),
      b.id || b.textContent.slice(0, 40)]);
  }));
  const figures = [...document.querySelectorAll("svg.figure")];
  figures.forEach(f => check([...f.querySelectorAll("g[id*='-text_']")]));
  check([...document.querySelectorAll("h1, h2, p, li, th, td, dt, dd, svg.figure")]
    .filter(e => box(e).width > 2));
  parent.postMessage({
    width: innerWidth,
    scroll: document.documentElement.scrollWidth,
    figures: figures.map(f => [box(f).width, box(f).height]),
    texts: document.querySelectorAll("g[id*='-text_']").length,
    clashes: clashes,
  }, "*");
}, 50));
</script>
"""
OUTER = """<!DOCTYPE html><html><body><pre id="found"></pre>
<iframe src="measured.html" width="1400" height="4000"></iframe>
<iframe src="measured.html" width="400" height="4000"></iframe>
<script>
const found = [];
addEventListener("message", e => {
  found.push(e.data);
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script></body></html>
"""


def test_in_a_browser(reproduction: Reproduction, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no Chromium: install Debian's package chromium")
    text = reproduction.report.read_text(encoding="utf-8")
    (tmp_path / "measured.html").write_text(
        text.replace("</body>", MEASURE + "</body>"), encoding="utf-8"
    )
    (tmp_path / "outer.html").write_text(OUTER, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=4000"]
    command += ["--dump-dom", (tmp_path / "outer.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout)
    assert match, done.stderr
    found = sorted(json.loads(match[1]), key=lambda each: each["width"])
    assert [each["width"] for each in found] == [400, 1400]
    for each in found:
        assert each["scroll"] <= each["width"]
        assert len(each["figures"]) == 2
        assert all(width > 200 and height > 150 for width, height in each["figures"])
        assert each["texts"] > 30
        assert each["clashes"] == []
    assert "CONSOLE" not in done.stderr


# Commands.


def test_figure_command(tmp_path: Path) -> None:
    result = run("figure", 5, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "[holds] Figure 5: g is increasing.\n" in result.output
    names = {"figure-5.csv", "figure-5-limit.csv", "figure-5.png", "figure-5.svg", "figure-5.pdf"}
    assert {path.name for path in tmp_path.iterdir()} == names
    # A table of somebody else's is kept, and so are the pictures beside it.
    (tmp_path / "figure-5.csv").write_text("mine\n1\n")
    pictures = {f"figure-5-1.{ending}" for ending in ("png", "svg", "pdf")}
    for each in pictures:
        (tmp_path / each.replace("-1", "")).write_text("mine")
    result = run("figure", 5, "--out", tmp_path)
    assert "are kept as" in result.output
    assert (tmp_path / "figure-5-1.csv").read_text() == "mine\n1\n"
    assert {(tmp_path / each).read_text() for each in pictures} == {"mine"}
    assert {path.name for path in tmp_path.iterdir()} == names | pictures | {"figure-5-1.csv"}


def test_files_of_the_same_name(tmp_path: Path) -> None:
    """Their samples are the same, their labels are not; a folder's name is no identifier."""
    X = np.random.default_rng(0).standard_normal((30, 3))
    files = [tmp_path / folder / "x.csv" for folder in ("of one", "of two")]
    for k, file in enumerate(files):
        file.parent.mkdir()
        frame = pd.DataFrame(X, columns=list("abc"))
        frame.assign(label=np.arange(30) % (k + 1)).to_csv(file, index=False)
    out = tmp_path / "out"
    made = paper.reproduce(
        out, [str(file) for file in files], only=["hardest pairs"], width=8, progress=False
    )
    for part, folder, file in zip(made.parts, ("of one", "of two"), files, strict=True):
        assert part.name == f"hardest-pairs-{folder}-x"
        assert part.title.endswith(f", {folder}-x")
        assert shlex.split(part.command)[4:6] == ["--data", str(file)]
    first, second = (pd.read_csv(out / f"{part.name}.csv") for part in made.parts)
    assert not first["label_i"].any()
    assert second["label_i"].tolist() == (second["i"] % 2).tolist()
    pd.testing.assert_frame_equal(
        first.drop(columns=["label_i", "label_j"]), second.drop(columns=["label_i", "label_j"])
    )


def test_a_reproduction_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by Ctrl-C, then by a full disk, it computes each network once."""
    options = ("--only", "figure 6", "--seeds", 2, "--width", 16, "--out", tmp_path)
    alike = {"all layers alike": (1.0, 1.0)}
    monkeypatch.setattr(scales, "_CASES", alike)
    of_network, savefig = scales._of_network, Figure.savefig
    calls: list[tuple[int, int]] = []

    def counted(depth: int, seed: int, width: int) -> pd.DataFrame:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append((depth, seed))
        return of_network(depth, seed, width)

    def full(self: Figure, path: Any, **settings: Any) -> None:
        if str(path).endswith(".svg"):
            raise OSError(errno.ENOSPC, "No space left on device")
        savefig(self, path, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(scales, "_of_network", counted)
        result = run("reproduce", *options)
    assert result.exit_code == 130
    assert f"what was finished is in {tmp_path / 'cells.sqlite'}" in result.output
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", full)
        result = run("reproduce", *options)
    assert result.exit_code == 1
    assert "--out: No space left on device" in result.output
    assert str(tmp_path / "figure-6.svg") in result.output
    assert not (tmp_path / "figure-6.svg").exists()
    monkeypatch.setattr(scales, "_of_network", None)  # all is in the store
    result = run("reproduce", *options)
    assert result.exit_code == 0, result.output
    assert "3 statements: " in result.output
    assert f"Page: {tmp_path / 'report.html'}" in result.output


def test_table_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"depth": [1, 3], "test_accuracy": [97.5, 98.0]})
    part = Part(name="table-1-x", title="Table 1", text="", command="", tables={"": frame})
    asked: list[object] = []

    def table(*given: object, **settings: object) -> Part:
        asked.append((given, settings))
        return part

    monkeypatch.setattr(paper, "table", table)
    result = run("table", 1, "--data", "x", "--seeds", 2, "--width", 4, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert re.search(r"depth +test_accuracy\n +1 +97.5\n", result.output)
    store = tmp_path / "cells.sqlite"
    settings = {"full": False, "seeds": 2, "width": 4, "device": None, "store": store}
    assert asked == [((1, "x"), settings)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("figure", 7), "7 is not in the range 1<=x<=6"),
        (("table", 2), "2 is not in the range 1<=x<=1"),
        (("figure", 3, "--data", "nothing"), "data='nothing': expected 'digits'"),
        (("figure", 3, "--data", "no.npy"), "No such file"),
        (("figure", 5, "--data", "digits"), "data='digits': expected none, figure 5 is of no data"),
        (("figure", 4, "--data", "synthetic"), "expected a data set with labels"),
        (("reproduce", "--only", "figure 9"), "only='figure 9': expected one of 'figure 1'"),
        (("reproduce", "--data", "nothing"), "data='nothing'"),
        (("reproduce", "--seeds", 0), "seeds=0: expected an integer of at least 1"),
        (("reproduce", "--width", 0), "width=0: expected an integer of at least 1"),
    ],
)
def test_bad_input(arguments: tuple[object, ...], message: str, tmp_path: Path) -> None:
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "out").exists()  # before any work


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['jinja2'] = None\n"
        "import fastntk.__main__ as command; command.main()"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, "reproduce", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 1
    assert completed.stderr == "fastntk: jinja2 is not installed; pip install 'fastntk[study]'\n"
    assert not (tmp_path / "out").exists()  # before any work


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("reproduce", "--only", "figure 5", "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "out: Not a directory" in result.output


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for a user who is not root
    with pytest.raises(PermissionError, match="expected a folder that can be written"):
        paper.reproduce(tmp_path, only=["figure 5"], progress=False)


def test_every_part_is_named_once() -> None:
    assert len(set(catalogue.NAMES)) == len(catalogue.NAMES)
    assert set(catalogue.TRAINED) <= set(catalogue.OF_DATA)
