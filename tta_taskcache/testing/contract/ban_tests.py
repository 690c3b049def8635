"""Bans: patterns whose entries were ended."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

import pytest

from ...core.entries.marks import Ban, of_pattern
from ...stores import protocol
from ...stores.protocol import Record, Store
from .base import Contract, fill, invalidate, look, poll, position, scan


def bans(store: Store) -> tuple[Ban, ...]:
    """Return all bans."""
    here = position(store)
    read = store.execute(protocol.ReadBans())
    assert isinstance(read, protocol.Bans)
    assert read.position == here
    return read.bans


class BanTests(Contract):
    """Bans are in the log as marks are, and in a list of their own."""

    def test_i3_there_are_none_at_first(self, store: Store) -> None:
        assert bans(store) == ()
        assert look(store).banned == poll(store, position(store)).banned == 0

    def test_i3_a_ban_is_in_the_log_and_in_the_list(self, store: Store, other: Store) -> None:
        before = position(store)
        after = invalidate(store, of_pattern("a*"))
        for reader in (store, other):
            assert bans(reader) == (Ban("a*", after.sequence),)
            record = Record(after.sequence, (of_pattern("a*"),))
            assert list(poll(reader, before).records or ()) == [record]

    def test_i3_newest_first(self, store: Store, other: Store) -> None:
        patterns = ["a*", "b*", "c*", "d*"]
        sequences = [invalidate(store, of_pattern(pattern)).sequence for pattern in patterns]
        expected = [Ban(p, s) for p, s in zip(patterns, sequences, strict=True)]
        assert list(bans(other)) == expected[::-1]

    def test_i3_the_same_pattern_again_takes_its_place(self, store: Store, other: Store) -> None:
        invalidate(store, of_pattern("a*"))
        other_one = invalidate(store, of_pattern("b*")).sequence
        again = invalidate(other, of_pattern("a*")).sequence
        assert bans(store) == (Ban("a*", again), Ban("b*", other_one))

    def test_i3_every_read_says_how_new_the_newest_is(self, store: Store, other: Store) -> None:
        before = position(store)
        newest = invalidate(store, of_pattern("a*"), "m").sequence
        invalidate(store, "m", "n")
        for reader in (store, other):
            assert look(reader).banned == look(reader, "k", "m", since=before).banned == newest
            assert poll(reader, before).banned == newest

    def test_i3_several_at_once_and_with_other_marks(self, store: Store) -> None:
        names = (of_pattern("a*"), "m", of_pattern("?b"), "n")
        sequence = invalidate(store, *names).sequence
        assert set(bans(store)) == {Ban("a*", sequence), Ban("?b", sequence)}
        assert look(store, "k", "m", "n").marks == {"m": sequence, "n": sequence}

    @pytest.mark.parametrize(
        "pattern",
        [
            "*",
            "",
            "é*",
            '"',
            "'",
            "\\*",
            "\\",
            "[",
            "{x}",
            "a\nb",
            "\0",
            "/",
            " ",
            "😀",
            "x" * 5_000,
        ],
        ids=lambda pattern: repr(pattern[:9]),
    )
    def test_i3_a_pattern_may_be_any_text(self, store: Store, pattern: str) -> None:
        before = position(store)
        sequence = invalidate(store, of_pattern(pattern)).sequence
        assert bans(store) == (Ban(pattern, sequence),)
        assert list(poll(store, before).records or ()) == [Record(sequence, (of_pattern(pattern),))]

    def test_i3_scan_leaves_out_what_was_banned(self, store: Store) -> None:
        for key in ("a:1", "a:2", "b:1"):
            fill(store, key)
        invalidate(store, of_pattern("a:*"))
        assert [item.entry.key for item in scan(store)] == ["b:1"]
        fill(store, "a:1")
        assert sorted(item.entry.key for item in scan(store)) == ["a:1", "b:1"]
        invalidate(store, of_pattern("*:1"))
        assert scan(store) == []
