"""Tools for tests: a fake clock, a faulty store, the contract of stores, a checker of histories.

A history is a record of what processes read, ran and invalidated (``testing.history``).
"""

import pytest

pytest.register_assert_rewrite(f"{__name__}.contract")

from .clock import FakeClock  # noqa: E402 - asserts are rewritten from here on
from .contract import StoreContract, make_entry  # noqa: E402 - likewise
from .faults import FaultyStore  # noqa: E402 - likewise
from .history import (  # noqa: E402 - likewise
    History,
    Invalidation,
    Read,
    Recorder,
    Run,
    Violation,
    check,
    surplus_runs,
)

__all__ = [
    "FakeClock",
    "FaultyStore",
    "History",
    "Invalidation",
    "Read",
    "Recorder",
    "Run",
    "StoreContract",
    "Violation",
    "check",
    "make_entry",
    "surplus_runs",
]
