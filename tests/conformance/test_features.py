"""S4: the less common ways to call a task come out as with plain tasks."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state, chain, chord, group, uuid
from celery.result import GroupResult, ResultSet, result_from_tuple

from tests.conformance.app import CACHED, define_shared
from tests.conformance.cases import CANVASES, Build, Case, Stamp
from tests.conformance.comparing import compare, difference, run_plain
from tests.conformance.harness import MODULE, Harness, environment, make_harness, new_tag, settings
from tests.support.processes import Process
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, clean_environment
from tta_taskcache import TaskCache

pytestmark = pytest.mark.one_server_kind

PATIENCE = 30


class StampAll(Stamp):
    """Stamps callbacks and what holds tasks together, too."""

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        return {"stamped_headers": ["within"], "within": "a group"}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        return {"stamped_headers": ["role"], "role": "callback"}


def _call(b: Build, name: str, *args: Any, **options: Any) -> Any:
    return b.task(name).apply_async(args, {"run": b.run}, **options)


def _by_name(b: Build, name: str, *args: Any, **options: Any) -> Any:
    return b.app.send_task(f"{b.kind}.{name}", args, {"run": b.run}, **options)


def _si(b: Build, name: str, *args: Any) -> Any:
    return b.task(name).si(*args, run=b.run)


def _json(b: Build, sig: Any) -> Any:
    """As it comes from another process."""
    return b.app.signature(json.loads(json.dumps(sig)))


def _stamped(sig: Any, **headers: Any) -> Any:
    sig.stamp(StampAll(), append_stamps=True, **headers)
    return sig


CALLS: dict[str, Case] = {
    "link option": lambda b: _call(b, "add", 1, link=b.note("a")),
    "link option, several": lambda b: _call(b, "add", 1, link=[b.note("a"), b.more(2)]),
    "link option, a chain": lambda b: _call(b, "add", 1, link=chain(b.more(1), b.more(2))),
    "link_error option": lambda b: _call(b, "fails", 1, link_error=b.errback("e")),
    "link_error option, unneeded": lambda b: _call(
        b, "add", 1, link=b.note("a"), link_error=[b.errback("e"), b.errback("f")]
    ),
    "links of both kinds": lambda b: (
        b.add(1).on_error(b.errback("e")).apply_async(link=b.note("a"), link_error=b.errback("f"))
    ),
    "headers": lambda b: _call(b, "add", 1, headers={"mine": 1}, link=b.note("a")),
    "shadow": lambda b: _call(b, "add", 1, shadow="another", link=b.note("a")),
    "send_task": lambda b: _by_name(b, "add", 1, 2),
    "send_task with links": lambda b: _by_name(b, "add", 1, link=[b.note("a"), b.more(1)]),
    "send_task, a chain's first step": lambda b: _by_name(
        b, "add", 1, chain=[b.more(2), b.more(1)]
    ),
    "si": lambda b: chain(b.add(1), _si(b, "add", 5), b.more(1)),
    "si in a group": lambda b: chain(b.add(1), group(_si(b, "add", 5), b.more(1)), b.collect()),
    "chain with args": lambda b: chain(b.more(), b.more(2)).apply_async((5,)),
    "chain with kwargs": lambda b: chain(b.add(), b.more(2)).apply_async(kwargs={"x": 5}),
    "chain called": lambda b: chain(b.more(), b.more(2))(5),
    "signature with kwargs": lambda b: b.add(5).apply_async(kwargs={"y": 7}),
    "signature.replace": lambda b: b.add(1).replace(args=(3,)),
    "signature.clone": lambda b: b.add(1).clone(args=(9,), link=b.note("a")),
    "pipes": lambda b: b.add(1) | b.more(2) | b.more(3),
    "group | task": lambda b: group(b.adds(1, 2)) | b.collect(),
    "group | group": lambda b: group(b.adds(1, 2)) | group(b.collect(), b.collect()),
    "task | group | task": lambda b: b.add(1) | group(b.more(1), b.more(2)) | b.collect(),
    "chord | task": lambda b: chord(b.adds(1, 2), b.collect()) | b.more(1),
    "from JSON": lambda b: _json(b, b.add(1)),
    "chain from JSON": lambda b: _json(b, chain(b.add(1), b.more(2))),
    "group from JSON": lambda b: _json(b, group(b.adds(1, 2))),
    "chord from JSON": lambda b: _json(b, chord(b.adds(1, 2), b.collect())),
    "stamps appended": lambda b: _stamped(_stamped(b.add(1)), shelf="top"),
    "stamped chain": lambda b: _stamped(chain(b.add(1), b.more(1)), shelf="top"),
    "stamped group": lambda b: _stamped(group(b.adds(1, 2)), shelf="top"),
    "stamped chord": lambda b: _stamped(chord(b.adds(1, 2), b.collect()), shelf="top"),
}

BY_NAME = {"send_task", "send_task with links", "send_task, a chain's first step"}


@pytest.mark.parametrize("kind", CACHED)
@pytest.mark.parametrize("name", CALLS)
def test_s4_ways_to_call(prefork: Harness, name: str, kind: str) -> None:
    ran = compare(prefork, kind, CALLS[name], run_plain(prefork, CALLS[name]))
    # What is sent by name doesn't pass the producer site; the steps after it do.
    assert ran == ({"add"} if kind == "producer" and name in BY_NAME else set())


def _saved(result: GroupResult) -> str:
    result.save()
    return str(result.id)


def _passed_on(result: GroupResult, app: Celery) -> GroupResult:
    """As another process gets it."""
    revived = result_from_tuple(json.loads(json.dumps(result.as_tuple())), app=app)
    assert isinstance(revived, GroupResult)
    return revived


#: What is asked of the results of a group after a first step, `g.parent`.
ASKED: dict[str, Callable[[GroupResult, Celery], Any]] = {
    "collect": lambda g, _: sorted(repr(value) for _, value in g.parent.collect()),
    "iterdeps": lambda g, _: sorted(
        repr(node.get()) for _, node in g.parent.iterdeps(intermediate=True)
    ),
    "children": lambda g, _: [len(node.children or ()) for node in (g.parent, *g.results)],
    "passed on": lambda g, app: _passed_on(g, app).get(timeout=PATIENCE),
    "restored": lambda g, app: GroupResult.restore(_saved(g), app=app).get(timeout=PATIENCE),
    "ResultSet": lambda g, app: ResultSet(list(g.results), app=app).get(timeout=PATIENCE),
    "join": lambda g, _: g.join(timeout=PATIENCE),
    "counts": lambda g, _: (g.completed_count(), g.successful(), g.failed(), g.ready()),
    "iter_native": lambda g, _: sorted(meta["result"] for _, meta in g.iter_native()),
}


@pytest.mark.parametrize("kind", CACHED)
@pytest.mark.parametrize("name", ASKED)
def test_s4_what_results_tell(prefork: Harness, name: str, kind: str) -> None:
    tag = new_tag()

    def ask(kind: str) -> Any:
        b = Build(prefork.app, kind, tag)
        with prefork.witness.run():
            result = chain(b.add(1), group(b.more(1), b.more(2))).apply_async()
        assert result.get(timeout=PATIENCE) == [2, 3]
        return ASKED[name](result, prefork.app)

    plain = ask("plain")
    assert ask(kind) == plain, "cold"
    assert ask(kind) == plain, "warm"
    assert prefork.bodies() == []


def test_s4_a_hit_may_be_forgotten(prefork: Harness) -> None:
    build = Build(prefork.app, "cached", new_tag())
    assert build.add(1).delay().get(timeout=PATIENCE) == 1
    hit = build.add(1).delay()
    assert hit.cache_status.hit
    assert prefork.app.AsyncResult(hit.id).state == "SUCCESS"
    hit.forget()
    assert prefork.app.AsyncResult(hit.id).state == "PENDING"
    again = build.add(1).delay()
    assert again.cache_status.hit, "the task's result is gone, the cache's is not"


@pytest.mark.parametrize("kind", ["consumer", "pool"])
@pytest.mark.parametrize("warm", [False, True])
def test_s4_what_is_revoked_before_it_comes_is_not_answered(
    prefork: Harness, kind: str, warm: bool
) -> None:
    def case(b: Build) -> Any:
        task_id = uuid()
        (reply,) = b.app.control.revoke(task_id, reply=True, timeout=PATIENCE, limit=1)
        assert "ok" in next(iter(reply.values()))
        return b.add(1).set(task_id=task_id, link=b.note("no"))

    tag = new_tag()
    plain = prefork.run("plain", case, new_tag())
    assert "REVOKED" in plain.view
    if warm:
        assert prefork.app.tasks[f"{kind}.add"].cache.set(1, 1, run=tag)
    differs = difference(plain, prefork.run(kind, case, tag), tries=True)
    assert not differs, differs
    assert prefork.bodies() == []


def apart(server: Server, **conf: Any) -> dict[str, Any]:
    """What one more app of this process is made with.

    Its witness hears of all tasks of the same names, of other apps too, and for as long as the
    process lives: it writes that where nobody reads.
    """
    return settings(server, witness=server.url(9), **conf)


@pytest.fixture(scope="module")
def eager(server: Server) -> Iterator[Harness]:
    """An app whose tasks run where they are called."""
    with make_harness(apart(server, task_always_eager=True)) as made:
        made.stored = False
        yield made


EAGER = [name for name in CANVASES if not any(word in name for word in ("error", "fail"))]


@pytest.mark.parametrize("name", [*EAGER, *(name for name in CALLS if "send_task" not in name)])
def test_s4_eager_tasks(eager: Harness, name: str) -> None:
    case = (CANVASES | CALLS)[name]
    ran = compare(eager, "cached", case, run_plain(eager, case))
    assert not ran, f"ran when warm: {ran}"


@pytest.mark.parametrize("name", [*EAGER, "link_error", "group with a failure"])
def test_s4_eager_values(eager: Harness, name: str) -> None:
    tag = new_tag()

    def value(kind: str) -> Any:
        try:
            return eager.start(Build(eager.app, kind, tag), CANVASES[name]).get(propagate=False)
        except NotImplementedError as refusal:  # up to 5.6, of an eager chord of chains
            return refusal

    plain = value("plain")
    for _ in range(2):
        assert repr(value("cached")) == repr(plain)


@pytest.mark.parametrize("name", ["add", "fails", "bound", "returns"])
def test_s4_apply_runs_here(prefork: Harness, name: str) -> None:
    tag = new_tag()

    def call(kind: str) -> tuple[str, str]:
        result = Build(prefork.app, kind, tag).task(name).apply((1,), {"run": tag})
        return result.state, repr(result.result)

    plain = call("plain")
    with prefork.witness.run():
        assert call("cached") == plain
        assert call("cached") == plain
    runs = 2 if name == "fails" else 1
    assert prefork.bodies() == [name] * runs


def test_s1_shared_tasks_are_cached_in_each_app(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "_on_app_finalizers", set(_state._on_app_finalizers))
    shared = define_shared("cached")
    tag = new_tag()
    with make_harness(apart(server)) as here, make_harness(apart(server)) as there:
        for made in (here, there):
            assert made.app.tasks[shared.name].app is made.app
        assert here.app.tasks[shared.name].cache.set("stored", 1, run=tag)
        result = there.app.tasks[shared.name].delay(1, run=tag)
        assert result.get(timeout=PATIENCE) == "stored"
        assert result.cache_status.site == "producer"
        monkeypatch.setattr(_state, "get_current_app", lambda: there.app)
        assert shared.delay(1, run=tag).cache_status.layer == "l1", "through the proxy as well"


@pytest.fixture
def beat(server: Server, prefork: Harness) -> Iterator[str]:
    """A real beat that calls a cached task each second; what keeps its calls apart."""
    tag = new_tag()
    entry = {"task": "cached.add", "schedule": 1.0, "args": [20, 22], "kwargs": {"run": tag}}
    env = environment(settings(server, beat_schedule={"tick": entry}))
    with tempfile.TemporaryDirectory() as folder:
        schedule = str(Path(folder) / "schedule")
        command = [sys.executable, "-m", "celery", "-A", MODULE, "beat", f"--schedule={schedule}"]
        process = Process(command, env=clean_environment(os.environ) | env, cwd=ROOT)
        try:
            yield tag
        finally:
            process.terminate(10)


def test_s1_what_beat_calls_is_answered_from_the_cache(prefork: Harness, beat: str) -> None:
    before = hits(prefork.app)

    def ticks() -> list[Any]:
        return [node for node in prefork.witness.nodes() if node.name == "add"]

    prefork.witness.redis.flushdb()
    wait_until(lambda: len(ticks()) >= 4, timeout=PATIENCE, what="four ticks")
    wait_until(lambda: hits(prefork.app) >= before + 3, timeout=PATIENCE, what="counted hits")
    assert prefork.bodies() in ([], ["add"]), "the first one ran, maybe before we looked"
    for node in ticks():
        assert (node.value, node.state) == ("42", "SUCCESS")
        assert prefork.app.AsyncResult(node.id).get(timeout=PATIENCE) == 42


def hits(app: Celery) -> int:
    """Counted, of all processes."""
    stats = TaskCache(app).stats().tasks.get("cached.add")
    return sum(stats.hits.values()) if stats else 0
