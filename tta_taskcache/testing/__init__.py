"""Tools for tests: a fake clock, a faulty store, the contract of stores, a checker of histories.

A history is a record of what processes read, ran and invalidated (``testing.history``). The pytest
plugin is in every test run: other names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .clock import FakeClock
    from .contract import StoreContract, make_entry
    from .faults import FaultyStore
    from .history import (
        History,
        Invalidation,
        Read,
        Recorder,
        Run,
        Violation,
        check,
        surplus_runs,
    )
    from .loops import InLoop, LoopThread

pytest.register_assert_rewrite(f"{__name__}.contract")

#: The module of each name.
_MODULES = {
    "FakeClock": ".clock",
    "FaultyStore": ".faults",
    "History": ".history",
    "InLoop": ".loops",
    "Invalidation": ".history",
    "LoopThread": ".loops",
    "Read": ".history",
    "Recorder": ".history",
    "Run": ".history",
    "StoreContract": ".contract",
    "Violation": ".history",
    "check": ".history",
    "make_entry": ".contract",
    "surplus_runs": ".history",
}

__all__ = [
    "FakeClock",
    "FaultyStore",
    "History",
    "InLoop",
    "Invalidation",
    "LoopThread",
    "Read",
    "Recorder",
    "Run",
    "StoreContract",
    "Violation",
    "check",
    "make_entry",
    "surplus_runs",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name], __name__), name)
    return value
