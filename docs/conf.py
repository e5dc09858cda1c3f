# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How Sphinx builds this site: ``sphinx-build -W --keep-going -b html docs DIRECTORY``.

Nothing is fetched, neither here nor by those who read: MathJax, and what the theme needs, come with
packages. The tutorials of ``first_hour/`` are run: what they show is what this version computes.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent

project = "fastntk"
author = "The fastntk authors"
copyright = author  # noqa: A001
release = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
nitpicky = False
default_role = "py:obj"  # what it does not know stays code

# Every page of a name is made from its docstring. What a docstring lists under "Attributes" is not
# listed a second time, and types stand in the docstrings, not in the signatures.
autosummary_generate = True
# Names that differ in capitals alone would share a file where file systems do not tell them apart.
autosummary_filename_map = {
    "fastntk.Conditioning": "fastntk.Conditioning-class",
    "fastntk.cuda.Options": "fastntk.cuda.Options-class",
    "fastntk.infinite.Kernels": "fastntk.infinite.Kernels-class",
}
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# An example that fails fails the build. PyTorch is not among what the package needs: without it
# the one tutorial that shows a module of PyTorch is not run, and says so.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # of a cell, which takes seconds on a machine that is not busy
nb_merge_streams = True
nb_output_stderr = "remove-warn"  # a tutorial that warns its reader is not finished
nb_number_source_lines = False
# Matplotlib's list of fonts is that of its home, which may have been made by another version.
_matplotlib_home = tempfile.TemporaryDirectory()
os.environ["MPLCONFIGDIR"] = _matplotlib_home.name
if find_spec("torch") is None:
    nb_execution_excludepatterns = ["first_hour/pytorch.md"]
else:
    tags.add("torch")  # type: ignore[name-defined]  # noqa: F821

html_theme = "pydata_sphinx_theme"
html_title = "fastntk"
html_static_path = ["_static"]
html_css_files = ["fastntk.css"]
html_show_sourcelink = False
html_copy_source = False
# Pages that are not part of a section have no list of its other pages beside them.
_ALONE = (
    "install",
    "mathematics",
    "how_it_is_built",
    "contributing",
    "speed",
    "changelog",
    "releasing",
)
html_sidebars: dict[str, list[str]] = {page: [] for page in _ALONE}
html_theme_options = {
    "logo": {"text": "fastntk"},
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
