"""R3: the calls of a group are looked up together, wherever the group is made; and rightly so."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, group

from tests.integration.groups.counting_harness import PATIENCE, CountingHarness, count_trips, stored
from tests.integration.harness import Harness
from tests.support.counting import commands
from tests.support.servers import Server
from tests.support.topologies import ClusterServers
from tests.support.waiting import wait_until
from tta_taskcache.core.entries.lease import Stage
from tta_taskcache.stores.protocol import LookMany

pytestmark = pytest.mark.one_server_kind

MANY = 1_000


SHAPES: dict[str, Callable[[CountingHarness], Any]] = {
    "group": lambda s: group(s.adds(*range(50))),
    "list": lambda s: s.adds(*range(50)),
    "tuple": lambda s: tuple(s.adds(*range(50))),
    "generator": lambda s: (sig for sig in s.adds(*range(50))),
    "chord": lambda s: chord(s.adds(*range(50)), s.harness.task("cached.collect").s(s.harness.tag)),
    "chains": lambda s: [chain(sig, s.add.s()) for sig in s.adds(*range(50))],
    "dicts": lambda s: json.loads(json.dumps(s.adds(*range(50)))),
    "group as a dict": lambda s: json.loads(json.dumps(group(s.adds(*range(50))))),
    "groups": lambda s: [group(s.adds(*range(20))), group(s.adds(*range(20, 50)))],
    "nested": lambda s: group(*s.adds(*range(20)), group(s.adds(*range(20, 50)))),
    "with others": lambda s: [s.harness.task("plain.add").s(s.harness.tag, 1), *s.adds(*range(50))],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_r3_prefetch_is_one_round_trip(counting_harness_alone: CountingHarness, shape: str) -> None:
    counting_harness_alone.fill(*range(0, 50, 2))
    assert (
        counting_harness_alone.harness.cache.prefetch(SHAPES[shape](counting_harness_alone)) == 25
    )
    assert counting_harness_alone.reads == ["LookMany"]
    results = [sig.apply_async() for sig in counting_harness_alone.adds(*range(0, 50, 2))]
    assert counting_harness_alone.reads == ["LookMany"], "later calls need no trip"
    assert [result.get() for result in results] == stored(*range(0, 50, 2))
    assert {result.cache_status.layer for result in results} == {"l1"}
    assert counting_harness_alone.sent == 0


def test_r3_prefetch_of_one_signature(counting_harness_alone: CountingHarness) -> None:
    counting_harness_alone.fill(1)
    (sig,) = counting_harness_alone.adds(1)
    assert counting_harness_alone.harness.cache.prefetch(sig) == 1
    assert counting_harness_alone.harness.cache.prefetch(dict(sig)) == 1
    assert (
        counting_harness_alone.harness.cache.prefetch(chain(sig, counting_harness_alone.add.s()))
        == 1
    )
    assert counting_harness_alone.reads == ["Look"]
    assert counting_harness_alone.harness.cache.prefetch(counting_harness_alone.adds(2)[0]) == 0
    assert counting_harness_alone.harness.cache.prefetch([]) == 0


def test_r3_prefetch_takes_no_lease(counting_harness_alone: CountingHarness) -> None:
    assert (
        counting_harness_alone.harness.cache.prefetch(
            group(counting_harness_alone.adds(*range(10)))
        )
        == 0
    )
    assert not counting_harness_alone.harness.server.client(2).keys("taskcache:l:*")


def test_r3_a_warm_group_is_answered_in_three_trips_at_most(
    counting_harness_alone: CountingHarness,
) -> None:
    counting_harness_alone.fill(*range(MANY))
    with commands(counting_harness_alone.harness.server) as done:
        result = group(counting_harness_alone.adds(*range(MANY))).apply_async()
    assert 1 <= len(counting_harness_alone.reads) <= 3
    assert done["xrange"] <= 3, "each trip reads the log: the server has seen no others"
    assert counting_harness_alone.sent == 0
    assert result.get(timeout=PATIENCE) == stored(*range(MANY))
    assert len({child.id for child in result}) == MANY


def test_r3_children_of_a_warm_group_hold_value_and_status(
    counting_harness_alone: CountingHarness,
) -> None:
    counting_harness_alone.fill(*range(20))
    result = group(counting_harness_alone.adds(*range(20))).apply_async()
    with commands(counting_harness_alone.harness.server) as done:
        assert [child.result for child in result] == stored(*range(20))
        assert {child.state for child in result} == {"SUCCESS"}
    assert not done["get"], "nobody had to be asked"
    assert {(c.cache_status.hit, c.cache_status.site) for c in result} == {(True, "producer")}
    elsewhere = counting_harness_alone.harness.app.backend
    assert [elsewhere.get_result(child.id) for child in result] == stored(*range(20))


def test_r3_a_cold_group_reserves_in_three_trips_at_most(
    counting_harness_alone: CountingHarness,
) -> None:
    result = group(counting_harness_alone.adds(*range(MANY))).apply_async()
    assert 1 <= len(counting_harness_alone.reads) <= 3
    claims = [
        look.claim
        for each in counting_harness_alone.store.commands
        for look in getattr(each, "looks", ())
    ]
    assert {claim.stage for claim in claims} == {Stage.RESERVED}
    # Each message owns the lease that was taken for it.
    assert [claim.owner for claim in claims] == [child.id for child in result]
    assert counting_harness_alone.sent == MANY
    assert not any(child.cache_status.hit for child in result)


def test_r3_each_call_of_a_cold_group_runs_once(counting_harness: CountingHarness) -> None:
    result = group(counting_harness.adds(*range(300))).apply_async()
    assert result.get(timeout=PATIENCE) == list(range(300))
    assert counting_harness.runs(*range(300)) == [1] * 300


def test_c1_calls_of_equal_groups_follow(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness], own_worker: Any
) -> None:
    server = server_factory()
    here, there = new_harness(server), new_harness(server)
    worker = own_worker(here, concurrency=4)
    tag, counts = here.tag, here.counts
    results = [
        group(harness.task("steered").s(tag, i) for i in (1, 2)).apply_async()
        for harness in (here, there)
    ]
    ids = [child.id for result in results for child in result]
    wait_until(lambda: all(f"{each}] received" in worker.log for each in ids), what="all calls")
    wait_until(lambda: counts.llen(f"started:{tag}") == 2, what="those that run")
    for i in range(20):  # by the two processes that aren't busy
        assert here.task("plain.more").delay(i, tag).get(timeout=PATIENCE) == i + 1
    counts.rpush(f"order:{tag}", "done", "done")
    first, second = (result.get(timeout=PATIENCE) for result in results)
    assert first == second
    assert [here.runs("steered", tag, i) for i in (1, 2)] == [1, 1]


def test_r3_hits_and_misses_mixed(counting_harness: CountingHarness) -> None:
    counting_harness.fill(*range(0, 40, 2))
    result = group(counting_harness.adds(*range(40))).apply_async()
    expected = [f"stored {x}" if x % 2 == 0 else x for x in range(40)]
    assert result.get(timeout=PATIENCE) == expected
    assert counting_harness.reads == ["LookMany"]
    assert [child.cache_status.hit for child in result] == [x % 2 == 0 for x in range(40)]
    assert counting_harness.runs(*range(40)) == [x % 2 for x in range(40)]


def test_c1_equal_calls_of_a_group_run_once(counting_harness: CountingHarness) -> None:
    result = group(counting_harness.adds(1, 1, 2, 1, 2)).apply_async()
    assert result.get(timeout=PATIENCE) == [1, 1, 2, 1, 2]
    assert counting_harness.runs(1, 2) == [1, 1]
    counting_harness.forget()
    result = group(counting_harness.adds(1, 1, 2, 1, 2)).apply_async()
    assert result.get(timeout=PATIENCE) == [1, 1, 2, 1, 2]
    assert counting_harness.reads == ["LookMany"]


def test_r2_equal_calls_of_a_group_share_no_value(counting_harness_alone: CountingHarness) -> None:
    task, tag = counting_harness_alone.harness.task("value"), counting_harness_alone.harness.tag
    assert task.cache.set({"a": [1]}, tag, 6)
    one, other = (child.get() for child in group([task.s(tag, 6)] * 2).apply_async())
    one["a"].append(2)
    assert other == {"a": [1]}
    assert task.cache.get(tag, 6) == {"a": [1]}


def test_r3_first_steps_of_chains_are_looked_up_together(
    counting_harness_alone: CountingHarness,
) -> None:
    more, tag = (
        counting_harness_alone.harness.task("cached.more"),
        counting_harness_alone.harness.tag,
    )
    for x in range(20):
        more.cache.set(x + 100, f"stored {x}", tag, 1)
    counting_harness_alone.fill(*range(20))
    result = group(
        [chain(sig, more.s(tag, 1)) for sig in counting_harness_alone.adds(*range(20))]
    ).apply_async()
    assert result.get(timeout=PATIENCE) == [x + 100 for x in range(20)]
    assert counting_harness_alone.sent == 0
    assert sorted(counting_harness_alone.reads) == ["Look"] * 20 + ["LookMany"], (
        "only second steps look alone"
    )


def test_r3_a_warm_chord_is_answered_at_the_producer(
    counting_harness_alone: CountingHarness,
) -> None:
    collect, tag = (
        counting_harness_alone.harness.task("cached.collect"),
        counting_harness_alone.harness.tag,
    )
    collect.cache.set("collected", stored(*range(100)), tag)
    counting_harness_alone.fill(*range(100))
    result = chord(counting_harness_alone.adds(*range(100)))(collect.s(tag))
    assert result.get(timeout=PATIENCE) == "collected"
    assert counting_harness_alone.reads == ["LookMany", "Look"]
    assert counting_harness_alone.sent == 0


MAPPINGS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "map": lambda task, tags: task.map(tags),
    "starmap": lambda task, tags: task.starmap([[tag] for tag in tags]),
    "chunks": lambda task, tags: task.chunks([[tag] for tag in tags], len(tags)).group().tasks[0],
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_r3_mapping_looks_once(counting_harness_alone: CountingHarness, name: str) -> None:
    """As the worker does it, in this process: where a mapping runs, it looks."""
    task, tags = (
        counting_harness_alone.harness.task("tenant.of"),
        [f"{counting_harness_alone.harness.tag}{i}" for i in range(100)],
    )
    with counting_harness_alone.harness.cache.context(tenant="acme"):
        for tag in tags:
            assert task.cache.set(f"stored {tag}", tag)
        counting_harness_alone.forget()
        assert MAPPINGS[name](task, tags).apply().get() == [f"stored {tag}" for tag in tags]
    assert counting_harness_alone.reads == ["LookMany"]


@pytest.mark.parametrize("name", ["starmap", "chunks"])
def test_r3_mapping_in_a_worker_runs_what_is_missing(
    counting_harness: CountingHarness, name: str
) -> None:
    counting_harness.fill(*range(0, 30, 2))
    items = [(counting_harness.harness.tag, x) for x in range(30)]
    for _ in range(2):
        if name == "starmap":
            values = counting_harness.add.starmap(items).apply_async().get(timeout=PATIENCE)
        else:
            chunks = counting_harness.add.chunks(items, 7).apply_async().get(timeout=PATIENCE)
            values = [value for chunk in chunks for value in chunk]
        assert values == [f"stored {x}" if x % 2 == 0 else x for x in range(30)]
        assert counting_harness.runs(*range(30)) == [x % 2 for x in range(30)]
    assert counting_harness.add.cache.get(counting_harness.harness.tag, 1) == 1, (
        "what ran was stored"
    )


@pytest.mark.parametrize("name", [*MAPPINGS, "cache.call"])
def test_k3_what_is_run_directly_sees_the_context_of_its_key(
    counting_harness: CountingHarness, name: str
) -> None:
    """Else a result of nobody's is stored for a tenant."""
    task, tag = counting_harness.harness.task("tenant.of"), counting_harness.harness.tag
    with counting_harness.harness.cache.context(tenant="acme"):
        if name == "cache.call":
            task.cache.call(tag)
        else:
            MAPPINGS[name](task, [tag]).apply_async().get(timeout=PATIENCE)
        assert task.delay(tag).get(timeout=PATIENCE) == f"{tag}@acme"


@pytest.fixture
def broken(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness], own_worker: Any
) -> CountingHarness:
    """A producer and a worker whose cache is gone."""
    caches = server_factory()
    harness = new_harness(server_factory(), caches.url(0), taskcache_timeout=0.25)
    own_worker(harness)
    caches.kill()
    return count_trips(harness)


def test_f1_without_redis_everything_runs(broken: CountingHarness) -> None:
    tag = broken.harness.tag
    collect, more = broken.harness.task("cached.collect"), broken.harness.task("cached.more")
    assert broken.harness.cache.prefetch(group(broken.adds(1, 2))) == 0
    workflows: list[tuple[Any, Any]] = [
        (group(broken.adds(*range(50))), list(range(50))),
        (chord(broken.adds(1, 2), collect.s(tag)), 3),
        (group(chain(sig, more.s(tag, 1)) for sig in broken.adds(1, 2)), [2, 3]),
        (broken.add.starmap([(tag, 1), (tag, 2)]), [1, 2]),
        (broken.add.chunks([(tag, 1), (tag, 2)], 1), [[1], [2]]),
    ]
    for workflow, expected in workflows:
        assert workflow.apply_async().get(timeout=PATIENCE) == expected


@pytest.mark.parametrize("error", [None, RuntimeError("ours")])
def test_f1_when_looking_together_fails_a_group_is_sent(
    counting_harness: CountingHarness, error: Exception | None
) -> None:
    counting_harness.fill(1, 2)
    counting_harness.store.fail(LookMany, error=error)
    assert group(counting_harness.adds(1, 2, 3)).apply_async().get(timeout=PATIENCE)[2] == 3
    assert counting_harness.harness.cache.prefetch(group(counting_harness.adds(4, 5))) == 0


def test_r3_on_a_cluster(
    cluster_servers: ClusterServers,
    server_factory: Callable[..., Server],
    new_harness: Callable[..., Harness],
    own_worker: Any,
) -> None:
    counting_harness = count_trips(new_harness(server_factory(), cluster_servers.url))
    own_worker(counting_harness.harness)
    assert group(counting_harness.adds(*range(50))).apply_async().get(timeout=PATIENCE) == list(
        range(50)
    )
    counting_harness.forget()
    result = group(counting_harness.adds(*range(50))).apply_async()
    assert result.get(timeout=PATIENCE) == list(range(50))
    assert counting_harness.reads == ["LookMany"]
    assert all(child.cache_status.hit for child in result)
    assert counting_harness.runs(*range(50)) == [1] * 50
