"""What the cache's keys in Redis are called, for namespace ``ns``.

::

    ns:e:{key}          string: the frame of an entry, with the entry's lifetime as its expiry
    ns:l:{key}          hash: the lease of a key: owner, stage, and the log's position
    ns:f:{key}          string: somebody refreshes the key
    ns:{log}:control    hash: incarnation, sequence, longest lifetime, the marks (``m:name``), bans
    ns:{log}:stream     stream: one record an invalidation; its id is ``sequence-1``
    ns:{log}:counts     hash: counters of all processes
    ns:{log}:counts:day hash: what of it was counted on a day (``2026-01-31``)
    ns:{log}:sweep      hash: how far the sweep under way has come

What belongs to a key shares one slot of a cluster, and the log's another: nothing needs both.
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
        """Where the counters of a day are."""
        return f"{self.counts}:{day}"

    def entry(self, key: str) -> str:
        """Where the entry of a key is; of a glob, where those of the keys are that match."""
        return f"{self.entries}{{{key}}}"

    def lease(self, key: str) -> str:
        """Where the lease of a key is."""
        return f"{self.leases}{{{key}}}"

    def refresh(self, key: str) -> str:
        """Where it says that somebody refreshes a key."""
        return f"{self.refreshes}{{{key}}}"

    def key(self, name: bytes) -> str | None:
        """The key of an entry; None for what isn't the name of one."""
        text = name.decode(errors="replace")
        if not (text.startswith(f"{self.entries}{{") and text.endswith("}")):
            return None
        return text[len(self.entries) + 1 : -1]
