"""Leases: their leader, their lifetime and their end (promises C1 to C4, I2)."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

from typing import Any

import pytest

from ...core.entries import marks
from ...core.entries.entry import Position, pack
from ...core.entries.lease import Claim, Holding, Lease, Stage
from ...stores.protocol import Fill, Look, Release, Renew, Store, StoreReply
from .base import (
    LONG,
    SHORT,
    Advance,
    Contract,
    fill,
    in_threads,
    invalidate,
    look,
    make_entry,
    position,
)

KEY = "k"
MARKS = marks.of_call("t", KEY)
NOTHING = Lease("", None, None)


def claim(
    store: Store, owner: str, *, key: str = KEY, names: tuple[str, ...] = MARKS, **fields: Any
) -> Lease:
    """Look for a key, and claim its lease."""
    wish = Claim(**{"owner": owner, "stage": Stage.QUEUED, "ttl": LONG, **fields})
    looked = store.execute(Look(key, names, claim=wish))
    assert isinstance(looked, StoreReply)
    assert looked.lease is not None
    return looked.lease


def leader(store: Store) -> str:
    """Return the leader, without taking its lease; empty for none."""
    for owner in ("a", "b", "c"):
        if store.execute(Renew((Holding(KEY, owner, Stage.RUNNING),), LONG)) == [True]:
            return owner
    return ""


def renew(store: Store, owner: str, stage: Stage = Stage.RUNNING, ttl: float = LONG) -> bool:
    """Renew the lease."""
    reply = store.execute(Renew((Holding(KEY, owner, stage),), ttl))
    assert reply in ([True], [False])
    return reply == [True]


class LeaseTests(Contract):
    """A key has one leader at most, known by its token, for a bounded time."""

    def test_c1_the_first_to_claim_leads_and_the_second_is_told(
        self, store: Store, other: Store
    ) -> None:
        here = invalidate(store, "m")
        assert claim(store, "a") == Lease("a", here, Stage.QUEUED, LONG)
        for reader in (other, store):
            held = claim(reader, "b", stage=Stage.RUNNING)
            assert (held.owner, held.position, held.stage) == ("", None, Stage.QUEUED)
            assert 0 < held.remaining <= LONG
            assert held.is_followed
        assert leader(other) == "a"

    def test_c1_a_look_without_a_claim_takes_nothing(self, store: Store) -> None:
        assert look(store).lease is None
        assert claim(store, "a").is_ours
        assert look(store).lease is None

    def test_c1_each_key_has_a_lease_of_its_own(self, store: Store) -> None:
        keys = ["k", "K", "k:", "kk", "*", "log"]
        assert all(claim(store, key, key=key, names=()).is_ours for key in keys)
        assert not any(claim(store, "x", key=key, names=()).is_ours for key in keys)

    def test_c1_the_owner_may_claim_again(self, store: Store, other: Store) -> None:
        claim(store, "a", ttl=LONG / 2)
        here = invalidate(store, "m")
        again = claim(store, "a", stage=Stage.RUNNING)
        assert again == Lease("a", here, Stage.RUNNING, LONG)
        held = claim(other, "b")
        assert held.stage is Stage.RUNNING
        assert held.remaining > LONG / 2

    def test_c1_of_threads_that_claim_at_once_one_leads(self, store: Store) -> None:
        keys = [f"k{n}" for n in range(20)]
        won: list[str] = []
        assert look(store).position is not None

        def work(i: int) -> None:
            won.extend(key for key in keys if claim(store, f"{i}", key=key, names=()).is_ours)

        in_threads(8, work)
        assert sorted(won) == sorted(keys)

    # Entries

    def test_c1_a_valid_entry_makes_it_needless(self, store: Store, other: Store) -> None:
        fill(store, KEY)
        assert claim(other, "a") == NOTHING
        assert not NOTHING.is_ours
        assert not NOTHING.is_followed
        assert leader(store) == "", "nothing was taken"

    def test_c1_regardless_of_a_valid_entry(self, store: Store, other: Store) -> None:
        fill(store, KEY)
        assert claim(store, "a", regardless=True).is_ours
        assert claim(other, "b") == NOTHING
        assert claim(other, "b", regardless=True).is_followed

    def test_i1_an_entry_that_was_ended_doesnt(self, store: Store) -> None:
        for mark in MARKS:
            fill(store, KEY)
            here = invalidate(store, mark)
            assert claim(store, "a") == Lease("a", here, Stage.QUEUED, LONG)
            store.execute(Release(KEY, "a"))

    def test_i1_a_banned_entry_doesnt_if_the_claim_knows(self, store: Store) -> None:
        fill(store, KEY)
        sequence = invalidate(store, marks.of_pattern("*")).sequence
        assert claim(store, "a", newest_ban=sequence).is_ours

    def test_i1_other_marks_end_nothing(self, store: Store) -> None:
        fill(store, KEY)
        invalidate(store, "t:u", "k:other")
        assert claim(store, "a", newest_ban=0) == NOTHING

    @pytest.mark.parametrize("frame", [b"garbage", b"", b"\xc2TC" + b"x" * 100], ids=repr)
    def test_r4_garbage_doesnt(self, store: Store, frame: bytes) -> None:
        store.execute(Fill(KEY, frame, LONG))
        assert claim(store, "a").is_ours

    def test_i5_an_entry_of_another_incarnation_doesnt(self, store: Store) -> None:
        entry = make_entry(KEY, Position("another", position(store).sequence))
        store.execute(Fill(KEY, pack(entry), LONG))
        assert claim(store, "a").is_ours

    def test_r5_an_expired_entry_doesnt(self, store: Store, advance: Advance) -> None:
        fill(store, KEY, lifetime=SHORT)
        advance(SHORT)
        assert claim(store, "a").is_ours

    # Renewing, releasing, filling

    def test_c3_only_the_owner_renews(self, store: Store, other: Store) -> None:
        claim(store, "a", ttl=LONG / 2)
        assert not renew(other, "b", ttl=LONG)
        held = claim(other, "b")
        assert (held.stage, held.remaining <= LONG / 2) == (Stage.QUEUED, True)
        assert renew(other, "a", ttl=LONG)
        held = claim(store, "b")
        assert (held.stage, held.remaining > LONG / 2) == (Stage.RUNNING, True)

    def test_c3_many_are_renewed_at_once(self, store: Store) -> None:
        owners = {f"k{i}": f"o{i}" for i in range(50)}
        for key, owner in owners.items():
            claim(store, owner, key=key, names=())
        owners |= {"k7": "other", "none": "o7", "k49": "o48"}
        holdings = tuple(Holding(key, owner, Stage.RUNNING) for key, owner in owners.items())
        expected = [key not in {"k7", "none", "k49"} for key in owners]
        assert store.execute(Renew(holdings, LONG)) == expected

    def test_c3_renewing_nothing(self, store: Store) -> None:
        assert store.execute(Renew((), LONG)) == []
        assert not renew(store, "a")

    def test_c3_only_the_owner_releases_and_the_next_leads_at_once(
        self, store: Store, other: Store
    ) -> None:
        claim(store, "a")
        assert store.execute(Release(KEY, "b")) is False
        assert store.execute(Release(KEY, "b", LONG)) is False
        assert not claim(other, "b").is_ours
        assert other.execute(Release(KEY, "a")) is True
        assert store.execute(Release(KEY, "a")) is False
        assert claim(other, "b").is_ours

    def test_r1b_where_a_result_cant_be_shared_nobody_waits(
        self, store: Store, other: Store
    ) -> None:
        claim(store, "a")
        assert store.execute(Release(KEY, "a", LONG)) is True
        found = claim(other, "b")
        assert (found.owner, found.stage) == ("", Stage.UNSHARED)
        assert not found.is_followed
        assert leader(store) == "", "it is nobody's"
        assert store.execute(Release(KEY, "a")) is False
        assert store.execute(Fill(KEY, b"1", LONG, owner="a")) is False
        assert not claim(store, "b", overtakes=2 * LONG, reservation="a").is_ours

    def test_r1b_until_an_invalidation_or_for_a_while(self, store: Store, advance: Advance) -> None:
        claim(store, "a")
        store.execute(Release(KEY, "a", LONG))
        invalidate(store, marks.of_key(KEY))
        assert claim(store, "a").is_ours, "what can't be shared is outdated"
        store.execute(Release(KEY, "a", SHORT))
        assert claim(store, "b").stage is Stage.UNSHARED
        advance(SHORT)
        assert claim(store, "b").is_ours

    def test_c3_the_owners_fill_ends_the_lease(self, store: Store, other: Store) -> None:
        lease = claim(store, "a")
        assert lease.position is not None
        entry = pack(make_entry(KEY, lease.position))
        assert other.execute(Fill(KEY, entry, LONG, owner="a")) is True
        assert look(store).frame == entry
        assert claim(store, "b") == NOTHING
        assert leader(store) == ""

    def test_c3_anothers_fill_stores_nothing(self, store: Store, other: Store) -> None:
        store.execute(Fill(KEY, b"before", LONG))
        assert store.execute(Fill(KEY, b"late", LONG, owner="b")) is False, "nobody leads"
        claim(store, "a")
        assert other.execute(Fill(KEY, b"late", LONG, {"n": 1}, "b")) is False
        assert look(store).frame == b"before"
        assert leader(store) == "a"

    def test_c1_a_fill_without_an_owner_ends_whoevers_lease(
        self, store: Store, other: Store
    ) -> None:
        claim(store, "a")
        fill(other, KEY)
        assert leader(store) == ""
        assert claim(other, "b") == NOTHING
        assert store.execute(Fill(KEY, b"late", LONG, owner="a")) is False
        assert claim(other, "b", regardless=True).is_ours
