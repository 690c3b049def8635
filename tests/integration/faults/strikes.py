"""SoftTimeLimitExceeded at random points of the cache.

Run as `python -m tests.integration.faults.strikes URL N`.

It is raised by a signal between any two bytecodes, as in a pool process whose task is over its soft
limit, while the process reads through, computes, fills and evicts. A watchdog ends a deadlock.
"""

import faulthandler
import json
import random
import signal
import sys
import threading
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery

from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache

SEED = 20261124
KEYS = 40
MAX_ENTRIES = 10
LEASE = 1.0

#: Seconds without a sign of life after which it counts as hanging.
WATCHDOG = 30


class Target:
    """A cached task, and a limit that may strike while it is asked for."""

    def __init__(self, url: str) -> None:
        app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
        app.conf.update(
            taskcache_url=url,
            taskcache_l1_max_entries=MAX_ENTRIES,
            taskcache_lease_ttl=LEASE,
            taskcache_timeout=5.0,
        )
        self.dice = random.Random(SEED)
        self.armed = False

        @app.task(base=CachedTask, shared=False, name="struck", cache_tags=("tag:{n}",))
        def struck(n: int) -> list[int]:
            return [n] * 50

        app.finalize()
        self.task: Any = struck
        self.cache = TaskCache(app)
        signal.signal(signal.SIGALRM, self._strike)

    def _strike(self, *_: object) -> None:
        if self.armed:
            self.armed = False
            raise SoftTimeLimitExceeded

    def operate(self) -> None:
        n = self.dice.randrange(KEYS)
        if self.dice.random() < 0.1:
            self.cache.invalidate(tags=[f"tag:{n}"])
        assert self.task.cache.call(n) == [n] * 50

    def be_struck(self) -> bool:
        """Work until the alarm, which may be swallowed where the task has run already."""
        try:
            self._work()
        except SoftTimeLimitExceeded:
            return True
        return False

    def _work(self) -> None:
        # In a function of its own: Python 3.13 takes a loop's jump back as outside of the try.
        self.armed = True
        signal.setitimer(signal.ITIMER_REAL, self.dice.uniform(1e-5, 2e-3), 0.01)
        while self.armed:
            self.operate()

    def check(self) -> None:
        """It works as ever, whatever was interrupted."""
        l1 = self.cache.runtime.engine.parts.l1
        for n in range(KEYS):
            assert self.task.cache.call(n) == [n] * 50
        assert len(l1.entries) <= MAX_ENTRIES
        assert sum(held.size for _, held in l1.entries.items()) == l1.entries.size

    def leases(self) -> int:
        """How many there are in Redis."""
        client = self.cache.runtime.store.store.client  # type: ignore[attr-defined]
        return sum(1 for _ in client.scan_iter("taskcache:l:*"))


def main(url: str, strikes: int) -> None:
    target = Target(url)
    struck = 0
    for i in range(strikes):
        struck += target.be_struck()
        if i % 500 == 0:
            faulthandler.dump_traceback_later(WATCHDOG, exit=True)
            signal.setitimer(signal.ITIMER_REAL, 0)
            target.check()
    signal.setitimer(signal.ITIMER_REAL, 0)
    target.check()
    # What was taken and never heard of lapses; nothing goes on being renewed.
    wait_until(lambda: target.leases() == 0, timeout=10 * LEASE, what="the end of all leases")
    found = {"strikes": strikes, "raised": struck, "threads": threading.active_count()}
    print(json.dumps(found))  # noqa: T201 - its answer


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
