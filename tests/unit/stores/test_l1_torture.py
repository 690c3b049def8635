"""L1 and leases under what happens in a worker (F3): time limits at any moment, forks, threads.

Each case runs in a process of its own, which a watchdog ends: a deadlock is a failure, no hang.
"""

import _thread
import faulthandler
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tta_taskcache.cache.leases.lease_keeper import LeaseKeeper
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.lease import Stage
from tta_taskcache.stores.memory.bounded_map import BoundedMap
from tta_taskcache.stores.memory.l1_cache import L1Cache
from tta_taskcache.stores.protocol import Command, Record, Release, Renew, Reply, Together
from tta_taskcache.testing import make_entry

ROOT = Path(__file__).parents[3]
SEED = 20240229
STRIKES = 10_000
FORKS = 60
KEYS = [f"k{i}" for i in range(64)]
SIZES = (10, 100, 1_000)
MAX_ENTRIES, MAX_BYTES = 32, 10_000


class SoftTimeLimitExceeded(Exception):
    """As in Celery: raised by a signal handler, between any two bytecodes."""


@dataclass
class Item:
    key: str
    size: int
    hits: int = field(default=0, compare=False)


class MapBench:
    forks = FORKS

    def __init__(self) -> None:
        self.map: BoundedMap[Item] = BoundedMap(MAX_ENTRIES, MAX_BYTES)

    def operate(self, dice: random.Random) -> None:
        key = dice.choice(KEYS)
        match dice.randrange(12):
            case 0:
                self.map.drop(key)
            case 1:
                self.map.items()
            case 2 if dice.random() < 0.1:
                self.map.clear()
            case n if n < 7:
                self.map.put(key, Item(key, dice.choice(SIZES)))
            case _:
                found = self.map.get(key)
                assert found is None or found.key == key

    def check(self) -> None:
        """Bounds and contents are right once whoever was struck is followed by another put."""
        self.map.put("k0", Item("k0", 1))
        assert self.map.get("k0") == Item("k0", 1)
        items = self.map.items()
        assert len(items) == len(self.map) <= MAX_ENTRIES
        assert sum(item.size for _, item in items) == self.map.size <= MAX_BYTES
        assert all(key == item.key for key, item in items)
        assert all(self.map.get(key) is item for key, item in items)


class NearBench:
    forks = FORKS

    def __init__(self) -> None:
        self.l1 = L1Cache(MAX_ENTRIES, MAX_BYTES, 0.25)
        self.l1.advance(Position("i", 0), None, 0.0)
        self.lock = threading.Lock()
        self.ended: dict[str, int] = {}

    def operate(self, dice: random.Random) -> None:
        key, now = dice.choice(KEYS), 1.0
        position = self.l1.position
        if position is None:
            self.l1.advance(Position("i", 0), None, now)
            return
        here = position.sequence
        match dice.randrange(14):
            case 0:
                self.l1.advance(Position("i", here + 1), [Record(here + 1, (f"k:{key}",))], now)
            case 1:
                self.l1.advance(Position("i", here), [], now)
            case 2 if dice.random() < 0.1:
                self.l1.advance(Position("i", here + 5), None, now)
            case 2:
                self.l1.require_poll()
            case n if n < 8:
                entry = make_entry(key, Position("i", here), b"x" * dice.choice(SIZES))
                self.l1.put(entry, 10.0, here)
            case _:
                held = self.l1.find(key, now)
                assert held is None or held.entry.key == key
                self.l1.is_trusted(now)

    def check(self) -> None:
        position = self.l1.position
        assert position is not None
        entry = make_entry("k0", position)
        self.l1.put(entry, 10.0, position.sequence)
        held = self.l1.find("k0", 1.0)
        assert held is not None
        assert held.entry == entry
        assert len(self.l1.entries) <= MAX_ENTRIES
        assert self.l1.entries.size <= MAX_BYTES
        items = self.l1.entries.items()
        assert sum(item.size for _, item in items) == self.l1.entries.size
        after = Position("i", position.sequence + 1)
        self.l1.advance(after, [Record(after.sequence, ("k:k0",))], 1.0)
        assert self.l1.find("k0", 1.0) is None


class LeasesBench:
    """What computing threads call, and whether the thread behind it still does its work."""

    name = "leases"
    forks = FORKS // 3  # each child waits for its thread

    def __init__(self) -> None:
        self.renewed: set[str] = set()
        self.released: set[str] = set()
        # What is to be ended is given up when the lease has lapsed: not so soon that a busy machine
        # hasn't come to it.
        self.leases = LeaseKeeper(self, 10.0, lambda _: None)
        self.serial = itertools.count()
        self.others = _thread._count()  # of the test run, where this is in its process

    def execute(self, command: Command) -> Reply:
        if isinstance(command, Renew):
            self.renewed.update(holding.owner for holding in command.holdings)
            return [True] * len(command.holdings)
        if isinstance(command, Together):
            return [bool(self.execute(each)) for each in command.commands]
        assert isinstance(command, Release)
        self.released.add(command.owner)
        return True

    def operate(self, dice: random.Random) -> None:
        owner = dice.choice(KEYS)
        match dice.randrange(3):
            case 0:
                self.leases.hold(owner, owner, lambda: Stage.RUNNING, renew_in=dice.random() / 30)
            case 1:
                self.leases.let_go(owner)
            case _:
                self.leases.end(owner, owner)

    def check(self) -> None:
        held, ended = f"held {next(self.serial)}", f"ended {next(self.serial)}"
        self.leases.hold("k", held, lambda: Stage.RUNNING, renew_in=0.0)
        self.leases.end("k", ended)
        wait_until(lambda: held in self.renewed and ended in self.released, timeout=5)
        self.leases.let_go(held)
        assert held not in self.leases._held
        assert _thread._count() < self.others + 20
        self.renewed.clear()
        self.released.clear()


Bench = MapBench | NearBench | LeasesBench
BENCHES: dict[str, Callable[[], Bench]] = {
    "map": MapBench,
    "near": NearBench,
    "leases": LeasesBench,
}


def strike(bench: Bench) -> None:
    """Raise an exception at random points, as a soft time limit does."""
    dice = random.Random(SEED)
    struck = 0
    armed = False

    def raise_it(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise SoftTimeLimitExceeded

    def operate_until_struck() -> None:
        while armed:
            bench.operate(dice)

    signal.signal(signal.SIGALRM, raise_it)
    for n in range(STRIKES):
        try:
            # The loop ends with the alarm, whether its exception arrives or is swallowed. The alarm
            # repeats itself: CPython may overlook one that comes on another's heels.
            armed = True
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-6, 3e-4), 0.01)
            # In a function of its own: Python 3.13 takes a loop's jump back as outside of the try.
            operate_until_struck()
        except SoftTimeLimitExceeded:
            struck += 1
        if n % 50 == 0:
            bench.check()
    signal.setitimer(signal.ITIMER_REAL, 0)
    bench.check()
    assert struck == STRIKES, f"{STRIKES - struck} exceptions were swallowed"


def hammer(bench: Bench, number: int, stop: threading.Event) -> list[threading.Thread]:
    def work(seed: int) -> None:
        dice = random.Random(seed)
        while not stop.is_set():
            bench.operate(dice)

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(number)]
    for thread in threads:
        thread.start()
    return threads


def fork(bench: Bench) -> None:
    """Fork while 4 threads are inside; each child uses what it inherited."""
    stop = threading.Event()
    threads = hammer(bench, 4, stop)
    for n in range(bench.forks):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                dice = random.Random(n)
                for _ in range(200):
                    bench.operate(dice)
                bench.check()
                code = 0
            finally:
                os._exit(code)
        assert exit_code(child, 5.0) == 0
    stop.set()
    join(threads)
    bench.check()


def exit_code(child: int, timeout: float) -> int:
    deadline = time.monotonic() + timeout
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("a child hangs")
        time.sleep(0.001)


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive(), "a thread hangs"


def threaded(bench: Bench) -> None:
    """8 threads at once, switched as often as can be."""
    sys.setswitchinterval(1e-5)
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(8_000):
                bench.operate(dice)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
        assert not thread.is_alive(), "a thread hangs"
    assert not errors
    bench.check()


def main(name: str, bench: str) -> None:
    faulthandler.dump_traceback_later(400, exit=True)
    case: Callable[[Bench], None] = {"strike": strike, "fork": fork, "threaded": threaded}[name]
    case(BENCHES[bench]())


@pytest.mark.parametrize("bench", BENCHES)
@pytest.mark.parametrize("case", ["strike", "fork", "threaded"])
def test_f3_survives(case: str, bench: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.stores.test_l1_torture", case, bench],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4_000:]


def test_f3_a_limit_that_strikes_as_the_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start, strikes = _thread.start_new_thread, iter([True])

    def struck(*arguments: Any) -> int:
        if next(strikes, False):
            raise SoftTimeLimitExceeded
        return start(*arguments)

    monkeypatch.setattr(_thread, "start_new_thread", struck)
    bench = LeasesBench()
    with pytest.raises(SoftTimeLimitExceeded):
        bench.leases.hold("k", "a", lambda: Stage.RUNNING, renew_in=0.0)
    bench.check()
    bench.leases.let_go("a")


if __name__ == "__main__":
    main(*sys.argv[1:])
