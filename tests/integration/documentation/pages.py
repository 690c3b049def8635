"""The blocks of code on the pages, and the marks in the line above each."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.workers import ROOT

DOCS = ROOT / "docs"

#: Made when the site is built; what is added to pages made, which tests/unit/project runs.
_SKIPPED = {"_build", "notes", "options", "settings", "commands", "metrics", "events"}

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
    """Return all fenced blocks of a page but Sphinx's directives; a form that isn't known fails."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    above, opened, inside = "", "", []
    for number, line in enumerate(lines, 1):
        if opened and line == "```":
            mark = re.fullmatch("<!-- (.+) -->", above)
            if not opened.startswith("{"):
                text = "".join(f"{each}\n" for each in inside)
                found.append(Block(page, mark[1] if mark else "", opened.strip("-"), text))
            opened = ""
        elif opened:
            inside.append(line)
        elif line.lstrip().startswith(("```", "~~~")):
            if not re.fullmatch(r"```(\w*|\{[\w-]+\}.*)", line):
                raise ValueError(f"{page}:{number}: write ```language at the line's begin: {line}")
            above, opened, inside = lines[number - 2], line[3:] or "-", []
    if opened:
        raise ValueError(f"{page}: a block isn't closed")
    return found


def pages() -> list[Path]:
    found = (page for page in DOCS.rglob("*.md") if not _SKIPPED & set(page.parts))
    return [*sorted(found), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
