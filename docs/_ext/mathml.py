# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Formulas as MathML, which browsers show by themselves.

Sphinx's own ways to show formulas load scripts from a server or need LaTeX. These pages are to be
built, and read, without a network; docutils can write MathML, and every browser of today shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

# Signs that formulas have as in the code, of which docutils knows the names alone.
_NAMES = {
    "…": "ldots",
    "←": "leftarrow",
    "∂": "partial",
    "∘": "circ",
    "⊤": "top",
    "‖": "|",
    "⟨": "langle",
    "⟩": "rangle",
}
_WITH_NAMES = str.maketrans({sign: rf"\{name} " for sign, name in _NAMES.items()} | {"−": "-"})


def _mathml(node: nodes.Element, *, as_block: bool) -> str:
    """Return a formula as MathML; what docutils cannot read is a warning, as all errors here."""
    try:
        return str(tex2mathml(node.astext().translate(_WITH_NAMES), as_block=as_block))
    except MathError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def _visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(f"{_mathml(node, as_block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the way to show formulas, for ``html_math_renderer``."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
