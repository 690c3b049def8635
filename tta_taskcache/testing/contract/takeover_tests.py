"""Takeovers of leases: lapsed, outdated and reserved ones (promises C1, C3, I2)."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

from typing import Any

import pytest

from ...core.entries import marks
from ...core.entries.lease import Lease, Stage
from ...stores.protocol import Fill, Release, Store
from .base import LONG, SHORT, Advance, Contract, invalidate, look
from .lease_tests import KEY, MARKS, claim, leader, renew


class Takeovers(Contract):
    """No call waits for a dead leader, or joins an outdated one."""

    # Lapsing

    def test_c3_a_lease_lapses_by_itself(
        self, store: Store, other: Store, advance: Advance
    ) -> None:
        claim(store, "a", ttl=SHORT)
        assert claim(other, "b", ttl=SHORT).remaining <= SHORT
        advance(SHORT)
        assert not renew(store, "a")
        assert store.execute(Release(KEY, "a")) is False
        assert store.execute(Release(KEY, "a", LONG)) is False
        assert store.execute(Fill(KEY, b"late", LONG, owner="a")) is False
        assert look(store).frame is None
        assert claim(other, "b").is_ours
        assert not renew(store, "a"), "nor is another's renewed"

    def test_c3_a_renewed_lease_lasts(self, store: Store, other: Store, advance: Advance) -> None:
        claim(store, "a", ttl=SHORT)
        assert renew(store, "a", ttl=LONG)
        advance(SHORT)
        assert claim(other, "b").is_followed
        assert renew(store, "a", ttl=SHORT)
        advance(SHORT)
        assert claim(other, "b").is_ours

    def test_c8_what_is_queued_gives_way_to_a_free_slot(self, store: Store, other: Store) -> None:
        claim(store, "a", stage=Stage.RUNNING)
        assert claim(other, "b", takes_queued=True).is_followed
        assert store.execute(Release(KEY, "a")) is True
        claim(store, "a")
        assert claim(other, "b").is_followed
        assert claim(other, "b", takes_queued=True).is_ours
        assert not renew(store, "a")
        assert claim(store, "a", stage=Stage.RUNNING).is_followed, "it looks again, and follows"
        assert store.execute(Release(KEY, "b", LONG)) is True
        assert claim(store, "a", takes_queued=True).stage is Stage.UNSHARED

    # What is outdated isn't joined (I2)

    @pytest.mark.parametrize("mark", MARKS)
    def test_i2_a_lease_older_than_a_mark_is_taken_over(
        self, store: Store, other: Store, mark: str
    ) -> None:
        claim(store, "a", stage=Stage.RUNNING)
        here = invalidate(other, mark)
        assert claim(other, "b") == Lease("b", here, Stage.QUEUED, LONG)
        assert not renew(store, "a")
        assert store.execute(Release(KEY, "a")) is False
        assert store.execute(Fill(KEY, b"old", LONG, owner="a")) is False
        assert look(store).frame is None
        assert claim(store, "c").is_followed, "the new one is as good as any"

    def test_i2_a_lease_older_than_a_ban_is_taken_over(self, store: Store, other: Store) -> None:
        claim(store, "a")
        here = invalidate(other, marks.of_pattern("*"))
        assert claim(other, "b", newest_ban=0).is_followed, "matching is the caller's"
        assert claim(other, "b", newest_ban=here.sequence).position == here
        assert claim(other, "c", newest_ban=here.sequence).is_followed

    def test_i2_other_invalidations_take_no_lease(self, store: Store, other: Store) -> None:
        claim(store, "a")
        invalidate(other, marks.of_task("u"), marks.of_key("other"), marks.of_tag("t"))
        assert claim(other, "b").is_followed

    def test_i2_renewing_makes_no_lease_newer(self, store: Store) -> None:
        claim(store, "a")
        invalidate(store, marks.of_key(KEY))
        assert renew(store, "a")
        assert claim(store, "b").is_ours

    # Reservations

    @pytest.mark.parametrize(
        ("wish", "taken"),
        [
            ({}, False),
            ({"reservation": "a"}, True),
            ({"reservation": "c"}, False),
            ({"reservation": "a", "stage": Stage.RESERVED}, True),
            ({"overtakes": LONG}, True),
            ({"overtakes": LONG / 2}, False),
        ],
        ids=repr,
    )
    def test_c1_a_reservation_is_for_its_own_call_or_one_that_comes_late(
        self, store: Store, other: Store, wish: dict[str, Any], *, taken: bool
    ) -> None:
        claim(store, "a", stage=Stage.RESERVED)
        found = claim(other, "b", **wish)
        assert (found.is_ours, found.is_followed) == (taken, not taken)
        assert leader(store) == ("b" if taken else "a")
        if not taken:
            assert found.stage is Stage.RESERVED

    @pytest.mark.parametrize("stage", [Stage.QUEUED, Stage.RUNNING])
    def test_c1_what_is_no_reservation_any_more_is_taken_by_nobody(
        self, store: Store, other: Store, stage: Stage
    ) -> None:
        claim(store, "a", stage=Stage.RESERVED)
        assert renew(store, "a", stage)
        found = claim(other, "b", reservation="a", overtakes=2 * LONG)
        assert (found.is_ours, found.stage) == (False, stage)
