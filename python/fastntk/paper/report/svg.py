# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures as elements of a page: SVG in which each point tells its numbers.

Text is drawn as outlines, so that a page looks the same without any font; what a figure shows is
said in its title and description for those who do not see it.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastntk.figures.panels import Line, Panel, Sheet

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_POINTS_PER_INCH = 72.0

# Radius of the area around a point where its numbers are shown, in points; and no more areas than
# these on a line, for those of a dense curve would lie over each other.
_RADIUS = 4.0
_MOST_POINTS = 91

# Diagonals and the like, and lines that are repeated from other panels.
_WITHOUT_NUMBERS = ("dotted", "thin")

# What Matplotlib writes into each file beside the figure.
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

ET.register_namespace("", _SVG)
ET.register_namespace("xlink", _XLINK)


def identifier(name: str) -> str:
    """Return what a name is called where spaces and the like may not stand.

    Whatever is no letter, digit or hyphen is written as its number, and so is the sign that marks
    numbers: different names stay different.

    Examples
    --------
    >>> from fastntk.paper.report.svg import identifier
    >>> identifier("figure-3-my data")
    'figure-3-my_20_data'
    """
    return re.sub(r"[^A-Za-z0-9-]", lambda found: f"_{ord(found[0]):x}_", name)


def element(figure: Figure, name: str, title: str, sheet: Sheet | None = None) -> str:
    """Return a figure as an SVG element.

    Parameters
    ----------
    figure : Figure
    name : str
        Begins all identifiers in the element, which are to be unique on a page.
    title : str
    sheet : Sheet, optional
        What the figure was drawn of: its points have their numbers as titles, which browsers show
        on hover.
    """
    figure.patch.set_alpha(0.0)
    for axes in figure.axes:
        axes.patch.set_alpha(0.0)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=_METADATA)
    root = ET.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    if sheet is not None:
        root.append(_hover_areas(sheet, figure))
    label = ET.Element(f"{{{_SVG}}}title", {"id": "title"})
    label.text = title
    root.insert(0, label)
    root.attrib |= {"role": "img", "aria-labelledby": "title", "class": "figure"}
    # The view box keeps the shape; how large it is, the page decides.
    width = float(root.attrib.pop("width").removesuffix("pt"))
    del root.attrib["height"]
    root.set("style", f"--natural-width: {width / _POINTS_PER_INCH:.2f}in")
    _own_identifiers(root, name)
    return ET.tostring(root, encoding="unicode")


def _hover_areas(sheet: Sheet, figure: Figure) -> ET.Element:
    group = ET.Element(f"{{{_SVG}}}g", {"class": "points"})
    to_points = _POINTS_PER_INCH / figure.dpi
    height = figure.get_figheight() * _POINTS_PER_INCH
    for axes, panel in zip(figure.axes, sheet.panels, strict=False):
        for line in panel.lines:
            if line.style in _WITHOUT_NUMBERS:
                continue
            for x, y, text in _points(axes, panel, line):
                area = ET.SubElement(
                    group,
                    f"{{{_SVG}}}circle",
                    {
                        "cx": f"{x * to_points:.1f}",
                        "cy": f"{height - y * to_points:.1f}",
                        "r": f"{_RADIUS:g}",
                    },
                )
                ET.SubElement(area, f"{{{_SVG}}}title").text = text
    return group


def _points(axes: Axes, panel: Panel, line: Line) -> Iterator[tuple[float, float, str]]:
    """Yield where points of a line are on the figure, and their numbers."""
    step = -(-len(line.x) // _MOST_POINTS)
    for k in range(0, len(line.x), step):
        x, y = float(line.x[k]), float(line.y[k])
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        place = axes.transData.transform((x, y))
        if not np.isfinite(place).all():
            continue
        sign = "> " if line.style == "open" else ""
        spread = f" ± {line.spread[k]:.2g}" if line.spread is not None else ""
        text = f"{line.label}\n{panel.x}: {x:.6g}\n{panel.y}: {sign}{y:.6g}{spread}"
        yield float(place[0]), float(place[1]), text


def _own_identifiers(root: ET.Element, name: str) -> None:
    """Let all identifiers, and what refers to them, begin with a name."""
    name = identifier(name)
    for node in root.iter():
        for key, value in list(node.attrib.items()):
            if key in {"id", "aria-labelledby"}:
                node.set(key, f"{name}-{value}")
            elif key in {"href", f"{{{_XLINK}}}href"} and value.startswith("#"):
                node.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                node.set(key, re.sub(r"url\(#", f"url(#{name}-", value))
