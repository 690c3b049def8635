"""Spans of any SDK as trees of text, without what differs from run to run."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tta_taskcache.core.events import Event, Observe

#: What is shown of a span, in this order.
SHOWN = (
    "cache.hit", "taskcache.site", "taskcache.layer", "taskcache.reason", "taskcache.freshness",
    "taskcache.coalesced",
)  # fmt: skip


@dataclass(frozen=True)
class Span:
    """One span; ``parent`` is None, or an id that nobody has, for a root."""

    id: str
    parent: str | None
    name: str
    started: float
    attributes: Mapping[str, Any] = field(default_factory=dict)
    is_transaction: bool = False
    links: Sequence[str] = ()

    def line(self, names: Mapping[str, str]) -> str:
        """What is shown of it; ``names`` are those of all spans, by id."""
        shown = [
            f"{name.removeprefix('taskcache.')}={self.attributes[name]}"
            for name in SHOWN
            if (name in self.attributes and self.attributes[name] is not False)
            or (name == "cache.hit" and name in self.attributes)
        ]  # fmt: skip
        shown += [f"link={names.get(link, 'unknown')}" for link in self.links]
        begin = f"[{self.name}]" if self.is_transaction else self.name
        return "  ".join([begin, *shown])


def tree(spans: Iterable[Span], names: Mapping[str, str]) -> list[str]:
    """The lines of all trees, in the order in which their spans began.

    Args:
        spans: The spans.
        names: Names of all spans, by id: spans may link to those of other trees.
    """
    ordered = sorted(spans, key=lambda span: span.started)
    known = {span.id for span in ordered}
    lines: list[str] = []

    def add(span: Span, depth: int) -> None:
        lines.append("  " * depth + span.line(names))
        for child in ordered:
            if child.parent == span.id:
                add(child, depth + 1)

    for span in ordered:
        if span.parent not in known:
            add(span, 0)
    return lines


class Recording:
    """What ended, of all processes: each appends its lines to one file."""

    def __init__(self, file: Path) -> None:
        self._file, self._read = file, 0
        # Whole lines, however many write: the kernel appends each write at the end.
        self._lines = os.open(file, os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def span(self, span: Span) -> None:
        self._write({"span": asdict(span)})

    def open(self, change: int) -> None:
        """A span was begun, or has ended."""
        self._write({"open": change})

    def event(self, event: Event) -> None:
        """An observer."""
        about = {name: getattr(event, name) for name in ("task", "count") if hasattr(event, name)}
        self._write({"event": type(event).__name__, **about})

    def _write(self, line: Mapping[str, Any]) -> None:
        os.write(self._lines, json.dumps(line, default=str).encode() + b"\n")

    def take(self) -> list[Span]:
        """The spans that have ended since the last time."""
        new = self._all()[self._read :]
        self._read += len(new)
        return [Span(**line["span"]) for line in new if "span" in line]

    @property
    def is_quiet(self) -> bool:
        """Whether no span is open, as far as that is known."""
        return sum(line.get("open", 0) for line in self._all()) == 0

    def seen(self, kind: type[Event], **about: Any) -> int:
        """How many events of a kind there were."""
        return sum(
            line.get("event") == kind.__name__
            and all(line[name] == value for name, value in about.items())
            for line in self._all()
        )

    def _all(self) -> list[dict[str, Any]]:
        whole = self._file.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.split("\n") if line]


class Sdk(Protocol):
    """An SDK under test, set up to record what it gets."""

    observer: Observe

    def request(self) -> Any:
        """A web request, as a context manager."""

    def figures(self) -> dict[str, Any]:
        """What else there is to check, as JSON."""
