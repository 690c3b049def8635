"""Renewals in place: a new head in front of the payload that is stored (promise D4)."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from ...core.entries.entry import HEADER_BYTES, Entry, head_end, pack, pack_head, unpack
from ...stores.protocol import BeginRefresh, Fill, Store
from .base import LONG, SHORT, Advance, Contract, fill, invalidate, look, make_entry, position
from .lease_tests import KEY, claim


def renew_entry(
    store: Store, entry: Entry, *, born_anew: bool = True, lifetime: float = LONG, owner: str = ""
) -> tuple[bool, Entry]:
    """Renew what is stored, if it is this entry; return whether it was, and the new entry."""
    old = pack(entry)
    born = position(store) if born_anew else entry.born
    new = replace(entry, born=born, lifetime=lifetime, fresh_for=lifetime, etag="2")
    reply = store.execute(
        Fill(
            entry.key,
            pack_head(new),
            lifetime,
            owner=owner,
            instead_of=old[:HEADER_BYTES],
            payload_at=head_end(old),
        )
    )
    return reply is True, new


class Renewals(Contract):
    """An entry is renewed in place if it is still the one that was read."""

    @pytest.mark.parametrize("payload", [b"", b"1", b"\x00\xff\r\n" * 1000, os.urandom(2**20)])
    def test_the_payload_stays(self, store: Store, other: Store, payload: bytes) -> None:
        entry = fill(store, KEY, payload=payload)
        invalidate(store, "g:other")
        is_renewed, new = renew_entry(store, entry)
        assert is_renewed
        frame = look(other, KEY).frame
        assert frame is not None
        assert unpack(KEY, frame) == new
        assert renew_entry(store, new)[0], "and again"

    def test_it_lives_for_its_new_lifetime(self, store: Store, advance: Advance) -> None:
        entry = fill(store, KEY, lifetime=SHORT)
        assert renew_entry(store, entry)[0]
        advance(SHORT + 0.1)
        assert LONG - 10 < look(store, KEY).remaining <= LONG
        assert renew_entry(store, replace(entry, born=position(store)))[0] is False

    def test_claims_go_by_the_new_head(self, store: Store) -> None:
        entry = fill(store, KEY)
        invalidate(store, "t:t")
        assert renew_entry(store, entry)[0]
        assert claim(store, "a").stage is None, "it is valid"

    def test_none_is_renewed_that_was_replaced(self, store: Store, other: Store) -> None:
        entry = fill(store, KEY)
        newer = pack(make_entry(KEY, entry.born, b"2"))
        assert store.execute(Fill(KEY, newer, LONG)) is True
        assert claim(store, "a", regardless=True).is_ours
        assert renew_entry(other, entry, owner="a")[0] is False
        assert look(store, KEY).frame == newer
        assert claim(store, "b", regardless=True).is_followed, "nothing has happened"

    def test_nor_one_that_is_gone(self, store: Store) -> None:
        entry = make_entry(KEY, position(store))
        assert renew_entry(store, entry)[0] is False
        assert look(store, KEY).frame is None

    def test_nor_by_an_owner_whose_lease_is_lost(self, store: Store) -> None:
        entry = fill(store, KEY)
        assert claim(store, "a", regardless=True).is_ours
        assert renew_entry(store, entry, owner="b")[0] is False
        assert look(store, KEY).frame == pack(entry)

    @pytest.mark.parametrize("owner", ["a", ""])
    def test_lease_and_refresh_end_with_it(self, store: Store, other: Store, owner: str) -> None:
        entry = fill(store, KEY)
        assert claim(store, "a", regardless=True).is_ours
        assert store.execute(BeginRefresh(KEY, LONG)) is True
        assert renew_entry(store, entry, owner=owner)[0]
        assert other.execute(BeginRefresh(KEY, LONG)) is True
        assert claim(other, "b", regardless=True).is_ours
