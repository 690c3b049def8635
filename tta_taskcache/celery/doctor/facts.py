"""The doctor's facts and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Any

from ...core.options.policy import Policy
from ...core.record import record
from ...observability.counters import TaskStats
from ...stores.redis.health import Health
from ..config.settings import Settings
from .package_facts import PackageFacts


class Level(Enum):
    """The severity of a finding."""

    OK = "ok"
    ADVICE = "advice"
    WRONG = "wrong"


@record
class Finding:
    """A finding.

    Attributes:
        about: Its subject.
        level: Its severity.
        message: Its description.
        remedy: The remedy; empty where all is well.
    """

    about: str
    level: Level
    message: str
    remedy: str = ""


@record(kw_only=True)
class StaticFacts:
    """The facts that are known without asking a server.

    Attributes:
        settings: The app's settings.
        policies: Policies of all cached tasks, by task name.
        codecs: Names of all serializers and compressors of this process.
        result_serializer: Celery's setting of that name.
        packages: Versions of the installed packages.
    """

    settings: Settings
    policies: Mapping[str, Policy]
    codecs: frozenset[str]
    result_serializer: str
    packages: PackageFacts


@record(kw_only=True)
class Facts(StaticFacts):
    """The facts that findings are made of.

    Attributes:
        store: Name of its store.
        health: The health of its Redis.
        broker_run_ids: Run ids of the broker's Redis servers; empty for another broker.
        broker_fault: The fault of a broker that can't be reached; else empty.
        versions: Versions of this process (``about_library``).
        workers: Replies of workers to ``inspect taskcache``; None for one without that command.
        stats: Counts of this namespace, by task.
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
