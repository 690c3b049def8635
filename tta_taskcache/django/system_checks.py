"""What ``manage.py check`` says of the cache: the doctor's judgements that need no server."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from django.core import checks

from ..celery.api.setup.diagnosing import static_facts
from ..celery.doctor.diagnosis import diagnose_statically
from ..celery.doctor.facts import Finding, Level
from ..celery.patches.internals import current_app
from ..errors import ConfigurationError

TAG = "taskcache"

#: Celery's Django fixup runs all checks again while tasks are imported.
_is_checking: ContextVar[bool] = ContextVar("taskcache_is_checking", default=False)


def check_cache(**_: Any) -> list[checks.CheckMessage]:
    """Import the tasks of the current Celery app, and judge its cache.

    A wrong option or setting is an error; what the doctor calls wrong a warning, as it may be meant
    in development; its advice is for information.
    """
    if _is_checking.get():
        return []
    token = _is_checking.set(True)
    try:
        findings = diagnose_statically(static_facts(current_app()))
    except ConfigurationError as error:
        return [checks.Error(str(error), id="taskcache.E001")]
    finally:
        _is_checking.reset(token)
    return [_message(finding) for finding in findings if finding.level is not Level.OK]


def _message(finding: Finding) -> checks.CheckMessage:
    kind, number = (checks.Info, "I001")
    if finding.level is Level.WRONG:
        kind, number = checks.Warning, "W001"
    text = f"{finding.about}: {finding.message}"
    return kind(text, hint=finding.remedy, id=f"taskcache.{number}")
