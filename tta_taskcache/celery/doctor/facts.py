"""What the doctor knows, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ...core.policy import Policy
from ...observability.counters import TaskStats
from ...stores.health import Health
from ..config.settings import Settings


class Level(Enum):
    """How a finding is meant."""

    OK = "ok"
    ADVICE = "advice"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: What.
        level: Whether that is well.
        told: What was found.
        remedy: What to do, if it isn't well.
    """

    about: str
    level: Level
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFacts:
    """What is known without asking anybody.

    Attributes:
        settings: The app's settings.
        policies: Of all cached tasks, by name.
        codecs: Names of all serializers and compressors that this process has.
        result_serializer: Celery's setting.
    """

    settings: Settings
    policies: Mapping[str, Policy]
    codecs: frozenset[str]
    result_serializer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(StaticFacts):
    """What judgements are made of, beside what is known without asking.

    Attributes:
        store: Name of its store.
        health: What Redis says.
        broker_run_ids: Of the Redis servers that the broker is; empty for another broker.
        broker_fault: Why the broker can't be reached; empty when it can.
        versions: Versions here, as workers tell theirs.
        workers: What each worker answers to ``inspect taskcache``; None for one that doesn't know
            the question.
        stats: What was counted in this namespace, by task.
        tasks: Names of all tasks of the app.
    """

    store: str
    health: Health
    broker_run_ids: frozenset[str]
    broker_fault: str
    versions: Mapping[str, Any]
    workers: Mapping[str, Mapping[str, Any] | None]
    stats: Mapping[str, TaskStats] = field(default_factory=dict)
    tasks: frozenset[str] = frozenset()
