"""Histories to check."""

from tta_taskcache.testing import (
    History,
    Invalidation,
    Read,
    Run,
)
from tta_taskcache.testing.history import Note


def history(*records: Read | Run | Invalidation | Note) -> History:
    made = History()
    for record in records:
        made.add(record)
    return made
