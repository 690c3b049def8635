"""The files of a history, and the recorder that writes them."""

from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import pytest

from tests.unit.testing.histories import history
from tta_taskcache.testing import (
    History,
    Invalidation,
    Read,
    Recorder,
    Run,
)
from tta_taskcache.testing.history import HistoryError, Note
from tta_taskcache.testing.history.records import BUFFERED_READS

RECORDS = [
    Note(0.5, "a fault, in “words”"),
    Invalidation("a", 1.0, 2.0, 3),
    Invalidation("a", 1.5, None, 4),
    Run(7, 1.25, 1.75, 1),
    Read(("a", (1, "ü")), 1.0, 1.0 + 2**-40, 3),
]


def test_a_file_holds_it_all(tmp_path: Path) -> None:
    file = tmp_path / "history"
    made = history(*RECORDS)
    made.dump(file)
    assert History.load(file) == made
    assert len(file.read_text().splitlines()) == len(RECORDS)


def test_merges(tmp_path: Path) -> None:
    parts = [history(*RECORDS[:2]), history(*RECORDS[2:])]
    files = [tmp_path / "1", tmp_path / "2"]
    for part, file in zip(parts, files, strict=True):
        part.dump(file)
    assert History.merge(*parts) == history(*RECORDS) == History.load(*files)
    assert History.merge() == History()


def test_a_line_that_a_killed_process_began_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "history"
    history(*RECORDS).dump(file)
    whole = file.read_bytes()
    last = whole.splitlines()[-1] + b"\n"
    for cut in range(1, len(last) + 1):
        file.write_bytes(whole[:-cut])
        assert History.load(file) == history(*RECORDS[:-1])


@pytest.mark.parametrize(
    "line", ["", "x", "[]", "{}", "7", '["read", 1]', '["other", 1, 2, 3, 4]', '["note", 1, 2, 3]']
)
def test_anything_else_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "history"
    file.write_text(f'["read", 1, 2, 3, 4]\n{line}\n')
    with pytest.raises(HistoryError, match=f"{file}:2"):
        History.load(file)


def test_a_thing_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        history(Read(frozenset("a"), 1, 2, 3)).dump(tmp_path / "history")


class TestRecorder:
    def test_runs_and_invalidations_are_on_file_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        recorder = Recorder(file)
        for number, record in enumerate(RECORDS[:-1], 1):
            recorder.add(record)
            assert History.load(file) == history(*RECORDS[:number])
        recorder.close()

    def test_reads_are_by_and_by(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        recorder = Recorder(file)
        reads = [Read("a", number, number, 1) for number in range(BUFFERED_READS + 5)]
        for read in reads[:-1]:
            recorder.add(read)
        assert History.load(file).reads == reads[:BUFFERED_READS]
        recorder.add(reads[-1])
        recorder.close()
        assert History.load(file).reads == reads

    def test_goes_on_where_another_ended(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        for record in RECORDS:
            recorder = Recorder(file)
            recorder.add(record)
            recorder.close()
        assert History.load(file) == history(*RECORDS)

    def test_threads_share_it(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        recorder = Recorder(file)

        def work(thing: int) -> None:
            for number in range(1_000):
                recorder.add((Read, Run)[number % 2](thing, number, number, number))

        threads = [Thread(target=work, args=(thing,)) for thing in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorder.close()
        found = History.load(file)
        assert len(found.reads) == len(found.runs) == len(set(found.runs)) == 2_000

    def test_keeps_what_a_killed_process_had_recorded(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        context = get_context("spawn")
        process = context.Process(target=record_until_killed, args=(file,))
        process.start()
        while not file.exists() or len(History.load(file).runs) < 50:
            assert process.is_alive()
        process.kill()
        process.join()
        runs = History.load(file).runs
        assert [run.version for run in runs] == list(range(len(runs)))


def record_until_killed(file: Path) -> None:
    recorder = Recorder(file)
    number = 0
    while True:
        recorder.add(Run("a", 0, 0, number))
        number += 1
