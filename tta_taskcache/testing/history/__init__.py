"""Histories: records of reads, runs and invalidations, and a check of the promises I1 and I2.

Processes record what they do, each in a file of its own; the files together are a history, and
``check`` finds every read that got a result which an invalidation had ended::

    recorder = Recorder(path)                     # in each process
    begin = monotonic()
    value = task.cache.call("thing")
    recorder.add(Read("thing", begin, monotonic(), value))

    history = History.load(*paths)                # afterwards, anywhere
    assert check(history, staleness=0.25) == []

The results of a task need a version: a number that only rises, and best one that every run counts
up, so that each run is known by its result. A kept history is checked again with
``python -m tta_taskcache.testing.history FILE``.
"""

from .checks import Violation, check, surplus_runs, unexplained_reads
from .records import History, HistoryError, Invalidation, Note, Read, Record, Recorder, Run

__all__ = [
    "History",
    "HistoryError",
    "Invalidation",
    "Note",
    "Read",
    "Record",
    "Recorder",
    "Run",
    "Violation",
    "check",
    "surplus_runs",
    "unexplained_reads",
]
