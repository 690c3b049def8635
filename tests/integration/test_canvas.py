"""S4: the rest of a workflow goes on as if the task had run.

Each canvas is built of plain tasks and of cached ones, which are then run cold and warm, with the
answers forced to one site after the other. What comes out must be what Celery alone makes of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from celery import chain, chord, group
from celery.result import AsyncResult, GroupResult

from tests.integration.app import SITES
from tests.integration.conftest import Bench
from tests.support.waiting import wait_until
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind


@dataclass
class Build:
    """Makes signatures of one kind of task."""

    bench: Bench
    kind: str
    tag: str

    def add(self, x: int, y: int = 0) -> Any:
        return self.bench.task(f"{self.kind}.add").s(self.tag, x, y)

    def more(self, by: int = 1) -> Any:
        return self.bench.task(f"{self.kind}.more").s(self.tag, by)

    def collect(self) -> Any:
        return self.bench.task(f"{self.kind}.collect").s(self.tag)

    def note(self, what: str = "") -> Any:
        return self.bench.task("note").s(self.tag + what)

    def note_error(self) -> Any:
        return self.bench.task("note_error").s(tag=self.tag)


def linked(b: Build) -> Any:
    sig = b.add(1)
    sig.link(b.note())
    return sig


def linked_twice(b: Build) -> Any:
    sig = b.add(1)
    sig.link(b.note("a"))
    sig.link(b.more(5))
    sig.link_error(b.note_error())
    return sig


CANVASES: dict[str, Callable[[Build], Any]] = {
    "one": lambda b: b.add(1, 2),
    "immutable": lambda b: chain(b.add(1), b.add(2).set(immutable=True)),
    "link": linked,
    "links": linked_twice,
    "chain": lambda b: chain(b.add(1), b.more(2), b.more(3)),
    "chain of one kind twice": lambda b: chain(b.add(1), b.more(), b.more(), b.more()),
    "group": lambda b: group(b.add(i) for i in range(4)),
    "chord": lambda b: chord([b.add(i) for i in range(4)], b.collect()),
    "chord of one": lambda b: chord([b.add(7)], b.collect()),
    "chord, then a step": lambda b: chain(group(b.add(1), b.add(2)), b.collect(), b.more(10)),
    "chain of groups": lambda b: chain(
        b.add(1), group(b.more(1), b.more(2)), b.collect(), group(b.more(3), b.more(4))
    ),
    "group of chains": lambda b: group(chain(b.add(i), b.more(i), b.more(1)) for i in range(3)),
    "chord of chains": lambda b: chord(
        [chain(b.add(i), b.more(i)) for i in range(3)], chain(b.collect(), b.more(1))
    ),
    "chord in a chord": lambda b: chord(
        [chord([b.add(1), b.add(2)], b.collect()), b.add(3)], b.collect()
    ),
    "group in a group": lambda b: group(b.add(1), group(b.add(2), chain(b.add(3), b.more(1)))),
}


@dataclass
class Outcome:
    """What a workflow left behind."""

    value: Any
    states: list[str]
    notes: list[list[bytes]]
    children: list[int]
    has_parent: list[bool]


def results(result: Any) -> Iterator[AsyncResult]:
    """A result, or those of a group, with all that came before."""
    if isinstance(result, GroupResult):
        for child in result.results:
            yield from results(child)
    else:
        yield result
    if result.parent is not None:
        yield from results(result.parent)


def outcome(b: Build, result: Any) -> Outcome:
    value = result.get(timeout=30)
    nodes = list(results(result))
    for node in nodes:
        node.get(timeout=30)
    metas = [b.bench.app.backend.get_task_meta(node.id, cache=False) for node in nodes]
    return Outcome(
        value,
        states=[meta["status"] for meta in metas],
        notes=[b.bench.counts.lrange(f"notes:{tag}", 0, -1) for tag in (b.tag, b.tag + "a")],
        children=[len(meta.get("children") or ()) for meta in metas],
        has_parent=[bool(meta.get("parent_id")) for meta in metas],
    )


def run(bench: Bench, kind: str, name: str, tag: str) -> Outcome:
    build = Build(bench, kind, tag)
    bench.counts.delete(f"notes:{tag}", f"notes:{tag}a")
    result = CANVASES[name](build).apply_async()
    if "link" in name:
        result.get(timeout=30)
        for _, value in result.collect(timeout=30):  # what the callbacks return, too
            del value
    return outcome(build, result)


@pytest.mark.parametrize("kind", ["cached", *SITES])
@pytest.mark.parametrize("name", CANVASES)
def test_s4_as_if_it_had_run(bench: Bench, worker: Worker, kind: str, name: str) -> None:
    plain = run(bench, "plain", name, bench.tag + "p")
    assert run(bench, kind, name, bench.tag) == plain, "cold"
    runs = all_runs(bench)
    assert run(bench, kind, name, bench.tag) == plain, "warm"
    assert all_runs(bench) == runs, "warm calls ran nothing"


def all_runs(bench: Bench) -> dict[bytes, bytes]:
    keys = [f"{name}:{bench.tag}*" for name in ("add", "more", "collect")]
    found = [key for pattern in keys for key in bench.counts.keys(pattern)]
    return {key: bench.counts.get(key) for key in found if f"{bench.tag}p" not in key.decode()}


@pytest.mark.parametrize("kind", ["cached", *SITES])
def test_s4_errors_of_a_chord_reach_its_body(bench: Bench, worker: Worker, kind: str) -> None:
    build = Build(bench, kind, bench.tag)
    build.add(1).delay().get(timeout=20)
    body = build.collect().on_error(build.note_error())
    result = chord([build.add(1), bench.task("fails").s(bench.tag)], body).apply_async()
    with pytest.raises(Exception, match=bench.tag):
        result.get(timeout=20)
    assert bench.runs("collect", bench.tag) == 0
    wait_until(lambda: bench.counts.llen(f"errors:{bench.tag}") == 1, what="the errback")


def test_s4_a_long_chain_of_hits_does_not_recurse(bench: Bench, worker: Worker) -> None:
    build = Build(bench, "cached", bench.tag)
    steps = 300
    task = bench.task("cached.more")
    task.cache.set(1, 0, bench.tag, 1)
    for i in range(steps):
        task.cache.set(i + 1, i, bench.tag, 1)
    result = chain(task.s(0, bench.tag, 1), *(build.more() for _ in range(steps - 1))).apply_async()
    assert result.get(timeout=30) == steps
    assert not bench.counts.keys(f"more:{bench.tag}*")
