"""R3: what a group's calls become when it is applied: arguments, modes and contexts."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from celery import chain, chord, group

from tests.integration.groups.counting_harness import PATIENCE, CountingHarness, stored
from tta_taskcache import CacheMiss

pytestmark = pytest.mark.one_server_kind


@dataclass
class Merge:
    """A group, and what is given when it is applied."""

    counting_harness: CountingHarness
    kind: str

    def s(self, *args: Any, **kwargs: Any) -> Any:
        return self.counting_harness.harness.task(f"{self.kind}.add").s(*args, **kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Any:
        return self.counting_harness.harness.task(f"{self.kind}.add").si(*args, **kwargs)

    def collect(self) -> Any:
        return self.counting_harness.harness.task(f"{self.kind}.collect").s(
            self.counting_harness.harness.tag
        )

    def more(self, by: int) -> Any:
        return self.counting_harness.harness.task(f"{self.kind}.more").s(
            self.counting_harness.harness.tag, by
        )

    @property
    def tag(self) -> str:
        return self.counting_harness.harness.tag


#: What a group is made of, and how it is applied.
MERGES: dict[str, Callable[[Merge], Any]] = {
    "args": lambda m: group(m.s(1), m.s(2)).apply_async((m.tag,)),
    "args, twice": lambda m: group(m.s(), m.s(7)).apply_async((m.tag, 1)),
    "kwargs": lambda m: group(m.s(m.tag, 1), m.s(m.tag, 2)).apply_async(kwargs={"y": 5}),
    "kwargs over kwargs": lambda m: group(m.s(m.tag, 1, y=2), m.s(m.tag, x=3)).apply_async(
        kwargs={"y": 5}
    ),
    "immutable with kwargs": lambda m: group(m.si(m.tag, 1), m.s(m.tag, 1)).apply_async(
        kwargs={"y": 5}
    ),
    "immutable with args": lambda m: group(m.si(m.tag, 1), m.s(2)).apply_async((m.tag,)),
    "all by name": lambda m: group(m.s(x=1), m.s(x=2, y=1)).apply_async(kwargs={"tag": m.tag}),
    "args and kwargs": lambda m: group(m.s(1), m.s(2)).apply_async((m.tag,), {"y": 3}),
    "groups within": lambda m: group(m.s(1), group(m.s(2), m.s(3))).apply_async((m.tag,)),
    "chains within": lambda m: group(chain(m.s(1), m.more(1)), m.s(2)).apply_async((m.tag,)),
    "chains within, kwargs": lambda m: group(
        chain(m.s(m.tag, 1), m.more(1)), m.s(m.tag, 2)
    ).apply_async(kwargs={"y": 5}),
    "chords within": lambda m: group(chord([m.s(1), m.s(2)], m.collect()), m.s(3)).apply_async(
        (m.tag,)
    ),
    "a step's result": lambda m: chain(
        m.s(m.tag, 1), group(m.more(1), m.si(m.tag, 9), m.more(2)), m.collect()
    ).apply_async(),
    "from dicts": lambda m: group(
        json.loads(json.dumps([m.s(1), m.si(m.tag, 4)])), app=m.counting_harness.harness.app
    ).apply_async((m.tag,)),
    "from JSON": lambda m: m.counting_harness.harness.app.signature(
        json.loads(json.dumps(group(m.s(1), m.s(2))))
    ).apply_async((m.tag,)),
    "a generator": lambda m: group(m.s(x) for x in range(3)).apply_async((m.tag,)),
    "header as a list": lambda m: chord([m.s(m.tag, 1), m.s(m.tag, 2)])(m.collect()),
    "header as a group": lambda m: chord(group(m.s(m.tag, 1), m.s(m.tag, 2)))(m.collect()),
    "header as a generator": lambda m: chord(m.s(m.tag, x) for x in range(3))(m.collect()),
    "header with args": lambda m: chord([m.s(1), m.s(2)], m.collect()).apply_async((m.tag,)),
    "group | task": lambda m: (group(m.s(1), m.s(2)) | m.collect()).apply_async((m.tag,)),
    "one only": lambda m: group([m.s(1)]).apply_async((m.tag,)),
    "none": lambda _: group([]).apply_async(),
}


def all_counts(counting_harness: CountingHarness) -> dict[bytes, bytes]:
    return {
        key: counting_harness.harness.counts.get(key)
        for key in counting_harness.harness.counts.scan_iter()
    }


@pytest.mark.parametrize("name", MERGES)
def test_r3_arguments_merge_as_in_plain_groups(
    counting_harness: CountingHarness, name: str
) -> None:
    merge = MERGES[name]
    expected = merge(Merge(counting_harness, "plain")).get(timeout=PATIENCE)
    counting_harness.harness.counts.flushdb()
    runs: dict[bytes, bytes] = {}
    for state in ("cold", "warm", "warm again"):
        assert merge(Merge(counting_harness, "cached")).get(timeout=PATIENCE) == expected, state
        if state == "cold":
            runs = all_counts(counting_harness)
    assert all_counts(counting_harness) == runs, "warm ones run nothing"


def test_r3_a_group_may_be_applied_twice(counting_harness: CountingHarness) -> None:
    """What was found for the first time isn't what the second time is answered with."""
    sigs = group(counting_harness.add.s(1), counting_harness.add.s(2))
    tag = counting_harness.harness.tag
    counting_harness.fill(1, 2)
    assert sigs.apply_async((tag,)).get(timeout=PATIENCE) == stored(1, 2)
    counting_harness.add.cache.set("other", f"{tag}b", 1)
    assert sigs.apply_async((f"{tag}b",)).get(timeout=PATIENCE) == ["other", 2]
    counting_harness.harness.cache.invalidate(task=counting_harness.add)
    assert sigs.apply_async((tag,)).get(timeout=PATIENCE) == [1, 2]
    assert counting_harness.runs(1, 2) == [1, 1]


@pytest.mark.parametrize("on", ["group", "members"])
@pytest.mark.parametrize(("mode", "runs"), [("use", 0), ("only", 0), ("refresh", 1), ("bypass", 1)])
def test_modes_of_a_group_and_of_its_members(
    counting_harness: CountingHarness, on: str, mode: str, runs: int
) -> None:
    counting_harness.fill(1, 2)
    if on == "group":
        result = group(counting_harness.adds(1, 2)).apply_async(cache=mode)
    else:
        result = group(sig.set(cache=mode) for sig in counting_harness.adds(1, 2)).apply_async()
    assert result.get(timeout=PATIENCE) == ([1, 2] if runs else stored(1, 2))
    assert counting_harness.runs(1, 2) == [runs] * 2
    counting_harness.forget()
    kept = [counting_harness.add.cache.get(counting_harness.harness.tag, x) for x in (1, 2)]
    assert kept == ([1, 2] if mode == "refresh" else stored(1, 2))


def test_modes_may_differ_within_a_group(counting_harness: CountingHarness) -> None:
    counting_harness.fill(1, 2, 3)
    one, two, three = counting_harness.adds(1, 2, 3)
    sigs = group(one, two.set(cache="refresh"), three.set(cache="bypass"))
    assert sigs.apply_async().get(timeout=PATIENCE) == ["stored 1", 2, 3]
    assert counting_harness.runs(1, 2, 3) == [0, 1, 1]


def test_only_never_sends(counting_harness_alone: CountingHarness) -> None:
    counting_harness_alone.fill(1)
    with pytest.raises(CacheMiss):
        group(counting_harness_alone.adds(1, 2)).apply_async(cache="only")
    assert counting_harness_alone.sent == 0
    claims = [
        look.claim
        for each in counting_harness_alone.store.commands
        for look in getattr(each, "looks", ())
    ]
    assert claims == [None, None]


def test_a_group_inside_disabled_asks_nobody(counting_harness: CountingHarness) -> None:
    counting_harness.fill(1, 2)
    with counting_harness.harness.cache.disabled():
        assert group(counting_harness.adds(1, 2)).apply_async().get(timeout=PATIENCE) == [1, 2]
        assert counting_harness.harness.cache.prefetch(group(counting_harness.adds(1, 2))) == 0
    assert counting_harness.reads == []
    assert counting_harness.runs(1, 2) == [1, 1]


def test_k3_a_group_without_its_context_is_never_shared(counting_harness: CountingHarness) -> None:
    task, tag = counting_harness.harness.task("tenant.of"), counting_harness.harness.tag
    for runs in (1, 2):
        mixed = group(task.s(tag), *counting_harness.adds(1)).apply_async()
        assert mixed.get(timeout=PATIENCE) == [f"{tag}@nobody", 1]
        assert counting_harness.harness.runs("tenant.of", tag, "nobody") == runs
    assert mixed.results[1].cache_status.hit
    for tenant in ("acme", "other", "acme"):
        with counting_harness.harness.cache.context(tenant=tenant):
            result = group(task.s(tag)).apply_async()
        assert result.get(timeout=PATIENCE) == [f"{tag}@{tenant}"]
    assert counting_harness.harness.runs("tenant.of", tag, "acme") == 1


def test_children_of_a_group_say_why_they_were_not_looked_up(
    counting_harness: CountingHarness,
) -> None:
    of, tag = counting_harness.harness.task("tenant.of"), counting_harness.harness.tag
    site = counting_harness.harness.task("consumer.add").s(tag, 1)
    (bypassed,) = counting_harness.adds(1)
    result = group(of.s(tag), site, bypassed.set(cache="bypass")).apply_async()
    reasons = [child.cache_status.reason for child in result]
    assert reasons == ["missing-context", "site", "bypass"]


def test_k3_members_may_carry_contexts_of_their_own(counting_harness: CountingHarness) -> None:
    task, tag = counting_harness.harness.task("tenant.of"), counting_harness.harness.tag
    for _ in range(2):
        result = group(
            task.s(tag).set(headers={"tenant": tenant}) for tenant in ("a", "b", "a")
        ).apply_async()
        assert result.get(timeout=PATIENCE) == [f"{tag}@a", f"{tag}@b", f"{tag}@a"]
    assert [counting_harness.harness.runs("tenant.of", tag, tenant) for tenant in "ab"] == [1, 1]
