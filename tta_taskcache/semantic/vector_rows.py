"""Rows of vectors with their keys and texts, and the search for those nearest to a vector.

A search reads while another thread adds: a row is written once, and counts when it is complete. Up
to ``PLAIN_ROWS`` each search compares all rows. Beyond, rows are in cells around centres (an
inverted file, IVF: Sivic and Zisserman, 2003), and a search compares those of the nearest cells.
"""

from __future__ import annotations

from typing import Any

from ..core.record import record
from .vectors import Array, numpy

#: Most rows that are all compared: about a millisecond's work at 256 dimensions.
PLAIN_ROWS = 20_000

#: Number of cells, and of those that a search looks into.
CELLS, PROBES = 256, 24

#: Rows and rounds of the search for the cells' centres (k-means).
_TRAINED_ON, _ROUNDS = 8_192, 3

#: Rows that a new cell has room for: partitions of few calls are many.
_FIRST_CAPACITY = 4

#: So many rows that were removed are kept at least.
_REMOVED = 64

#: Bytes of a row beside its vector and its text: a key of some 90 characters, and places for all.
_ROW = 450


@record
class Candidate:
    """A stored call that is near.

    Attributes:
        key: Its key.
        text: Its text.
        similarity: Its cosine similarity.
    """

    key: str
    text: str
    similarity: float


class _Cell:
    """Rows that are compared together."""

    __slots__ = ("alive", "count", "keys", "matrix", "texts")

    def __init__(self, dimensions: int) -> None:
        self.matrix = numpy().zeros((_FIRST_CAPACITY, dimensions), dtype="float32")
        self.alive = numpy().zeros(_FIRST_CAPACITY, dtype=bool)
        self.keys: list[str | None] = []
        self.texts: list[str] = []
        self.count = 0

    def add(self, key: str, text: str, vector: Array) -> int:
        row = self.count
        if row == len(self.matrix):
            grown = numpy().zeros((2 * row, self.matrix.shape[1]), dtype="float32")
            grown[:row] = self.matrix
            self.matrix = grown
            self.alive = numpy().concatenate([self.alive, numpy().zeros(row, dtype=bool)])
        self.matrix[row] = vector
        self.alive[row] = True
        del self.keys[row:], self.texts[row:]
        self.texts.append(text)
        self.keys.append(key)
        self.count = row + 1
        return row

    def nearest(self, vector: Array, most: int, least: float) -> list[Candidate]:
        count = self.count  # before the matrix, which may be replaced by a larger one
        if not count:
            return []
        np = numpy()
        similarities = self.matrix[:count] @ vector
        rows = np.flatnonzero((similarities >= least) & self.alive[:count])
        if len(rows) > most:
            near = similarities[rows]
            rows = rows[np.argpartition(near, -most)[-most:]]
        found = []
        for row in rows.tolist():
            key = self.keys[row]
            if key is not None:
                similarity = min(1.0, float(similarities[row]))
                found.append(Candidate(key, self.texts[row], similarity))
        return found


class VectorRows:
    """The rows of one partition. One thread at a time may change them.

    Args:
        dimensions: Number of each vector's dimensions.
        plain_rows: Most rows that are all compared.
    """

    def __init__(self, dimensions: int, plain_rows: int = PLAIN_ROWS) -> None:
        self.dimensions = dimensions
        self._plain_rows = plain_rows
        self._cells = [_Cell(dimensions)]
        self._centres: Any = None
        self._places: dict[str, tuple[_Cell, int]] = {}
        self._removed = 0
        self._texts = 0

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size(self) -> int:
        """Approximate bytes in memory."""
        vectors = sum(int(cell.matrix.nbytes) for cell in self._cells)
        return vectors + self._texts + _ROW * len(self._places)

    def put(self, key: str, text: str, vector: Array) -> None:
        """Add a row, in place of the key's former one."""
        self.remove(key)
        cell = self._cell_of(vector)
        self._places[key] = cell, cell.add(key, text, vector)
        self._texts += len(text)
        if self._centres is None and len(self._places) > self._plain_rows:
            self._make_cells(self._train())
        elif self._removed > len(self._places) + _REMOVED:
            self._make_cells(self._centres)

    def remove(self, key: str) -> None:
        """Remove a key's row, if there is one."""
        place = self._places.pop(key, None)
        if place is not None:
            cell, row = place
            cell.keys[row] = None
            cell.alive[row] = False
            self._texts -= len(cell.texts[row])
            self._removed += 1

    def vector_of(self, key: str, text: str) -> Array | None:
        """Return the vector of a key's row, if it has this text."""
        place = self._places.get(key)
        if place is None:
            return None
        cell, row = place
        vector: Array = cell.matrix[row].copy()
        # Another thread may have put a row into this place meanwhile.
        is_its = row < cell.count and (cell.keys[row], cell.texts[row]) == (key, text)
        return vector if is_its else None

    def touch(self, key: str) -> None:
        """Make a key's row the last that ``drop_oldest`` drops."""
        place = self._places.pop(key, None)
        if place is not None:
            self._places[key] = place

    def drop_oldest(self) -> None:
        """Remove the row that was put or touched longest ago."""
        for key in self._places:
            self.remove(key)
            return

    def nearest(self, vector: Array, most: int, least: float) -> list[Candidate]:
        """Return the nearest rows, nearest first.

        Args:
            vector: A vector of length 1.
            most: How many.
            least: Least similarity.
        """
        cells, centres = self._cells, self._centres
        if centres is not None and len(cells) == len(centres):
            order = numpy().argpartition(centres @ vector, -PROBES)[-PROBES:]
            cells = [cells[i] for i in order.tolist()]
        found = [near for cell in cells for near in cell.nearest(vector, most, least)]
        return sorted(found, key=lambda near: -near.similarity)[:most]

    def _cell_of(self, vector: Array) -> _Cell:
        if self._centres is None:
            return self._cells[0]
        return self._cells[int(numpy().argmax(self._centres @ vector))]

    def _train(self) -> Any:
        """Find the centres of cells."""
        np = numpy()
        chance = np.random.default_rng(0)
        all_rows = self._cells[0].matrix[: self._cells[0].count]
        few = min(_TRAINED_ON, len(all_rows))
        sample = all_rows[chance.choice(len(all_rows), few, replace=False)]
        centres = sample[:CELLS].copy()
        for _ in range(_ROUNDS):
            nearest = np.argmax(sample @ centres.T, axis=1)
            for cell in range(len(centres)):
                members = sample[nearest == cell]
                if len(members):
                    mean = members.mean(axis=0)
                    length = np.linalg.norm(mean)
                    centres[cell] = mean / length if length else members[0]
        return centres

    def _make_cells(self, centres: Any) -> None:
        """Put all rows into new cells."""
        np = numpy()
        many = 1 if centres is None else len(centres)
        cells = [_Cell(self.dimensions) for _ in range(many)]
        places = {}
        for old in self._cells:
            matrix = old.matrix[: old.count]
            near = np.zeros(old.count, int) if centres is None else np.argmax(matrix @ centres.T, 1)
            for row, key in enumerate(old.keys[: old.count]):
                if key is not None:
                    cell = cells[near[row]]
                    places[key] = cell, cell.add(key, old.texts[row], matrix[row])
        # The cells last: a search that has old ones finds what they held.
        self._centres, self._places, self._removed = centres, places, 0
        self._cells = cells
