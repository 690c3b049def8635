"""An ACL user that may do nothing but what the cache needs (the README says what that is)."""

from collections.abc import Callable

from celery import Celery

from tests.support.servers import Server
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.cache.engine import sweeping
from tta_taskcache.stores.sweep_commands import SweepProgress

RULES = ["on", ">p@ss:word", "~taskcache:*", "+@all", "-@dangerous", "-@admin"]


def test_f2_a_user_of_its_own_is_enough(server_factory: Callable[..., Server]) -> None:
    server = server_factory()
    server.client().execute_command("ACL", "SETUSER", "cache", *RULES)
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    url = server.url(2).replace("//", "//cache:p%40ss%3Aword@")
    cache = TaskCache(app, url, timeout=5.0)
    runs: list[int] = []

    @app.task(base=CachedTask, shared=False, name="acl", cache_tags=("tag:{n}",))
    def acl(n: int) -> int:
        runs.append(n)
        return n

    def ask() -> None:
        assert [acl.cache.call(1), acl.cache.call(2)] == [1, 2]

    ask()
    for end in (
        lambda: cache.invalidate(tags=["tag:1"]),
        lambda: cache.invalidate(pattern="acl:*"),
        lambda: cache.invalidate(task=acl),
        lambda: acl.cache.invalidate(1),
        cache.clear,
    ):
        ask()
        end()
    ask()
    assert len(runs) == 2 + 1 + 2 + 2 + 1 + 2
    assert len(cache.keys()) == 2
    assert cache.stats().faults == 0
    now = SweepProgress()
    while not now.is_over:
        now = cache.runtime.run(sweeping.batch(cache.runtime.engine, now))
    assert len(cache.keys()) == 2
