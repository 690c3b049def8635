"""What the log keeps in Redis (I8), and what an invalidation says when replicas are missing."""

import pickle

import pytest

from tests.support.servers import Server
from tta_taskcache.core.entries import marks
from tta_taskcache.errors import NotReplicated
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import SetMarks
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.stores.wrappers.breaker import Breaker, GuardedStore

CONTROL = "taskcache:{log}:control"


def test_i8_replacements_leave_no_mark(redis_server: Server) -> None:
    store = RedisStore(Link(redis_server.url(), 5.0), "taskcache")
    for number in range(50):
        store.execute(SetMarks((marks.replaced(f"k{number}"),)))
    store.execute(SetMarks((marks.of_tag("a"),)))
    client = redis_server.client()
    kept = [field for field in client.hkeys(CONTROL) if field.startswith(b"m:")]
    assert kept == [b"m:g:a"]
    assert client.xlen("taskcache:{log}:stream") == 52, "and the one that opened the log"


def test_i8_replacements_that_an_older_version_kept_go_away(redis_server: Server) -> None:
    store = RedisStore(Link(redis_server.url(), 5.0), "taskcache")
    client = redis_server.client()
    client.hset(CONTROL, "m:r:old", "1 99999999999999")
    store.execute(SetMarks((marks.of_tag("a"),)))
    assert not client.hexists(CONTROL, "m:r:old")


def test_i6_too_few_replicas_happened_on_the_primary(redis_server: Server) -> None:
    link = Link(redis_server.url(), 5.0)
    changes: list[object] = []
    breaker = Breaker(changes.append)
    store = GuardedStore(RedisStore(link, "taskcache", replicas=1, patience=0.01), breaker)
    many = tuple(marks.of_tag(str(number)) for number in range(5000))
    with pytest.raises(NotReplicated, match="happened on the primary, but 0 of 1 replicas") as told:
        store.execute(SetMarks(many))
    assert not breaker.is_open
    assert changes == []
    kept = redis_server.client().hmget(CONTROL, [f"m:{mark}" for mark in many])
    assert all(kept)  # those of later scripts as well
    again = pickle.loads(pickle.dumps(told.value))  # noqa: S301 - our own bytes
    assert (str(again), again.acknowledged, again.wanted) == (str(told.value), 0, 1)
