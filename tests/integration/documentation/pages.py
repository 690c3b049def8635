"""The blocks of code on the pages, and the marks in the line above each."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.workers import ROOT

DOCS = ROOT / "docs"

#: Made when the site is built; fragments.
_SKIPPED = {"_build", "options", "settings", "commands", "metrics", "events"}

_BLOCK = re.compile(r"^(?:<!-- ([^\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

#: Pages whose Python is run in order, unless a block says why not.
RUN = sorted(
    page
    for folder in ("how-to", "coming-from")
    for page in (DOCS / folder).glob("*.md")
    if re.search(r"(?<! -->\n)^```python$", page.read_text(), re.MULTILINE)
)


@dataclass(frozen=True)
class Block:
    """A block of code: the page, the mark in the line above it, its language and text."""

    page: Path
    mark: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(page, *found) for found in _BLOCK.findall(page.read_text())]


def pages() -> list[Path]:
    found = (page for page in DOCS.rglob("*.md") if not _SKIPPED & set(page.parts))
    return [*sorted(found), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
