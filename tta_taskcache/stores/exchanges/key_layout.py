"""The layout of the cache's keys in Redis, for namespace ``ns``.

::

    ns:e:{key}          string: the frame of an entry, with the entry's lifetime as its expiry
    ns:l:{key}          hash: the lease of a key: owner, stage, and the log's position
    ns:f:{key}          string: a refresh of the key is under way
    ns:{log}:control    hash: incarnation, sequence, longest lifetime, the marks (``m:name``), bans
    ns:{log}:stream     stream: one record an invalidation; its id is ``sequence-1``
    ns:{log}:counts     hash: counters of all processes
    ns:{log}:counts:day hash: counters of a day (``2026-01-31``)
    ns:{log}:sweep      hash: the progress of the sweep under way

The names of one key share a slot of a cluster, those of the log another: nothing needs both.
"""

from __future__ import annotations


class Layout:
    """The names of one namespace."""

    def __init__(self, namespace: str) -> None:
        self.entries = f"{namespace}:e:"
        self.leases = f"{namespace}:l:"
        self.refreshes = f"{namespace}:f:"
        self.control = f"{namespace}:{{log}}:control"
        self.stream = f"{namespace}:{{log}}:stream"
        self.counts = f"{namespace}:{{log}}:counts"
        self.sweep = f"{namespace}:{{log}}:sweep"

    def counts_on(self, day: str) -> str:
        """Return the name of a day's counters."""
        return f"{self.counts}:{day}"

    def entry(self, key: str) -> str:
        """Return the name of a key's entry; of a glob, the glob of the names of its entries."""
        return f"{self.entries}{{{key}}}"

    def lease(self, key: str) -> str:
        """Return the name of a key's lease."""
        return f"{self.leases}{{{key}}}"

    def refresh(self, key: str) -> str:
        """Return the name of the marker of a key's refresh."""
        return f"{self.refreshes}{{{key}}}"

    def key(self, name: bytes) -> str | None:
        """Return the key of an entry's name; None for any other name."""
        text = name.decode(errors="replace")
        if not (text.startswith(f"{self.entries}{{") and text.endswith("}")):
            return None
        return text[len(self.entries) + 1 : -1]
