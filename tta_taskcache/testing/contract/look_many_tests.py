"""Several looks at once (promise R3): the same answers as one after the other."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

from ...core.entries import marks
from ...core.entries.entry import pack
from ...core.entries.lease import Claim, Lease, Stage
from ...stores.protocol import (
    BeginRefresh,
    Count,
    Fill,
    Look,
    LookMany,
    Release,
    Store,
    StoreReply,
    Together,
)
from .base import LONG, Contract, fill, invalidate, look, make_entry, position, totals
from .lease_tests import claim, leader


def look_many(store: Store, *looks: Look, **fields: object) -> list[StoreReply]:
    """Look for several keys at once."""
    looked = store.execute(LookMany(looks, **fields))  # type: ignore[arg-type]  # as the test says
    assert isinstance(looked, list)
    assert all(isinstance(reply, StoreReply) for reply in looked)
    return looked  # type: ignore[return-value]  # just checked


def wish(key: str, owner: str = "") -> Look:
    """Make a look, with a claim if there is an owner."""
    claims = Claim(owner=owner, stage=Stage.QUEUED, ttl=LONG) if owner else None
    return Look(key, marks.of_call("t", key), claim=claims)


class Many(Contract):
    """A look at many keys answers as looks at each of them."""

    def test_finds_what_each_look_finds(self, store: Store) -> None:
        for key in ("a", "b", "c"):
            fill(store, key)
        invalidate(store, marks.of_key("b"), marks.of_tag("other"))
        keys = ("c", "nothing", "a", "b")
        replies = look_many(store, *map(wish, keys))
        for key, reply in zip(keys, replies, strict=True):
            alone = look(store, key, *marks.of_call("t", key))
            assert (reply.frame, reply.marks, reply.position) == (
                alone.frame,
                alone.marks,
                alone.position,
            )
            assert (reply.banned, reply.lease, reply.records) == (alone.banned, None, None)
            assert bool(reply.remaining > 0) is (reply.frame is not None)

    def test_brings_the_log_along(self, store: Store, other: Store) -> None:
        start = position(store)
        invalidate(other, "m")
        for reply in look_many(store, wish("a"), wish("b"), since=start):
            assert reply.records is not None
            assert [record.marks for record in reply.records] == [("m",)]

    def test_takes_the_lease_of_each_that_is_missing(self, store: Store) -> None:
        fill(store, "there")
        assert claim(store, "z", key="taken").is_ours
        there, taken, free, again, plain = look_many(
            store,
            wish("there", "a"),
            wish("taken", "b"),
            wish("k", "c"),
            wish("k", "d"),
            wish("free"),
        )
        assert there.lease == Lease("", None, None)
        assert taken.lease is not None
        assert taken.lease.is_followed
        assert free.lease == Lease("c", free.position, Stage.QUEUED, LONG)
        assert again.lease is not None
        assert again.lease.is_followed, "equal calls of one batch: the first one leads"
        assert plain.lease is None
        assert leader(store) == "c"
        assert store.execute(Release("k", "c")) is True

    def test_an_ended_entry_is_no_reason_not_to_lead(self, store: Store) -> None:
        fill(store, "a")
        fill(store, "b")
        invalidate(store, marks.of_key("a"))
        ended, valid = look_many(store, wish("a", "x"), wish("b", "x"))
        assert ended.lease is not None
        assert ended.lease.is_ours
        assert valid.lease == Lease("", None, None)

    def test_counts_on_the_way_once(self, store: Store) -> None:
        store.execute(Count({"n": 1.0}))
        look_many(store, wish("a"), wish("b"), counts={"n": 2.0})
        assert totals(store) == {"n": 3.0}

    def test_a_thousand_at_once(self, store: Store) -> None:
        fill(store, "500")
        replies = look_many(store, *(wish(str(i), "x") for i in range(1_000)))
        found = [i for i, reply in enumerate(replies) if reply.frame is not None]
        assert found == [500]
        assert (
            sum(reply.lease is not None and reply.lease.is_ours for reply in replies)
            == len(replies) - 1
        )

    def test_fills_releases_and_refreshes_do_together_what_each_does(
        self, store: Store, other: Store
    ) -> None:
        at, counts = position(store), {"together": 3}
        frames = {key: pack(make_entry(key, at, key.encode())) for key in ("a", "b", "c", "d")}
        for key in ("a", "b", "e"):
            assert claim(store, f"owner of {key}", key=key).is_ours
        done = store.execute(
            Together(
                (
                    Fill("a", frames["a"], LONG, owner="owner of a"),
                    Fill("b", frames["b"], LONG, owner="another"),
                    BeginRefresh("r", LONG),
                    Fill("c", frames["c"], LONG),
                    BeginRefresh("r", LONG),
                    Release("e", "owner of e"),
                    Release("b", "another"),
                    Fill("d", frames["d"], LONG),
                ),
                counts,
            )
        )
        assert done == [True, False, True, True, False, True, False, True]
        stored = [look(other, key).frame for key in ("a", "b", "c", "d")]
        assert stored == [frames["a"], None, frames["c"], frames["d"]]
        assert claim(other, "next", key="e").is_ours, "its lease was ended"
        assert not claim(other, "next", key="b").is_ours, "its lease wasn't"
        assert totals(store)["together"] == counts["together"]
