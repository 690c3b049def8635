"""Options, settings, commands, metrics and events, read where each is defined.

Nothing is written twice: the meaning is the docstring's, the default the field's, and what is
allowed is what the error says that refuses anything else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from textwrap import dedent
from types import UnionType
from typing import Any, get_args

import click

from tta_taskcache.celery.cli import COMMANDS, cache
from tta_taskcache.celery.config import settings
from tta_taskcache.core import events
from tta_taskcache.core.options import option_values, policy
from tta_taskcache.observability.metrics.metric_families import FAMILIES, Family, MetricKind

#: How many of something are said with a unit.
_MIB = 1024 * 1024

_SUFFIX = {MetricKind.COUNTER: "_total", MetricKind.GAUGE: "", MetricKind.HISTOGRAM: ""}


@dataclass(frozen=True)
class Definition:
    """One thing that has a page.

    Attributes:
        name: Its name, as users write it.
        meaning: What it is, as Markdown.
        default: Its default, as Markdown; empty where there is none.
        allowed: What it may be, as Markdown; empty where the meaning says it.
        facts: Further facts by their names, as Markdown.
        body: What else its page has, as Markdown.
    """

    name: str
    meaning: str
    default: str = ""
    allowed: str = ""
    facts: Mapping[str, str] = ()  # type: ignore[assignment]
    body: str = ""

    @property
    def summary(self) -> str:
        """The first sentence of the meaning, or its first part."""
        first = re.split(r"(?<=[.;])\s", self.meaning, maxsplit=1)[0]
        if first.count("(") != first.count(")"):
            first = re.split(r"(?<=\.)\s", self.meaning, maxsplit=1)[0]
        return first.rstrip(";.") + "."


def attributes_of(cls: type) -> dict[str, str]:
    """Return what a class's docstring says of its attributes, as Markdown."""
    text = inspect.getdoc(cls) or ""
    _, _, section = text.partition("Attributes:\n")
    section = dedent(re.split(r"\n(?=\S)", section)[0])
    found = re.findall(r"^(\w+): (.*(?:\n(?:[ ].*|$))*)", section, re.MULTILINE)
    return {name: markdown(" ".join(said.split())) for name, said in found}


def markdown(text: str) -> str:
    """Return a docstring's text as Markdown, its first letter in upper case."""
    text = text.replace("``", "`").strip()
    return text[:1].upper() + text[1:]


def shown(value: Any) -> str:
    """Return a default as Markdown."""
    if isinstance(value, frozenset):
        return "all" if value == option_values.ALL_SITES else "`()`" if not value else f"`{value}`"
    if isinstance(value, bool) or not isinstance(value, int) or value < _MIB or value % _MIB:
        return f"`{value!r}`"
    return f"{value // _MIB} MiB"


def default_of(field: Field[Any]) -> str:
    """Return the default of a dataclass's field as Markdown; empty without one."""
    if field.default_factory is not MISSING:
        return shown(field.default_factory())
    return "" if field.default is MISSING else shown(field.default)


def allowed(read: Callable[[Any], Any]) -> str:
    """Return what a reader of values allows: what it says when it refuses."""
    try:
        read(object())
    except (ValueError, option_values.WrongValue) as error:
        return str(error).removeprefix("must be ").removeprefix("must ")
    raise AssertionError(f"{read} takes anything")


def _task_option(field: Field[Any], meanings: Mapping[str, str]) -> Definition:
    name = field.name.rstrip("_")
    choices = option_values.Choices()
    if name in ("serializer", "compression"):
        said = "the name of one that kombu knows"
    else:
        said = allowed(lambda value: option_values.READERS[name](value, choices))
    default = default_of(field) or "`taskcache_default_ttl`"
    if name == "shadow":
        default = "`taskcache_shadow`"
    return Definition(f"cache_{name}", meanings[field.name], default, said)


def task_options() -> list[Definition]:
    """Return the options of tasks."""
    meanings = attributes_of(policy.Policy)
    return [_task_option(field, meanings) for field in fields(policy.Policy) if not field.metadata]


def app_settings() -> list[Definition]:
    """Return the settings."""
    meanings = attributes_of(settings.Settings)
    return [
        Definition(
            f"{settings.PREFIX}{field.name}",
            meanings[field.name],
            default_of(field),
            allowed(settings._READERS[field.name]),
        )
        for field in fields(settings.Settings)
    ]


def commands() -> list[Definition]:
    """Return the commands of ``celery -A proj cache``."""
    with click.Context(cache, info_name="celery -A proj cache") as parent:
        return [_command(parent, name) for name in COMMANDS]


def _command(parent: click.Context, name: str) -> Definition:
    command = cache.get_command(parent, name)
    if command is None:
        raise LookupError(name)
    with click.Context(command, info_name=name, parent=parent) as context:
        text = command.get_help(context)
    meaning = markdown(" ".join((inspect.cleandoc(command.help or "")).split("\n\n")[0].split()))
    return Definition(f"cache {name}", meaning, body=f"```text\n{text}\n```\n")


def metrics() -> list[Definition]:
    """Return the metrics, with the default namespace in front."""
    return [_metric(family) for family in FAMILIES]


def _metric(family: Family) -> Definition:
    facts = {"Type": family.kind.value}
    if family.labels:
        facts["Labels"] = ", ".join(f"`{label}`" for label in family.labels)
    if family.buckets:
        facts["Buckets"] = ", ".join(f"{bound:g}" for bound in family.buckets)
    name = f"taskcache_{family.name}{_SUFFIX[family.kind]}"
    return Definition(name, family.help, facts=facts)


def observed_events() -> list[Definition]:
    """Return the events that observers are told of."""
    union: UnionType = events.Event  # type: ignore[assignment]
    return [_event(cls) for cls in get_args(union)]


def _event(cls: type) -> Definition:
    text = (inspect.getdoc(cls) or "").partition("Attributes:")[0]
    said = attributes_of(cls)
    rows = [
        f"| `{field.name}` | `{field.type}` | {default_of(field)} | {said.get(field.name, '')} |"
        for field in fields(cls)
    ]
    table = "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows])
    table = re.sub(r"`([^`|]+) \| ([^`|]+)`", r"`\1 or \2`", table)
    return Definition(cls.__name__, markdown(" ".join(text.split())), body=table + "\n")


def everything() -> Iterator[tuple[str, list[Definition]]]:
    """Yield the kinds of things that have pages, and these things."""
    yield "options", task_options()
    yield "settings", app_settings()
    yield "commands", commands()
    yield "metrics", metrics()
    yield "events", observed_events()
