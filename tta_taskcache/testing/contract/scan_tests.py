"""Scans of all entries."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

from dataclasses import replace

import pytest

from ...core.entries import marks
from ...core.entries.entry import Position, pack
from ...stores.protocol import Fill, Store
from .base import LONG, SHORT, Advance, Contract, fill, invalidate, make_entry, scan


class Scanning(Contract):
    """All valid entries are found, and no others."""

    def test_scan_says_what_is_there(self, store: Store) -> None:
        entry = fill(store, "t:l:0", payload=b"12345", task_id="by", run_seconds=2.5)
        (found,) = scan(store)
        assert replace(found.entry, payload=entry.payload) == entry, "all but the payload"
        assert found.size == len(pack(entry))
        assert 0 < found.remaining <= LONG

    def test_scan_says_the_size_of_large_ones(self, store: Store) -> None:
        entry = fill(store, "k", payload=b"x" * 100_000)
        (found,) = scan(store)
        assert found.size == len(pack(entry))
        assert found.entry.task == "t"

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*", ["a:x", "ab:x", "b:x", "b:y"]),
            ("b:*", ["b:x", "b:y"]),
            ("*x", ["a:x", "ab:x", "b:x"]),
            ("?:x", ["a:x", "b:x"]),
            ("[ab]:x", ["a:x", "b:x"]),
            ("[a-b]:x", ["a:x", "b:x"]),
            ("[^a]:x", ["b:x"]),
            ("a:x", ["a:x"]),
            ("A:x", []),
            ("a", []),
        ],
    )
    def test_scan_matches_globs(self, store: Store, pattern: str, expected: list[str]) -> None:
        for key in ("a:x", "ab:x", "b:x", "b:y"):
            fill(store, key)
        assert sorted({item.entry.key for item in scan(store, pattern)}) == expected

    def test_scan_finds_all_in_batches(self, store: Store) -> None:
        keys = {f"k{i}" for i in range(300)}
        for key in keys:
            fill(store, key)
        assert {item.entry.key for item in scan(store, count=10)} == keys

    def test_scan_leaves_out_what_is_over(self, store: Store, advance: Advance) -> None:
        fill(store, "expired", lifetime=SHORT)
        fill(store, "by-key")
        fill(store, "by-task", task="u")
        fill(store, "good")
        invalidate(store, marks.of_key("by-key"))
        invalidate(store, marks.of_task("u"))
        advance(SHORT)
        fill(store, "again", task="u")
        assert sorted(item.entry.key for item in scan(store)) == ["again", "good"]
        invalidate(store, marks.EVERYTHING)
        assert scan(store) == []

    def test_scan_leaves_out_another_incarnation(self, store: Store) -> None:
        entry = make_entry("k", Position("another", 0))
        store.execute(Fill("k", pack(entry), LONG))
        assert scan(store) == []

    def test_r4_scan_leaves_out_garbage(self, store: Store) -> None:
        good = pack(fill(store, "good"))
        garbage = {"empty": b"", "text": b"garbage", "cut": good[:30], "other": b"X" + good[1:]}
        for key, frame in garbage.items():
            store.execute(Fill(key, frame, LONG))
        assert [item.entry.key for item in scan(store)] == ["good"]

    def test_x2_scan_leaves_out_what_the_secret_has_not_signed(self, store: Store) -> None:
        entry = fill(store, "k")
        marked = replace(entry, key="marked", marks=tuple(f"tag {i:0200}" for i in range(50)))
        for key, signed in (("mine", replace(entry, key="mine")), ("marked", marked)):
            store.execute(Fill(key, pack(signed, b"secret"), LONG))
        store.execute(Fill("copied", pack(entry, b"secret"), LONG))
        altered = pack(replace(entry, key="altered"), b"secret").replace(b'"t"', b'"u"')
        store.execute(Fill("altered", altered, LONG))
        found = {item.entry.key for item in scan(store, secret=b"secret")}
        assert found == {"mine", "marked"}
        assert {item.entry.key for item in scan(store)} == {"k"}
