"""The records of a history, and their files.

Times are seconds of one clock of all recording processes: ``time.monotonic`` is the same for all
processes of a machine (on Linux and macOS).
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Self

#: Reads that a recorder buffers, to write them at once.
BUFFERED_READS = 100


# Named tuples, which are made faster than frozen dataclasses: a history has millions of records.


class Read(NamedTuple):
    """A read.

    Attributes:
        thing: The thing that was read.
        begin: Time before the call (s).
        end: Time after its return (s).
        version: The version in the result.
    """

    thing: Hashable
    begin: float
    end: float
    version: float


class Run(NamedTuple):
    """A run. Runs of one thing should have versions of their own.

    Attributes:
        thing: The thing that was computed.
        begin: Time before it read its source (s).
        end: Time before its result was stored (s).
        version: The version in its result.
    """

    thing: Hashable
    begin: float
    end: float
    version: float


class Invalidation(NamedTuple):
    """An invalidation of one thing; one that touches many things has as many records.

    Attributes:
        thing: The thing that was invalidated.
        begin: Time before the call (s).
        end: Time of its acknowledgement (s). None or infinite: it raised, so it may or may not have
            happened, and forbids nothing.
        version: A version that the source had reached before ``begin``.
    """

    thing: Hashable
    begin: float
    end: float | None
    version: float

    @property
    def acknowledged(self) -> bool:
        """Whether it certainly happened."""
        return self.end is not None and self.end < math.inf


class Note(NamedTuple):
    """A note, for people who read the history."""

    at: float
    text: str


Record = Read | Run | Invalidation | Note

_KINDS: dict[str, type[Record]] = {
    "read": Read,
    "run": Run,
    "invalidation": Invalidation,
    "note": Note,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


class HistoryError(ValueError):
    """A file is no history; the message names file and line."""


@dataclass(slots=True)
class History:
    """The records of a history, in any order."""

    reads: list[Read] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    invalidations: list[Invalidation] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Add a record."""
        match record:
            case Read():
                self.reads.append(record)
            case Run():
                self.runs.append(record)
            case Invalidation():
                self.invalidations.append(record)
            case Note():
                self.notes.append(record)

    @classmethod
    def merge(cls, *histories: History) -> Self:
        """Merge the histories of several processes."""
        merged = cls()
        for history in histories:
            merged.reads += history.reads
            merged.runs += history.runs
            merged.invalidations += history.invalidations
            merged.notes += history.notes
        return merged

    def dump(self, path: Path) -> None:
        """Write the history to a file: a line per record, a JSON array of its kind and its fields.

        Raises:
            TypeError: A thing is no string or number, nor a tuple of such: JSON can't carry it.
        """
        with path.open("w") as file:
            for records in (self.notes, self.invalidations, self.runs, self.reads):
                file.writelines(_line(record) for record in records)

    @classmethod
    def load(cls, *paths: Path) -> Self:
        """Read files of ``dump`` and of recorders, as one history.

        An incomplete last line is left out: its process was killed while it wrote.

        Raises:
            HistoryError: A line is no record.
        """
        history = cls()
        for path in paths:
            for record in _records(path):
                history.add(record)
        return history


class Recorder:
    """Writes records to a file as they come, in a process that may be killed at any moment.

    Runs and invalidations are in the file when ``add`` returns, so each stored result has its run
    recorded, if the run adds it before it returns. The last reads may be lost with the process,
    which loses evidence and makes none. Threads may share a recorder, processes may not.

    Args:
        path: The file, which is appended to.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._lock = Lock()
        self._reads: list[str] = []

    def add(self, record: Record) -> None:
        """Add a record.

        Raises:
            TypeError: A thing is no string or number, nor a tuple of such: JSON can't carry it.
        """
        line = _line(record)
        with self._lock:
            self._reads.append(line)
            if not isinstance(record, Read) or len(self._reads) >= BUFFERED_READS:
                self._flush()

    def close(self) -> None:
        """Write the buffered reads, and close the file."""
        with self._lock:
            self._flush()
            self._file.close()

    def _flush(self) -> None:
        self._file.write("".join(self._reads).encode())
        self._reads.clear()


def _line(record: Record) -> str:
    return json.dumps((_NAMES[type(record)], *record)) + "\n"


def _records(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return  # still being written, or cut by a kill
            try:
                yield _record(*json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise HistoryError(f"{path}:{number}: no record of a history") from error


def _record(name: str, first: Any, *others: Any) -> Record:
    return _KINDS[name](_hashable(first), *others)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
