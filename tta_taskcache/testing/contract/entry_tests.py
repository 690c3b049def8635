"""Entries, and how long they live."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

import pytest

from ...stores.protocol import Fill, Store
from .base import LONG, SHORT, Advance, Contract, look


class Entries(Contract):
    """What is stored is found, and for no longer than it may be."""

    def test_has_a_name(self, store: Store) -> None:
        assert store.name

    def test_finds_nothing_at_first(self, store: Store) -> None:
        looked = look(store, "k", "m", "n")
        assert (looked.frame, looked.marks, looked.records) == (None, {}, None)
        assert looked.position is not None

    def test_finds_what_was_stored(self, store: Store, other: Store) -> None:
        assert store.execute(Fill("k", b"frame", LONG)) is True
        for reader in (store, other):
            looked = look(reader)
            assert looked.frame == b"frame"
            assert 0 < looked.remaining <= LONG

    @pytest.mark.parametrize(
        "frame", [b"\0", bytes(range(256)), b"\r\n$-1\r\n", b"x" * 300_000], ids=repr
    )
    def test_keeps_every_byte(self, store: Store, frame: bytes) -> None:
        store.execute(Fill("k", frame, LONG))
        assert look(store).frame == frame

    def test_replaces_frame_and_lifetime(self, store: Store, other: Store) -> None:
        store.execute(Fill("k", b"1", LONG))
        other.execute(Fill("k", b"2", LONG / 2))
        looked = look(store)
        assert looked.frame == b"2"
        assert looked.remaining <= LONG / 2

    def test_keeps_keys_apart(self, store: Store) -> None:
        keys = ["k", "K", "k:", ":k", "k:k", "k.k", "k%3Ak", "kk", "*", "control", "stream"]
        for key in keys:
            store.execute(Fill(key, key.encode(), LONG))
        assert {key: look(store, key).frame for key in keys} == {k: k.encode() for k in keys}

    # Limits are absolute (R5)

    def test_r5_forgets_when_the_lifetime_is_over(self, store: Store, advance: Advance) -> None:
        store.execute(Fill("short", b"1", SHORT))
        store.execute(Fill("long", b"1", LONG))
        advance(SHORT)
        assert look(store, "short").frame is None
        assert look(store, "long").frame == b"1"

    def test_r5_reading_never_extends(self, store: Store, advance: Advance) -> None:
        store.execute(Fill("k", b"1", SHORT))
        advance(SHORT / 2)
        assert look(store).remaining <= SHORT / 2
        advance(SHORT / 2)
        assert look(store).frame is None

    def test_r5_replacing_starts_a_new_lifetime(self, store: Store, advance: Advance) -> None:
        store.execute(Fill("k", b"1", SHORT))
        store.execute(Fill("k", b"2", LONG))
        advance(SHORT)
        assert look(store).frame == b"2"
