"""What we add to a message is in each copy of its headers: tasks may see any of them."""

from typing import Any

from celery import Celery
from celery.signals import before_task_publish

from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.celery.calls import context


def test_k3_what_is_sent_by_instrumentation_has_its_context() -> None:
    """As Sentry's and Datadog's do it: a copy of the headers, from before they are published."""
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    cache = TaskCache(app)

    @app.task(base=CachedTask, name="of_tenant", cache_vary=("tenant",), shared=False)
    def of_tenant() -> None:
        pass

    sent: list[dict[str, Any]] = []

    def note(headers: dict[str, Any], **_: Any) -> None:
        sent.append(headers)

    before_task_publish.connect(note)
    copy = {"sentry-trace": "id", "mine": "given"}
    try:
        with cache.context(tenant="acme"):
            app.send_task("of_tenant", headers={"headers": copy, "mine": "given"})
    finally:
        before_task_publish.disconnect(note)
    (headers,) = sent
    ours = {"tenant": "acme", "taskcache": {"ctx": {"tenant": "acme"}}}
    assert {name: headers.get(name) for name in ours} == ours
    assert headers["headers"] == {**copy, **ours}
    assert copy == {"sentry-trace": "id", "mine": "given"}  # a retry's may be its task's own


def test_what_the_consumer_adds_reaches_each_copy() -> None:
    headers: dict[str, Any] = {"taskcache": {"mode": "use"}, "headers": {"mine": 1}}
    context.add_to_cache_header(headers, {"found": True})
    both = {"taskcache": {"mode": "use", "found": True}}
    assert headers == {**both, "headers": {"mine": 1, **both}}
    context.write_cache_header(headers, {})
    assert headers == {"headers": {"mine": 1}}
