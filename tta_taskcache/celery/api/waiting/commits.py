"""Waiting for a database's commit, in Django projects."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ....errors import ConfigurationError


def when_committed(act: Callable[[], object]) -> None:
    """Do something when the current transaction is committed; at once when there is none.

    Raises:
        ConfigurationError: Django isn't installed.
    """
    try:
        transaction = import_module("django.db.transaction")
    except ImportError as error:
        raise ConfigurationError("on_commit=True: there is no Django to wait for") from error
    transaction.on_commit(act)
