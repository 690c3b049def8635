"""Stale entries (RFC 5861): their refresh, and the claims that they answer."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

from dataclasses import replace

from ...core.entries.entry import HEADER_BYTES, pack
from ...core.entries.lease import Lease
from ...stores.protocol import BeginRefresh, Fill, Store
from .base import LONG, SHORT, Advance, Contract, fill, in_threads, look, make_entry, position
from .lease_tests import KEY, claim


class Refreshes(Contract):
    """One caller refreshes; an entry that isn't served any more stops no claim."""

    def test_one_refreshes(self, store: Store, other: Store) -> None:
        assert store.execute(BeginRefresh(KEY, LONG)) is True
        assert other.execute(BeginRefresh(KEY, LONG)) is False
        assert other.execute(BeginRefresh("another", LONG)) is True

    def test_one_of_many_threads_refreshes(self, store: Store) -> None:
        granted: list[object] = []
        in_threads(8, lambda _: granted.append(store.execute(BeginRefresh(KEY, LONG))))
        assert sorted(map(bool, granted)) == [False] * 7 + [True]

    def test_another_tries_when_it_takes_too_long(self, store: Store, advance: Advance) -> None:
        assert store.execute(BeginRefresh(KEY, SHORT)) is True
        advance(SHORT + 0.1)
        assert store.execute(BeginRefresh(KEY, SHORT)) is True

    def test_a_fill_ends_it(self, store: Store, other: Store) -> None:
        assert store.execute(BeginRefresh(KEY, LONG)) is True
        fill(store, KEY)
        assert other.execute(BeginRefresh(KEY, LONG)) is True
        lease = claim(store, "a", regardless=True)
        assert lease.is_ours
        entry = make_entry(KEY, position(store))
        assert store.execute(Fill(KEY, pack(entry), LONG, owner="a")) is True
        assert other.execute(BeginRefresh(KEY, LONG)) is True

    def test_a_refresh_keeps_nobody_from_leading(self, store: Store) -> None:
        assert store.execute(BeginRefresh(KEY, LONG)) is True
        assert claim(store, "a").is_ours

    def test_who_may_lead_depends_on_what_remains(self, store: Store, other: Store) -> None:
        fill(store, KEY, served_above_ms=int(LONG * 1000) - 10_000)
        assert claim(store, "a") == Lease("", None, None), "it is served"
        fill(store, KEY, served_above_ms=int(LONG * 1000) + 1)
        assert claim(other, "a").is_ours, "it only stands in for a run that fails"

    def test_the_last_result_takes_its_own_place(self, store: Store, other: Store) -> None:
        entry = fill(store, KEY)
        begins = pack(entry)[:HEADER_BYTES]
        assert claim(store, "a", regardless=True).is_ours
        held = pack(replace(entry, served_above_ms=5))
        assert store.execute(Fill(KEY, held, LONG, owner="a", instead_of=begins)) is True
        assert look(other, KEY).frame == held
        assert claim(other, "b", regardless=True).is_ours, "the lease has ended"

    def test_and_that_of_no_newer_one(self, store: Store) -> None:
        entry = fill(store, KEY)
        begins = pack(entry)[:HEADER_BYTES]
        newer = pack(make_entry(KEY, entry.born, b"2"))
        assert store.execute(Fill(KEY, newer, LONG)) is True
        assert claim(store, "a", regardless=True).is_ours
        assert store.execute(Fill(KEY, pack(entry), LONG, owner="a", instead_of=begins)) is False
        assert look(store, KEY).frame == newer
        assert claim(store, "b", regardless=True).is_followed, "nothing has happened"

    def test_nor_of_nothing(self, store: Store) -> None:
        entry = make_entry(KEY, position(store))
        begins = pack(entry)[:HEADER_BYTES]
        assert store.execute(Fill(KEY, pack(entry), LONG, instead_of=begins)) is False
        assert look(store, KEY).frame is None
