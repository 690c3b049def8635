"""Frames: what isn't exactly an entry for this key is none (R4)."""

import pickle
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.core.entries import entry as entries
from tta_taskcache.core.entries.entry import (
    FORMAT,
    MAGIC,
    MAX_TRACE,
    PEEK_BYTES,
    Entry,
    Position,
    pack,
    peek,
    unpack,
)
from tta_taskcache.errors import EntryError
from tta_taskcache.testing import make_entry

KEY = "t:l:0123"
SECRETS = [b"", b"secret", b"x" * 64]

positions = st.builds(Position, st.text(max_size=40), st.integers(0, 2**63))
any_entry = st.builds(
    Entry,
    key=st.text(string.printable),
    task=st.text(),
    task_id=st.one_of(st.none(), st.text()),
    created_at=st.floats(0, 1e12),
    lifetime=st.floats(0, 1e9),
    fresh_for=st.floats(0, 1e9),
    served_above_ms=st.integers(0, 10**12),
    is_failure=st.booleans(),
    run_seconds=st.floats(0, 1e9),
    born=positions,
    marks=st.lists(st.text(), max_size=5).map(tuple),
    serializer=st.text(),
    compression=st.one_of(st.none(), st.text()),
    payload=st.binary(),
    traits=st.text(),
    trace=st.text(max_size=MAX_TRACE),
)


@given(any_entry, st.sampled_from(SECRETS))
def test_comes_back_as_it_was(entry: Entry, secret: bytes) -> None:
    frame = pack(entry, secret)
    assert unpack(entry.key, frame, secret) == entry
    assert peek(entry.key, frame) == peek(entry.key, frame, secret) == replace(entry, payload=b"")
    assert peek(entry.key, frame, secret + b"?") is None


def test_r4_a_trace_that_is_too_long_is_an_entry_error() -> None:
    entry = replace(make_entry(KEY, Position("i", 1)), trace="x" * (MAX_TRACE + 1))
    with pytest.raises(EntryError, match="trace"):
        unpack(KEY, pack(entry))


@pytest.mark.parametrize("secret", SECRETS, ids=len)
@pytest.mark.parametrize("payload", [b"", b"1", b" 1", b"]", b'{"a":[1,2]}'])
def test_r4_every_flipped_bit_is_an_entry_error(payload: bytes, secret: bytes) -> None:
    frame = pack(make_entry(KEY, Position("i", 1), payload), secret)
    for at in range(len(frame)):
        for bit in range(8):
            altered = bytearray(frame)
            altered[at] ^= 1 << bit
            with pytest.raises(EntryError):
                unpack(KEY, bytes(altered), secret)


@given(any_entry, st.data())
def test_r4_every_altered_byte_is_an_entry_error(entry: Entry, data: st.DataObject) -> None:
    frame = bytearray(pack(entry))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != frame[at]))
    with pytest.raises(EntryError) as refused:
        unpack(entry.key, bytes(frame))
    assert refused.value.reason in ("corrupt", "format", "signature")


def test_r4_every_truncation_and_extension_is_an_entry_error() -> None:
    frame = pack(make_entry(KEY, Position("i", 1)))
    for size in range(len(frame)):
        with pytest.raises(EntryError):
            unpack(KEY, frame[:size])
    for more in (b"\0", b" ", frame):
        with pytest.raises(EntryError):
            unpack(KEY, frame + more)


@given(st.one_of(st.binary(), st.binary(min_size=30).map(lambda b: MAGIC + bytes([FORMAT]) + b)))
def test_r4_garbage_is_an_entry_error(frame: bytes) -> None:
    with pytest.raises(EntryError):
        unpack(KEY, frame)
    found = peek(KEY, frame)
    assert found is None or isinstance(found, Entry)


@given(st.text(string.printable, max_size=8))
def test_r4_another_key_is_an_entry_error(key: str) -> None:
    frame = pack(make_entry(KEY, Position("i", 1)))
    with pytest.raises(EntryError) as refused:
        unpack(key, frame)
    assert refused.value.reason == "signature"


@pytest.mark.parametrize("theirs", SECRETS, ids=len)
@pytest.mark.parametrize("mine", SECRETS, ids=len)
def test_r4_another_secret_is_an_entry_error(mine: bytes, theirs: bytes) -> None:
    frame = pack(make_entry(KEY, Position("i", 1)), theirs)
    if mine == theirs:
        assert unpack(KEY, frame, mine)
    else:
        with pytest.raises(EntryError) as refused:
            unpack(KEY, frame, mine)
        assert refused.value.reason == "signature"


def test_r4_another_version_is_an_entry_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(entries, "FORMAT", FORMAT + 1)
        frame = pack(make_entry(KEY, Position("i", 1)))
    with pytest.raises(EntryError) as refused:
        unpack(KEY, frame)
    assert refused.value.reason == "format"
    assert peek(KEY, frame) is None


def test_r4_an_entry_of_the_format_before_costs_was_is_an_entry_error() -> None:
    frame = pack(make_entry(KEY, Position("i", 1)))
    before = MAGIC + bytes([3]) + frame[len(MAGIC) + 1 :]
    with pytest.raises(EntryError) as refused:
        unpack(KEY, before)
    assert refused.value.reason == "format"


@pytest.mark.parametrize(
    "head",
    [b"", b"[]", b"{}", b"null", b"[1,2]", b"\xff", b"[" * 100_000],
    ids=lambda head: head[:6],
)
def test_r4_a_signed_head_of_another_shape_is_an_entry_error(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    with monkeypatch.context() as other:
        other.setattr(entries.json, "dumps", lambda *_, **__: head.decode("latin-1"))
        try:
            frame = pack(make_entry(KEY, Position("i", 1)))
        except UnicodeEncodeError:
            return
    with pytest.raises(EntryError):
        unpack(KEY, frame)
    assert peek(KEY, frame) is None


def executed(*_: Any) -> None:
    raise AssertionError("executed")


class Bomb:
    def __reduce__(self) -> Any:
        return executed, ()


def test_r4_a_pickle_is_not_executed() -> None:
    bomb = pickle.dumps(Bomb())
    for frame in (bomb, MAGIC + bomb, MAGIC + bytes([FORMAT]) + bomb):
        with pytest.raises(EntryError):
            unpack(KEY, frame)
        assert peek(KEY, frame) is None


def test_peek_needs_the_beginning_only() -> None:
    entry = make_entry("k" * 200, Position("i" * 32, 2**40), b"x" * 100_000)
    found = peek(entry.key, pack(entry)[:PEEK_BYTES])
    assert found is not None
    assert found.marks == entry.marks
    assert (found.task, found.born) == (entry.task, entry.born)


def test_size_covers_what_is_kept() -> None:
    entry = make_entry("k" * 100, Position("i", 1), b"x" * 1_000)
    assert entry.size >= 1_100
