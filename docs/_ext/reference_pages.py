"""The reference: tables in pages that are kept, and a page for each row, made with the site.

`python docs/_ext/reference_pages.py` (`make reference`) writes the tables anew; a test
compares them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from definitions import Definition, everything

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
REFERENCE = DOCS / "reference"

#: Kinds of things by the page that has their table, and what one of them is called.
PAGES = {
    "options": "task option",
    "settings": "setting",
    "commands": "command",
    "metrics": "metric",
    "events": "event",
}


def table(kind: str, definitions: Iterable[Definition]) -> str:
    """Return the table of one kind of things."""
    what = PAGES[kind]
    if kind in ("options", "settings"):
        rows = [f"| `{d.name}` | {d.default} | {_cell(d.meaning)} |" for d in definitions]
        return "\n".join([f"| {what} | default | meaning |", "|---|---|---|", *rows])
    if kind == "metrics":
        rows = [
            f"| `{d.name}` | {d.facts['Type']} | {d.facts.get('Labels', '')} | {_cell(d.meaning)} |"
            for d in definitions
        ]
        return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])
    rows = [f"| `{d.name}` | {_cell(d.meaning)} |" for d in definitions]
    return "\n".join([f"| {what} | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def with_table(kind: str, page: str, definitions: Iterable[Definition]) -> str:
    """Return a page with its table written anew."""
    text = table(kind, definitions)
    return re.sub(
        rf"(<!-- table of {kind} -->).*?(<!-- end of table -->)",
        lambda match: f"{match[1]}\n\n{text}\n\n{match[2]}",
        page,
        flags=re.DOTALL,
    )


def file_name(definition: Definition) -> str:
    """Return the name of the page of something, without its suffix."""
    return definition.name.removeprefix("cache ").lower()


def page(kind: str, definition: Definition) -> str:
    """Return the page of one thing."""
    what = PAGES[kind]
    parts = [f"# `{definition.name}`", f"> **TL;DR** {definition.summary}"]
    facts = {
        "Kind": f"[{what}](../{kind}.md)",
        "Default": definition.default,
        "Allowed": definition.allowed,
        **dict(definition.facts),
    }
    facts = {name: value for name, value in facts.items() if value}
    parts.append(_facts(facts))
    if definition.meaning != definition.summary:
        parts.append(definition.meaning)
    parts += [_how_to_set(kind, definition.name), definition.body]
    note = REFERENCE / "notes" / f"{file_name(definition)}.md"
    if note.exists():
        parts.append(note.read_text())
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(facts: dict[str, str]) -> str:
    rows = (facts, ["---"] * len(facts), map(_cell, facts.values()))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _how_to_set(kind: str, name: str) -> str:
    if kind == "options":
        return (
            f"Give it in the decorator, `@app.task(base=CachedTask, {name}=…)`, as an attribute of"
            " a task class, in a [preset](../../presets.md), or by `task_annotations`. A wrong"
            " value raises `ConfigurationError` where the task is defined."
        )
    if kind == "settings":
        keyword = name.removeprefix("taskcache_")
        return (
            f"Set `app.conf.{name}`, give the keyword `TaskCache(app, {keyword}=…)`, or in Django"
            f" set `CELERY_{name.upper()}`. A wrong value raises `ConfigurationError` when the"
            " app gets its cache."
        )
    if kind == "metrics":
        return (
            "The prefix `taskcache_` is the setting"
            " [`taskcache_metrics_namespace`](../settings/taskcache_metrics_namespace.md)."
            " [Metrics](../../metrics.md) says where processes serve them."
        )
    if kind == "events":
        return (
            "A frozen record of `tta_taskcache.core.events`, told to all"
            " [observers](../settings/taskcache_observers.md) in the thread where it happens."
        )
    return "[The command line](../commands.md) has what all commands share: options and exit codes."


def generate(app: Sphinx) -> None:
    """Write the page of each thing, below the folder of its kind."""
    for kind, definitions in everything():
        folder = Path(app.srcdir) / "reference" / kind
        wanted = {f"{file_name(each)}.md": page(kind, each) for each in definitions}
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if path.name not in wanted:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, text in wanted.items():
            path = folder / name
            if not path.exists() or path.read_text() != text:  # Sphinx reads only what is newer
                path.write_text(text)


def link_rows(_: Sphinx, name: str, source: list[str]) -> None:
    """Link the first cell of each row of a table to its page, which is there on the site only."""
    kind = name.removeprefix("reference/")
    if kind in PAGES and name != kind:
        source[0] = re.sub(
            r"^\| `([\w ]+)` \|",
            lambda m: f"| [`{m[1]}`]({kind}/{m[1].removeprefix('cache ').lower()}.md) |",
            source[0],
            flags=re.MULTILINE,
        )
        classes = "{.stacked .defaults}" if kind in ("options", "settings") else "{.stacked}"
        source[0] = re.sub(r"(<!-- table of \w+ -->\n\n)", rf"\1{classes}\n", source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", generate)
    app.connect("source-read", link_rows)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main() -> None:
    """Write the tables of all pages anew."""
    for kind, definitions in everything():
        path = REFERENCE / f"{kind}.md"
        path.write_text(with_table(kind, path.read_text(), definitions))


if __name__ == "__main__":
    main()
