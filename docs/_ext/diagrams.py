"""Mermaid diagrams, drawn in the reader's browser without a network.

Mermaid is fetched once, when the site is built, checked by its hash, and is a file of it.
It is a classic script: pages opened from a folder (``file://``) can't load modules.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

VERSION = "11.12.1"
URL = f"https://registry.npmjs.org/mermaid/-/mermaid-{VERSION}.tgz"
MEMBER = "package/dist/mermaid.min.js"
SHA256 = "198b19442f86f0b46a17e56d3abf744c3a28a3427e66fa8dada3b589a77babcc"

#: Below the build's folder: kept between builds, copied into the site.
FOLDER = Path(__file__).parents[1] / "_build" / "mermaid"
SCRIPT = FOLDER / f"mermaid-{VERSION}.min.js"

_log = logging.getLogger(__name__)


class Diagram(nodes.General, nodes.Element):
    """The source of a diagram."""


class Mermaid(Directive):
    """A block of Mermaid."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the diagram."""
        source = "\n".join(_in_lines(line) for line in self.content)
        return [Diagram(source=source)]


def _in_lines(message: str) -> str:
    """Return a message whose place in the code stands below it, so that a diagram is narrow."""
    return re.sub(
        r": (?:(.*) → )?([\w/.]+\.py)::([\w.]+)$",
        lambda found: ": " + "<br/>".join(part for part in found.groups() if part),
        message,
    )


def visit_html(translator: Any, node: Diagram) -> None:
    """Write the source: the browser draws it, and shows it where scripts are off."""
    source = escape(node["source"])
    translator.body.append(f'<div class="diagram"><pre class="mermaid">{source}</pre></div>\n')
    raise nodes.SkipNode


def skip(_translator: Any, _node: Diagram) -> None:
    """Write nothing: the search looks for words, not for arrows."""
    raise nodes.SkipNode


def fetch(_app: Sphinx) -> None:
    """Fetch Mermaid, unless it is there; without a network diagrams are shown as their source."""
    if SCRIPT.exists():
        return
    try:
        with urlopen(URL, timeout=60) as reply:
            package = reply.read()
    except OSError as error:
        _log.info("No Mermaid: %s. Diagrams are shown as their source.", error)
        return
    with tarfile.open(fileobj=io.BytesIO(package)) as opened:
        script = (opened.extractfile(MEMBER) or io.BytesIO()).read()
    found = hashlib.sha256(script).hexdigest()
    if found != SHA256:
        raise ValueError(f"{URL}: {MEMBER} has SHA-256 {found}, expected {SHA256}")
    SCRIPT.write_bytes(script)


def load(
    app: Sphinx, _page: str, _template: str, _context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Load Mermaid, which is large, on pages with diagrams only."""
    if tree is not None and tree.next_node(Diagram) and SCRIPT.exists():
        app.add_js_file(SCRIPT.name)
        app.add_js_file("diagrams.js")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx, which wants folders of static files to exist."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    app.add_node(Diagram, html=(visit_html, None), text=(skip, None))
    app.add_directive("mermaid", Mermaid)
    app.connect("builder-inited", fetch)
    app.connect("html-page-context", load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
