"""A process with an engine of its own, on a store that others share."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from tta_taskcache.cache.engine.engine import make_engine
from tta_taskcache.cache.engine.parts import Parts
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.plan import run
from tta_taskcache.core.entries.entry import Position, pack
from tta_taskcache.core.entries.lease import Claim, Lease, Stage
from tta_taskcache.core.events import Event, Filled
from tta_taskcache.core.options.policy import Policy
from tta_taskcache.core.results.codec import Codecs, Serializer
from tta_taskcache.observability.counters import Counters
from tta_taskcache.stores.memory.l1_cache import L1Cache
from tta_taskcache.stores.protocol import (
    Store,
)
from tta_taskcache.testing import FakeClock, make_entry

DELTA = 0.25


ENTRY = "ns:e:{t:k}"


def call(key: str = "t:k", task: str = "t", tags: tuple[str, ...] = (), **options: Any) -> Call:
    return Call(task, key, Policy(**{"ttl": 60.0, **options}), tags)


def claim(owner: str = "a", **options: Any) -> Claim:
    return Claim(**{"owner": owner, "stage": Stage.RUNNING, "ttl": 60.0, **options})


def pickled(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 - what an application may have named


CODECS = Codecs(
    {**Codecs().serializers, "pickle": Serializer("pickle", pickle.dumps, pickled)},
)


@dataclass
class Process:
    """The cache as one process has it."""

    store: Store
    clock: FakeClock
    delta: float = DELTA
    draw: float = 0.0
    secret: bytes = b""
    codecs: Codecs = CODECS
    events: list[Event] = field(default_factory=list)
    abandoned: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = make_engine(
            Parts(
                l1=L1Cache(100, 1_000_000, self.delta),
                codecs=self.codecs,
                observe=self.events.append,
                counters=Counters(),
                secret=self.secret,
                abandon=lambda key, owner: self.abandoned.append((key, owner)),
                clock=self.clock,
                wall=lambda: 1.0,
                draw=lambda: self.draw,
            )
        )

    def look(self, which: Call | None = None, claim: Claim | None = None) -> Hit | Miss:
        return run(self.engine.look(which or call(), "pool", claim), self.store)

    def claim(self, owner: str, which: Call | None = None) -> Lease:
        """Look, with the wish to lead; there must be no result."""
        found = self.look(which, claim(owner))
        assert isinstance(found, Miss)
        assert found.lease is not None
        return found.lease

    def fill(
        self, value: Any, miss: Hit | Miss, which: Call | None = None, owner: str = ""
    ) -> bool:
        assert isinstance(miss, Miss)
        plan = self.engine.writer.fill(
            which or call(), miss.position, value, run_seconds=2.0, task_id="id", owner=owner
        )
        return run(plan, self.store)

    def filled(self) -> Filled:
        """The last fill, as observers were told."""
        return [event for event in self.events if isinstance(event, Filled)][-1]

    def store_value(self, value: Any, which: Call | None = None) -> None:
        assert self.fill(value, self.look(which), which)

    def invalidate(self, *names: str, keys: tuple[str, ...] = ()) -> None:
        run(self.engine.invalidate(names, keys), self.store)

    def value(self, which: Call | None = None) -> Any:
        found = self.look(which)
        return found.value if isinstance(found, Hit) else found.reason

    def layer(self, which: Call | None = None) -> str:
        found = self.look(which)
        return found.layer if isinstance(found, Hit) else found.reason


Start = Callable[..., Process]


def write_garbage(client: redis.Redis, frame: bytes) -> None:
    client.set(ENTRY, frame, px=60_000)


def frame(payload: bytes, **fields: Any) -> bytes:
    return pack(make_entry("t:k", Position("i", 0), payload, **fields))
