"""Log lines for structlog: each event by its kind, with its fields as they are."""

from __future__ import annotations

from dataclasses import fields

from ..core.events import Event
from .logs import LogLines

try:
    import structlog
except ImportError as error:
    raise ImportError("structlog isn't installed: pip install structlog") from error


class StructlogObserver:
    """Writes events to the structlog logger ``tta_taskcache``, at the levels of the log's lines.

    The same goes to the logger of that name of the standard library.
    """

    def __init__(self) -> None:
        self._lines = LogLines()
        self._log = structlog.get_logger("tta_taskcache")

    def __call__(self, event: Event) -> None:
        """Log an event."""
        if (read := self._lines.read(event)) is not None:
            values = {field.name: getattr(event, field.name) for field in fields(event)}
            if isinstance(error := values.get("error"), BaseException):
                values["error"] = repr(error)
            self._log.log(read[0], type(event).__name__, **values)
