"""Private parts of Celery's canvas that tell which call a signature makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.canvas import Signature
from celery.canvas import _chain as Chain  # noqa: N812 - chain() is a function that makes one

__all__ = ["Chain", "merge"]


def merge(
    signature: Signature, given: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Arguments and options of a signature that is applied with further ones."""
    more = {name: given[name] for name in given if name not in ("args", "kwargs")}
    args, kwargs, options = signature._merge(
        given.get("args") or (), given.get("kwargs") or {}, more
    )
    return args, kwargs, options
