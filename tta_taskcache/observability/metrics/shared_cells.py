"""Shared cells: numbers in memory that forked processes share with their parent.

The memory is a file without a name, in pages. Each process holds pages of its own by a lock of the
operating system. When it dies, in whatever way, its numbers stay, and the next process takes the
page over and counts on. So there are as many pages as processes at a time, no process waits for
another, and nothing is sent, lost, or left behind.

A page is an array of slots: a number, and its key. One thread of one process writes to a slot.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import tempfile
from collections import Counter
from collections.abc import Container
from contextlib import suppress
from itertools import count

from ..thread_ids import thread_ident
from .cells import GAUGE, Key

SLOT = 512
SLOTS = 1024
PAGE = SLOT * SLOTS

#: Characters that are kept of each part of a key that doesn't fit into a slot.
LONGEST = 25

_NUMBER = struct.Struct("=d")
_LENGTH = struct.Struct("=H")
_read, _write = _NUMBER.unpack_from, _NUMBER.pack_into
_KEY_AT = _NUMBER.size + _LENGTH.size


class SharedFile:
    """The file, made before the processes are forked that share it.

    Raises:
        OSError: There is no room for the file.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file = os.fdopen(os.memfd_create("taskcache-metrics"), "r+b", buffering=0)
        else:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open while there are processes
        self._fd = self._file.fileno()

    def take(self, but: Container[int]) -> tuple[int, mmap.mmap]:
        """Take the first page that no process holds, for as long as this process lives.

        Args:
            but: The pages that this process holds, which its own locks don't protect from it.
        """
        for number in count():
            if number not in but and self._lock(number):
                self._make_room(number)
                return number, mmap.mmap(self._fd, PAGE, offset=number * PAGE)
        raise AssertionError("unreachable")

    def _make_room(self, number: int) -> None:
        # A write to a page for which there is no room would kill the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, number * PAGE, PAGE)
        elif os.fstat(self._fd).st_size < (number + 1) * PAGE:
            os.pwrite(self._fd, b"\0", (number + 1) * PAGE - 1)

    def read(self) -> dict[Key, float]:
        """Return the sums of all numbers; of gauges, those of living processes."""
        sums: Counter[Key] = Counter()
        for number in range(os.fstat(self._fd).st_size // PAGE):
            numbers = used(os.pread(self._fd, PAGE, number * PAGE))
            is_dead = self._lock(number)
            if is_dead:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, number * PAGE)
            for _, key, value in numbers:
                if not (is_dead and key[0] == GAUGE):
                    sums[key] += value  # type: ignore[assignment]  # Counter adds floats as well
        return dict(sums)

    def _lock(self, number: int) -> bool:
        with suppress(BlockingIOError, PermissionError):
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number * PAGE)
            return True
        return False


def used(page: bytes | mmap.mmap) -> list[tuple[int, Key, float]]:
    """Return the slots of a page that are in use: their place, key and number."""
    found = []
    for slot in range(0, SLOT * SLOTS, SLOT):
        (length,) = _LENGTH.unpack_from(page, slot + _NUMBER.size)
        if length:
            text = page[slot + _KEY_AT : slot + _KEY_AT + length]
            (number,) = _NUMBER.unpack_from(page, slot)
            found.append((slot, tuple(json.loads(text)), number))
    return found


class _Page:
    """A page of this process."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        #: Slots of processes before, to count on, by key.
        self.left: dict[Key, list[int]] = {}
        last = -SLOT
        for slot, key, _ in used(memory):
            last = slot
            self.left.setdefault(key, []).append(slot)
            if key[0] == GAUGE:
                _NUMBER.pack_into(memory, slot, 0.0)
        self._free = count(last + SLOT, SLOT)

    def slot(self, key: Key) -> int | None:
        """Return a slot of a key, for one thread; None when the page is full."""
        with suppress(IndexError):  # another thread was faster
            if left := self.left.get(key):
                return left.pop()
        slot = next(self._free)
        text = _text(key)
        if slot >= PAGE:
            return None
        self.memory[slot + _KEY_AT : slot + _KEY_AT + len(text)] = text
        # Last: with its length, the slot is in use.
        _LENGTH.pack_into(self.memory, slot + _NUMBER.size, len(text))
        return slot


def _text(key: Key) -> bytes:
    text = json.dumps(key, ensure_ascii=False).encode()
    if len(text) > SLOT - _KEY_AT:  # far beyond usual names of tasks
        text = json.dumps([part[:LONGEST] for part in key], ensure_ascii=False).encode()
    return text


class PageCells:
    """The numbers of this process, in pages of a shared file.

    Args:
        file: The file.

    Raises:
        OSError: There is no room for a page.
    """

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        self._pages: dict[int, _Page] = {}
        self._slots: dict[tuple[int, Key], tuple[mmap.mmap, int]] = {}

    def add(self, key: Key, amount: float) -> None:
        """Add to a number."""
        memory, slot = self._slot(thread_ident(), key)
        _write(memory, slot, _read(memory, slot)[0] + amount)

    def put(self, key: Key, value: float) -> None:
        """Set a number."""
        _NUMBER.pack_into(*self._slot(0, key), value)

    def read(self) -> dict[Key, float]:
        """Return all numbers of this process."""
        sums: Counter[Key] = Counter()
        for page in list(self._pages.values()):
            for _, key, value in used(page.memory):
                sums[key] += value  # type: ignore[assignment]  # Counter adds floats as well
        return dict(sums)

    def _slot(self, thread: int, key: Key) -> tuple[mmap.mmap, int]:
        found = self._slots.get((thread, key))
        if found is None:
            found = self._slots[thread, key] = self._take(key)
        return found

    def _take(self, key: Key) -> tuple[mmap.mmap, int]:
        while True:
            for page in list(self._pages.values()):
                if (slot := page.slot(key)) is not None:
                    return page.memory, slot
            number, memory = self._file.take(self._pages)
            # Threads that take one at once all get the first one's.
            self._pages.setdefault(number, _Page(memory))
