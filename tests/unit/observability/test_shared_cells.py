"""Numbers that processes share (F2, F3): none is lost, whatever becomes of who has counted."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from tta_taskcache.observability.metrics.cells import GAUGE, Cells, MemoryCells
from tta_taskcache.observability.metrics.shared_cells import PAGE, SLOTS, PageCells, SharedFile

KEY = ("hits", "a|b", "ü")


@pytest.fixture
def file() -> SharedFile:
    return SharedFile()


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_child(work: Callable[[], None], *, killed: bool = False) -> None:
    """Do something in a forked process, which then ends, or is killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if killed else 0)


def pages(file: SharedFile) -> int:
    return os.fstat(file._fd).st_size // PAGE


@pytest.mark.parametrize("killed", [False, True])
def test_f2_what_a_process_counted_outlives_it(file: SharedFile, *, killed: bool) -> None:
    for _ in range(3):
        in_child(lambda: PageCells(file).add(KEY, 1.5), killed=killed)
    assert file.read() == {KEY: 4.5}
    assert pages(file) == 1, "each took over where the one before had ended"


def test_processes_at_once_have_pages_of_their_own(file: SharedFile) -> None:
    def count() -> None:
        cells = PageCells(file)
        cells.add(KEY, 1)
        in_child(lambda: PageCells(file).add(KEY, 2))
        cells.add(KEY, 4)

    in_child(count)
    assert file.read() == {KEY: 7}
    assert pages(file) == 2


def test_a_gauge_ends_with_its_process(file: SharedFile) -> None:
    key, (ready, go) = (GAUGE, "l1_bytes"), (os.pipe(), os.pipe())
    child = os.fork()
    if child == 0:
        cells = PageCells(file)
        cells.put(key, 1)
        cells.put(key, 3)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    assert file.read() == {key: 3}
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    assert file.read() == {}
    in_child(lambda: PageCells(file).add(KEY, 1))
    assert file.read() == {KEY: 1}, "whoever takes the page over starts without it"


def test_more_numbers_than_a_page_has_slots(file: SharedFile) -> None:
    keys = [("hits", str(i)) for i in range(SLOTS + 10)]

    def count() -> None:
        cells = PageCells(file)
        for key in keys:
            cells.add(key, 1)

    for _ in range(2):
        in_child(count)
    assert file.read() == dict.fromkeys(keys, 2)
    assert pages(file) == 2


@pytest.mark.parametrize("name", ["x" * 1000, "ü" * 1000, "\0\n\"'" * 300])
def test_names_that_are_too_long_are_cut(file: SharedFile, name: str) -> None:
    in_child(lambda: PageCells(file).add(("hits", name), 1))
    ((key, value),) = file.read().items()
    assert (key[0], value) == ("hits", 1)
    assert name.startswith(key[1])


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("kind", ["memory", "page"])
def test_f3_threads_lose_nothing(file: SharedFile, kind: str) -> None:
    cells: Cells = MemoryCells() if kind == "memory" else PageCells(file)

    def work() -> None:
        for n in range(5_000):
            cells.add(("hits", str(n % 7)), 1)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert sum(cells.read().values()) <= 30_000
    assert sum(cells.read().values()) == 30_000


class Struck(Exception):
    pass


def test_f3_an_interruption_loses_one_increment_at_most(file: SharedFile) -> None:
    """As a soft time limit does: at any moment, from a signal handler."""
    counted = struck = 0

    def strike(*_: object) -> None:
        raise Struck

    before = signal.signal(signal.SIGALRM, strike)
    cells = PageCells(file)
    try:
        for number in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                while True:
                    cells.add(("hits", str(number % 50)), 1)
                    counted += 1
            except Struck:
                struck += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert struck == 300
    # It may have struck before the number was written, or after, before that was counted here.
    assert abs(sum(cells.read().values()) - counted) <= struck
    in_child(lambda: PageCells(file).add(KEY, 1))
    assert file.read()[KEY] == 1
