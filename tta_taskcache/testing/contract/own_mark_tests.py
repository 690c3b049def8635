"""Marks that an entry names itself: its run's tags, and those of what it was made from (D1)."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

import pytest

from ...core.entries import marks
from ...core.entries.entry import pack
from ...core.entries.lease import Claim, Stage
from ...stores.protocol import Fill, Look, LookMany, Poll, Store, StoreReply
from .base import LONG, Contract, fill, invalidate, look, make_entry, position

CALL = marks.of_call("t", "k")
NAMES = (*CALL, *(marks.of_tag(f"tag:{i}") for i in range(1_200)), marks.of_tag("é\x00\n"))


def look_with_own(store: Store, key: str = "k", claim: Claim | None = None) -> StoreReply:
    """Look for a key, and for the marks that its entry names."""
    looked = store.execute(Look(key, CALL, claim=claim, own_marks=True))
    assert isinstance(looked, StoreReply)
    return looked


class OwnMarks(Contract):
    """A store may bring along the marks that an entry names; if it says so, none is missing."""

    @pytest.mark.parametrize("name", [NAMES[-1], NAMES[3], NAMES[700]])
    def test_they_come_along_or_it_says_that_they_do_not(self, store: Store, name: str) -> None:
        fill(store, "k", marks=NAMES)
        at, soft_at = invalidate(store, name), invalidate(store, marks.soft(name))
        looked = look_with_own(store)
        assert looked.frame is not None
        own = {name: at.sequence, marks.soft(name): soft_at.sequence}
        assert looked.marks == (own if looked.own_marks else {})

    def test_in_many_looks_too(self, store: Store) -> None:
        for i in range(3):
            fill(store, f"k{i}", marks=(*CALL, f"g:{i}"))
        invalidate(store, "g:1")
        keys = ("k0", "k1", "absent", "k2")
        replies = store.execute(LookMany(tuple(Look(key, CALL, own_marks=True) for key in keys)))
        assert isinstance(replies, list)
        found = [list(looked.marks) for looked in replies if isinstance(looked, StoreReply)]
        came = [looked.own_marks for looked in replies if isinstance(looked, StoreReply)]
        assert found == [[], ["g:1"] if came[1] else [], [], []]
        assert [isinstance(r, StoreReply) and r.frame is None for r in replies] == [
            False, False, True, False,
        ]  # fmt: skip

    def test_what_is_no_entry_names_none(self, store: Store) -> None:
        good = pack(make_entry("k", position(store)))
        frames = [b"", b"garbage", good[:20], good[:30], b"\xff" * 40, good[:24] + b"[1,2]"]
        for frame in frames:
            assert store.execute(Fill("k", frame, LONG)) is True
            looked = look_with_own(store)
            assert looked.frame == frame
            assert looked.marks == {}

    def test_a_claim_goes_by_them_where_the_look_does(self, store: Store) -> None:
        fill(store, "k", marks=(*CALL, "g:other"))
        invalidate(store, "g:other")
        looked = look_with_own(store, claim=Claim(owner="a", stage=Stage.RUNNING, ttl=LONG))
        assert looked.lease is not None
        assert looked.lease.is_ours == looked.own_marks

    def test_marks_can_be_read_alone(self, store: Store) -> None:
        at = invalidate(store, "g:1", "t:x")
        found = store.execute(Poll(marks=("g:1", "g:2")))
        assert isinstance(found, StoreReply)
        assert (found.marks, found.position) == ({"g:1": at.sequence}, at)
        assert found.records is None
        assert look(store).frame is None
