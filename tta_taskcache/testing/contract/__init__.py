"""What every store has to do, as tests: make a subclass with a ``store``, and let pytest run it.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, clock):
            return MyStore(clock=clock)
"""

from __future__ import annotations

from .bans import Bans
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
from .counting import Counting
from .entries import Entries
from .leases import Leases, claim
from .log import Log
from .many import Many, look_many
from .refreshes import Refreshes
from .scanning import Scanning
from .sweeps import Sweeps, sweep
from .takeovers import Takeovers

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
    Entries, Many, Log, Bans, Leases, Takeovers, Refreshes, Scanning, Sweeps, Counting
):
    """The contract of a store, as tests. It holds for every store and every wrapper of one.

    Fixtures to override:

    - ``store``: the store, empty. Always.
    - ``advance``: lets the store's time pass. The default moves ``clock``.
    - ``other``: the same data as another process sees it. The default is ``store`` itself.
    """
