"""What is logged: changes of state once, and all of it as fields too."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from tta_taskcache.core.events import (
    CircuitChanged,
    Compared,
    Event,
    Fault,
    Filled,
    Invalidated,
    Lookup,
    Refused,
)
from tta_taskcache.observability.logs import LogObserver

HIT = Lookup("t", "t:k", "consumer", "l2", "", 1.5, age=3.0, computed_by="id")
MISS = Lookup("t", "t:k", "producer", None, "absent")


def heard(caplog: pytest.LogCaptureFixture, level: int, *events: Event) -> list[Any]:
    tell = LogObserver()
    with caplog.at_level(level, "tta_taskcache"):
        for event in events:
            tell(event)
    return list(caplog.records)


def extras(record: logging.LogRecord) -> dict[str, Any]:
    return {n.removeprefix("cache_"): v for n, v in vars(record).items() if n.startswith("cache_")}


@pytest.mark.parametrize(
    ("event", "level", "fields"),
    [
        (
            HIT,
            logging.DEBUG,
            {"event": "Lookup", "task": "t", "key": "t:k", "site": "consumer", "layer": "l2"}
            | {"age": 3.0, "computed_by": "id", "freshness": "fresh"},
        ),
        (MISS, logging.DEBUG, {"event": "Lookup", "layer": None, "reason": "absent"}),
        (
            CircuitChanged(open=True, cause="timeout"),
            logging.WARNING,
            {"event": "CircuitChanged", "open": True, "cause": "timeout"},
        ),
        (
            CircuitChanged(open=False),
            logging.WARNING,
            {"event": "CircuitChanged", "open": False, "cause": ""},
        ),
        (
            Invalidated(("g:user:1",), 7),
            logging.INFO,
            {"event": "Invalidated", "marks": ("g:user:1",), "sequence": 7},
        ),
        (
            Fault("t", "look", ValueError("x")),
            logging.WARNING,
            {"event": "Fault", "operation": "look", "error": "ValueError('x')"},
        ),
        (
            Refused("fill", "OOM"),
            logging.WARNING,
            {"event": "Refused", "command": "fill", "cause": "OOM"},
        ),
        (
            Filled("t", "t:k", 0, "unserializable"),
            logging.WARNING,
            {"event": "Filled", "reason": "unserializable"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_line_each_with_its_fields(
    caplog: pytest.LogCaptureFixture, event: Event, level: int, fields: dict[str, Any]
) -> None:
    (record,) = heard(caplog, logging.DEBUG, event)
    assert record.levelno == level
    assert "\n" not in record.getMessage()
    assert extras(record).items() >= fields.items()
    json.dumps(extras(record))  # as a log processor does


def test_what_repeats_is_said_once_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    fault = Fault("t", "look", ValueError("x"))
    events = (fault, fault, fault, Fault("t", "look", TypeError("y")))
    assert [r.levelname for r in heard(caplog, logging.INFO, *events)] == ["WARNING", "WARNING"]


def test_hits_are_not_even_made_into_lines_above_debug(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tta_taskcache.observability.logs.extra", lambda _: pytest.fail("made"))
    assert heard(caplog, logging.INFO, HIT, MISS) == []


def test_a_neighbours_hit_names_it_and_its_similarity(caplog: pytest.LogCaptureFixture) -> None:
    hit = replace(HIT, similarity=0.93, neighbour="t:near")
    near = Compared("t", "t:k", "pool", 0.87, "negation", "t:near")
    one, other = heard(caplog, logging.DEBUG, hit, near)
    assert "t:k: hit of the neighbour t:near at similarity 0.9300 in l2" in one.getMessage()
    assert extras(one)["similarity"] == 0.93
    assert other.getMessage() == "t:k: nearest is t:near at similarity 0.8700: negation at pool"
