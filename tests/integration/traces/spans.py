"""Spans of any SDK as trees of text, without what differs from run to run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tta_taskcache.core.events import Observe

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

    @property
    def line(self) -> str:
        shown = [
            f"{name.removeprefix('taskcache.')}={self.attributes[name]}"
            for name in SHOWN
            if (name in self.attributes and self.attributes[name] is not False)
            or (name == "cache.hit" and name in self.attributes)
        ]  # fmt: skip
        begin = f"[{self.name}]" if self.is_transaction else self.name
        return "  ".join([begin, *shown])


def tree(spans: Iterable[Span]) -> list[str]:
    """The lines of all trees, in the order in which their spans began."""
    ordered = sorted(spans, key=lambda span: span.started)
    known = {span.id for span in ordered}
    lines: list[str] = []

    def add(span: Span, depth: int) -> None:
        lines.append("  " * depth + span.line)
        for child in ordered:
            if child.parent == span.id:
                add(child, depth + 1)

    for span in ordered:
        if span.parent not in known:
            add(span, 0)
    return lines


class Sdk(Protocol):
    """An SDK under test."""

    observer: Observe

    def request(self) -> Any:
        """A web request, as a context manager."""

    def take(self) -> list[Span]:
        """The spans that have ended since the last time."""

    def figures(self) -> dict[str, Any]:
        """What else there is to check, as JSON."""

    @property
    def is_quiet(self) -> bool:
        """Whether no span is open."""
