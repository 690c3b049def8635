"""Stores on the servers of tests, and the log that they keep."""

from collections.abc import Callable
from typing import Any

import redis

from tests.support.servers import Server
from tests.support.waiting import wait_until
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import (
    Store,
)
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.stores.wrappers.breaker import Breaker, GuardedStore
from tta_taskcache.testing.contract import invalidate

#: Ways to make a key one of a type that the store doesn't expect.
WRONG_TYPES: list[Callable[[redis.Redis, str], object]] = [
    lambda client, name: client.lpush(name, "x"),
    lambda client, name: client.hset(name, "x", "y"),
    lambda client, name: client.sadd(name, "x"),
    lambda client, name: client.xadd(name, {"x": "y"}),
    lambda client, name: client.set(name, "garbage"),
]

CONTROL, STREAM = "ns:{log}:control", "ns:{log}:stream"


def redis_store(server: Server, namespace: str = "ns") -> RedisStore:
    return RedisStore(Link(server.url(), 10.0), namespace)


def guarded(store: Store) -> GuardedStore:
    return GuardedStore(store, Breaker(lambda _: None))


def waiting(client: redis.Redis) -> Callable[[float], None]:
    """Waits, by the clock of a server."""

    def now() -> float:
        seconds, micros = client.time()
        return float(seconds + micros / 1e6)

    def advance(seconds: float) -> None:
        end = now() + seconds
        wait_until(lambda: now() > end)

    return advance


def keep_log(client: redis.Redis) -> Callable[[], None]:
    """Keep the log; what is returned puts it back, on the server that it is on."""
    kept: dict[str, Any] = {name: client.dump(name) for name in (CONTROL, STREAM)}

    def put_back() -> None:
        for name, dumped in kept.items():
            client.restore(name, 0, dumped, replace=True)

    return put_back


class Pruning:
    """Short times, and a look at what is left."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store

    def marks(self) -> set[str]:
        fields = self.store.client.hkeys(CONTROL)
        return {name.decode()[2:] for name in fields if name.startswith(b"m:")}

    def wait(self, milliseconds: float) -> None:
        def now() -> float:
            seconds, micros = self.store.client.time()
            return float(seconds * 1e3 + micros / 1e3)

        end = now() + milliseconds
        wait_until(lambda: now() > end)

    def prune(self) -> None:
        # There are less fields than one invalidation looks at: it sees all.
        invalidate(self.store, "other")
