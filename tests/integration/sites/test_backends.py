"""Where results are kept: what a caller gets of a hit is what a plain call would give him."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chain, chord, group

from tests.conftest import STARTED
from tests.integration.app import SITES
from tests.integration.harness import Harness
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import CachedTask, TaskCache

pytestmark = pytest.mark.one_server_kind

PATIENCE = 30


@dataclass(frozen=True)
class Backend:
    """Where results are, and what its worker runs with.

    Attributes:
        name: Which of `BACKENDS`.
        conf: For the worker and for those that call.
        worker: Its worker.
    """

    name: str
    conf: dict[str, Any]
    worker: Worker

    @property
    def has_results(self) -> bool:
        return self.name != "disabled"

    @property
    def has_chords(self) -> bool:
        return self.name in {"redis", "database"}


BACKENDS = ("redis", "database", "rpc", "rpc on rabbitmq", "disabled")


def result_backend(name: str, server: Server, folder: Path) -> str:
    match name:
        case "redis":
            return server.url(1)
        case "database":
            pytest.importorskip("sqlalchemy")
            return f"db+sqlite:///{folder / 'results.sqlite'}"
        case "disabled":
            return "disabled://"
    return "rpc://"


@pytest.fixture(scope="module", params=BACKENDS)
def _backend(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    name: str = request.param
    broker = server.url(0)
    if name.endswith("rabbitmq"):
        broker = request.getfixturevalue("_rabbit").url
    conf = {
        "broker_url": broker,
        "result_backend": result_backend(name, server, tmp_path_factory.mktemp("results")),
        # The worker that tests of this package share takes the usual one.
        "task_default_queue": f"queue-{uuid4().hex[:8]}",
        "result_chord_retry_interval": 0.1,
    }
    env = {
        "CELERY_BROKER_URL": broker,
        "CELERY_RESULT_BACKEND": conf["result_backend"],
        "TASKCACHE_URL": server.url(2),
        "APP_CONF": json.dumps(conf),
    }
    with Worker("tests.integration.sites.backends_app", env=env) as worker:
        yield Backend(name, conf, worker)


@pytest.fixture
def backend(_backend: Backend, redis_server: Server, request: pytest.FixtureRequest) -> Backend:
    assert _backend.worker.running, _backend.worker.log
    request.node.stash.setdefault(STARTED, []).append(_backend.worker)
    return _backend


@pytest.fixture
def harness(backend: Backend, redis_server: Server, new_harness: Callable[..., Harness]) -> Harness:
    return new_harness(redis_server, **backend.conf)


def outcome(ask: Callable[[], Any]) -> Any:
    """What a caller gets: the value, or what is raised."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - which one is compared
        return type(error)


def notes(harness: Harness, number: int) -> list[str]:
    """What the callback `note` was given, when it has run so often."""
    wait_until(
        lambda: harness.counts.llen(f"notes:{harness.tag}") >= number,
        timeout=PATIENCE,
        what="notes",
    )
    return [note.decode() for note in harness.counts.lrange(f"notes:{harness.tag}", 0, -1)]


def noted(harness: Harness) -> Any:
    return harness.task("note").s(harness.tag)


@pytest.mark.parametrize("site", SITES)
def test_a_hit_is_a_result_like_any(harness: Harness, backend: Backend, site: str) -> None:
    tag = harness.tag
    plain = harness.task("plain.add").apply_async((tag, 1, 2), link=noted(harness))
    expected = outcome(lambda: plain.get(timeout=PATIENCE))
    assert expected == (3 if backend.has_results else NotImplementedError)
    notes(harness, 1)
    task = harness.task(f"{site}.add")
    results = []
    for number in range(3):
        results.append(task.apply_async((tag, 1, 2), link=noted(harness)))
        notes(harness, 2 + number)
    assert notes(harness, 4) == ["3"] * 4
    assert harness.runs("add", tag, 1, 2) == 2, "the plain one, and one of three"
    got = [outcome(lambda r=result: r.get(timeout=PATIENCE)) for result in results]
    assert got == [expected] * 3
    assert [r.cache_status.hit for r in results] == [False, *[site == "producer"] * 2]


@pytest.mark.parametrize("site", SITES)
def test_a_hit_is_found_by_its_id(harness: Harness, backend: Backend, site: str) -> None:
    """By the process that asked: with rpc:// no other could."""
    tag = harness.tag
    task = harness.task(f"{site}.add")
    task.cache.set(3, tag, 1, 2)
    hit = task.delay(tag, 1, 2).id
    plain = harness.task("plain.add").delay(tag, 1, 2).id
    values = [
        outcome(lambda i=task_id: harness.app.AsyncResult(i).get(timeout=5))
        for task_id in (plain, hit)
    ]
    assert values == [3 if backend.has_results else NotImplementedError] * 2
    wait_until(lambda: harness.runs("add", tag, 1, 2), what="the plain one's run")
    assert harness.runs("add", tag, 1, 2) == 1


def chained(harness: Harness, kind: str, last: Any = None) -> Any:
    tag = harness.tag
    steps = [harness.task(f"{kind}.add").s(tag, 1), harness.task(f"{kind}.more").s(tag)]
    return chain(*steps, *([last] if last is not None else []))


@pytest.mark.parametrize("kind", ["cached", *SITES])
def test_a_chain(harness: Harness, backend: Backend, kind: str) -> None:
    plain = chained(harness, "plain", noted(harness)).apply_async()
    assert notes(harness, 1) == ["2"]
    for number in range(2, 5):
        chained(harness, kind, noted(harness)).apply_async()
        assert notes(harness, number) == ["2"] * number
    result = chained(harness, kind).apply_async()
    got = [outcome(lambda r=each: r.get(timeout=PATIENCE)) for each in (plain.parent, result)]
    assert got[0] == got[1]
    assert (got[1] == 2) is backend.has_results, "Celery has an error for it"
    assert harness.runs("add", harness.tag, 1, 0) == 2, "the plain one, and one of four"
    assert harness.runs("more", harness.tag, 1, 1) == 2


def test_a_chain_of_hits_is_the_first_thing_a_process_asks(
    harness: Harness, backend: Backend
) -> None:
    harness.task("cached.add").cache.set(1, harness.tag, 1)
    harness.task("cached.more").cache.set(2, 1, harness.tag)
    result = chained(harness, "cached").apply_async()
    got = outcome(lambda: result.get(timeout=5))
    plain = chained(harness, "plain").apply_async()
    assert got == outcome(lambda: plain.get(timeout=PATIENCE))
    assert (got == 2) is backend.has_results


@pytest.mark.parametrize("kind", ["cached", *SITES])
def test_a_group(harness: Harness, backend: Backend, kind: str) -> None:
    add = harness.task(f"{kind}.add")
    expected = [0, 1, 2] if backend.has_results else NotImplementedError
    for number in range(1, 4):
        link = noted(harness)
        result = group(add.s(harness.tag, x).set(link=link) for x in range(3)).apply_async()
        assert sorted(notes(harness, 3 * number)) == sorted(["0", "1", "2"] * number)
        assert outcome(lambda r=result: r.get(timeout=PATIENCE)) == expected
    assert [harness.runs("add", harness.tag, x, 0) for x in range(3)] == [1, 1, 1]


def chorded(harness: Harness, kind: str) -> Any:
    tag = harness.tag
    header = [harness.task(f"{kind}.add").s(tag, x) for x in range(3)]
    return chord(header, harness.task(f"{kind}.collect").s(tag))


@pytest.mark.parametrize("kind", ["cached", *SITES])
def test_a_chord(harness: Harness, backend: Backend, kind: str) -> None:
    if not backend.has_chords:
        for each in ("plain", kind):
            with pytest.raises(NotImplementedError):
                chorded(harness, each).apply_async()
        assert not any(harness.runs("add", harness.tag, x, 0) for x in range(3))
        return
    for _ in range(3):
        assert chorded(harness, kind).apply_async().get(timeout=PATIENCE) == 3
    assert [harness.runs("add", harness.tag, x, 0) for x in range(3)] == [1, 1, 1]
    assert harness.runs("collect", harness.tag) == 1


@pytest.mark.parametrize("url", ["db+sqlite:///{}/results", "rpc://", "disabled://", None])
def test_without_taskcache_url_it_says_so(
    url: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("sqlalchemy")
    app = Celery("backends", broker="memory://", set_as_current=False)
    app.conf.result_backend = url and url.format(tmp_path)

    @app.task(name="double", shared=False, base=CachedTask)
    def task(x: int) -> int:
        return 2 * x

    with caplog.at_level(logging.WARNING, "tta_taskcache"):
        task.cache.set(8, 4)
        assert [task.delay(4).cache_status.hit for _ in range(2)] == [True, True]
    said = [record.getMessage() for record in caplog.records if record.name == "tta_taskcache"]
    assert len(said) == 1
    assert "caching in the memory of each process only" in said[0]
    assert TaskCache(app).runtime.settings.url is None
    app.close()
