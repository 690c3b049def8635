"""For tests of stores and of code that uses the cache.

A clock, faults, the stores' contract, and a checker of what processes read (``history``).
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
from .loops import InLoop, LoopThread  # noqa: E402 - likewise

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
