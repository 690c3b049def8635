"""What tests of groups share: a producer whose questions to the store are counted."""

from dataclasses import dataclass, replace
from typing import Any

from tests.integration.harness import Harness
from tta_taskcache.stores.protocol import Look, LookMany, Poll
from tta_taskcache.testing import FaultyStore

#: What a test waits at most (s).
PATIENCE = 60

#: What reads: each is one round trip to a node.
READS = (Look, LookMany, Poll)


@dataclass
class CountingHarness:
    """A producer, and what it asks of the store."""

    harness: Harness
    store: FaultyStore

    @property
    def add(self) -> Any:
        return self.harness.task("cached.add")

    @property
    def reads(self) -> list[str]:
        return [type(each).__name__ for each in self.store.commands if isinstance(each, READS)]

    @property
    def sent(self) -> int:
        """Messages that nobody has taken."""
        return int(self.harness.server.client(0).llen("celery"))

    def adds(self, *xs: int) -> list[Any]:
        return [self.add.s(self.harness.tag, x) for x in xs]

    def fill(self, *xs: int) -> None:
        """Store results that no run would return; L1 is as it was."""
        for x in xs:
            assert self.add.cache.set(f"stored {x}", self.harness.tag, x)
        self.forget()

    def forget(self) -> None:
        """Empty L1, and the list of commands."""
        near = self.harness.cache.runtime.engine.parts.l1
        keys = self.harness.cache.keys()
        for key in keys:
            near.entries.drop(key)
        self.store.commands.clear()

    def runs(self, *xs: int) -> list[int]:
        return [self.harness.runs("add", self.harness.tag, x, 0) for x in xs]


def count_trips(harness: Harness) -> CountingHarness:
    runtime = harness.cache.runtime
    runtime.engine.parts.l1.max_staleness = 60.0  # a slow machine polls no more often
    store = FaultyStore(runtime.store)
    harness.cache._provider._built["runtime"] = replace(runtime, store=store)
    return CountingHarness(harness, store)


def stored(*xs: int) -> list[str]:
    return [f"stored {x}" for x in xs]
