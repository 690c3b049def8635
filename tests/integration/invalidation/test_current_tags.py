"""I7: an entry ends by its own tags and by those that its call has now."""

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from tests.support.servers import Server
from tta_taskcache import MISSING, CachedTask, TaskCache

pytestmark = pytest.mark.one_server_kind


@pytest.fixture
def deploy(redis_server: Server) -> Callable[..., Any]:
    """`deploy(**options)`: the task of one release, in a process of its own as far as it knows."""

    def make(**options: Any) -> Any:
        app = Celery(broker="memory://", set_as_current=False)
        TaskCache(app, url=redis_server.url(2), timeout=2.0)

        @app.task(base=CachedTask, name="f", shared=False, **options)
        def f(user: str, extra: int = 0) -> str:
            return "computed"

        return f

    return make


def test_i7_a_tag_that_a_release_added_reaches_older_entries(deploy: Callable[..., Any]) -> None:
    old, new = deploy(), deploy(cache_tags=("user:{user}",))
    assert old.cache.key("u1") == new.cache.key("u1")
    for user in ("u1", "u2"):
        old.cache.set("old", user)
        assert new.cache.get(user) == "old"  # from its memory, too, from now on
    new.taskcache().invalidate(tags=["user:u1"])
    assert new.cache.get("u1") is MISSING
    assert new.cache.get("u2") == "old"


def test_i7_the_tag_was_ended_before_this_process_knew_it(deploy: Callable[..., Any]) -> None:
    """The mark is older than what its memory knows: it was read for a call without that tag."""

    def tags(user: str, extra: int) -> list[str]:
        return [f"{user}:{extra}"]

    options = {"cache_ignore": ("extra",), "cache_tags": tags}
    one, other = deploy(**options), deploy(**options)
    one.cache.set("old", "u", 1)
    one.taskcache().invalidate(tags=["u:2"])
    assert other.cache.get("u", 1) == "old"
    assert other.cache.get("u", 2) is MISSING
