"""What a process has counted, whether or not prometheus_client is there to show it."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet

from .cells import MemoryCells


class MeasuredMemory(Protocol):
    """A memory whose entries and bytes are measured."""

    def __len__(self) -> int: ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...


class ProcessCounts:
    """The counts of this process under one namespace of metrics.

    Attributes:
        cells: The numbers.
        memories: The memories that are measured.
    """

    def __init__(self) -> None:
        self.cells = MemoryCells()
        self.memories: WeakSet[MeasuredMemory] = WeakSet()


_all: dict[str, ProcessCounts] = {}


def counts_of(namespace: str) -> ProcessCounts:
    """Return the counts of this process under a namespace, made at the first call."""
    return _all.setdefault(namespace, ProcessCounts())
