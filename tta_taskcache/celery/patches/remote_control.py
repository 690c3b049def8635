"""Private parts of Celery's remote control: asking workers what ``inspect`` has no method for."""

from __future__ import annotations

from typing import Any

from celery import Celery


def ask_workers(app: Celery, command: str, *, timeout: float, limit: int) -> dict[str, Any]:
    """What workers answer to an inspect command, by name.

    Args:
        app: The app.
        command: The command.
        timeout: Seconds that they may take.
        limit: How many answers to wait for.
    """
    return app.control.inspect(timeout=timeout, limit=limit)._request(command) or {}
