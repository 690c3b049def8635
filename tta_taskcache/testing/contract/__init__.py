"""The contract of stores, as tests: subclass it with a fixture ``store``, and let pytest run it.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, clock):
            return MyStore(clock=clock)
"""

from __future__ import annotations

from .ban_tests import BanTests
from .base import (
    LONG,
    SHORT,
    Advance,
    fill,
    in_threads,
    invalidate,
    look,
    make_entry,
    poll,
    position,
    scan,
    totals,
)
from .counter_tests import Counting
from .entry_tests import Entries
from .lease_tests import LeaseTests, claim
from .log_tests import Log
from .look_many_tests import Many, look_many
from .own_mark_tests import OwnMarks
from .refresh_tests import Refreshes
from .renewal_tests import Renewals
from .scan_tests import Scanning
from .sweep_tests import Sweeps, sweep
from .takeover_tests import Takeovers

__all__ = [
    "LONG",
    "SHORT",
    "Advance",
    "StoreContract",
    "claim",
    "fill",
    "in_threads",
    "invalidate",
    "look",
    "look_many",
    "make_entry",
    "poll",
    "position",
    "scan",
    "sweep",
    "totals",
]


class StoreContract(
    Entries,
    Many,
    Log,
    BanTests,
    OwnMarks,
    LeaseTests,
    Takeovers,
    Refreshes,
    Renewals,
    Scanning,
    Sweeps,
    Counting,
):
    """The contract of a store, as tests. It holds for every store and every wrapper of one.

    Fixtures to override:

    - ``store``: the store, empty. Always.
    - ``advance``: lets seconds of the store's time pass. The default moves ``clock``.
    - ``other``: a store on the same data, as of another process. The default is ``store`` itself.
    """
