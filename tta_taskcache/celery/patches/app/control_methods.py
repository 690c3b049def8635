"""Methods of ``app.control`` and ``app.control.inspect()`` for this library's remote control."""

from __future__ import annotations

from typing import Any

from celery.app.control import Control, Inspect


def add_inspect_method(name: str) -> None:
    """Let ``app.control.inspect()`` have a method that asks workers for what they say to it."""

    def ask(inspect: Inspect) -> Any:
        return inspect._request(name)

    setattr(Inspect, name, ask)


def add_control_method(name: str) -> None:
    """Let ``app.control`` have a method that tells workers to do it."""

    def tell(control: Control, destination: Any = None, **options: Any) -> Any:
        return control.broadcast(name, destination=destination, **options)

    setattr(Control, name, tell)
