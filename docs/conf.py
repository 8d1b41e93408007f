"""How Sphinx builds the documentation: `make docs`; warnings are errors, and nothing is fetched.

Pages are Markdown that a code host shows as well (MyST); the API comes from docstrings. Equations are plain text,
as in docstrings, on the code host and in a terminal: one notation in all places, no LaTeX and no script from
elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

import dualmcmc

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "dualmcmc"
author = "the dualmcmc authors"
release = version = dualmcmc.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "plain_docstrings", "repository_links"]
exclude_patterns = ["_build"]

myst_heading_anchors = 4  # anchors of headings as a code host makes them
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_type_aliases = {
    name: name
    for name in ("Count", "Fraction", "Interval", "Method", "Positive", "Share", "Steps", "Weight", "Width")
}  # bounded numbers: docs/api/settings.md says what each is
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"dualmcmc {version}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
