"""How Sphinx builds the documentation: `make docs`."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "tta_taskcache"
author = "tta_taskcache contributors"
release = version = version_of("tta-taskcache")

extensions = [
    "diagrams",  # ours: Mermaid without a network
    "myst_parser",
    "reference_pages",  # ours: a page per option, setting, command, metric and event
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_ext", "reference/notes"]

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_fence_as_directive = ["mermaid"]  # GitHub draws it in plain fences, too
suppress_warnings = ["misc.highlighting_failure"]  # examples elide with …
myst_heading_anchors = 4

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"

copybutton_prompt_text = "$ "

html_theme = "furo"
html_title = "tta_taskcache"
html_static_path = ["_static", "_build/mermaid"]
html_css_files = ["site.css"]
html_copy_source = False
html_search_scorer = str(Path(__file__).parent / "_ext" / "search_scorer.js")
html_show_copyright = False
html_theme_options = {
    "source_repository": "https://github.com/tta-taskcache/tta-taskcache/",
    "source_branch": "main",
    "source_directory": "docs/",
}
