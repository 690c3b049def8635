"""Whose numbers are whose: threads of the operating system."""

import subprocess
import sys
import threading

import pytest

from tta_taskcache.observability.thread_ids import thread_ident

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all(); from gevent import spawn, sleep",
    "eventlet": "import eventlet; eventlet.monkey_patch(); from eventlet import spawn, sleep",
}

COUNT = """
import threading
from tta_taskcache.core.events import Ran
from tta_taskcache.observability.counters import Counters
from tta_taskcache.observability.thread_ids import thread_ident

counters, theirs, ours, over = Counters(), set(), set(), []

def work():
    for _ in range(10):
        theirs.add(threading.get_ident())
        ours.add(thread_ident())
        counters(Ran("t", "k", 1.0))
        sleep(0)
    over.append(1)

for _ in range(200):
    spawn(work)
while len(over) < 200:
    sleep(0)
print(len(theirs) > 1, len(ours), counters.totals()["run|||t"])
"""


def test_it_is_the_threads_own() -> None:
    assert thread_ident() == threading.get_ident()
    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(thread_ident()))
    thread.start()
    thread.join()
    assert other == [thread.ident]


@pytest.mark.parametrize("library", PATCH)
def test_f2_greenlets_count_in_one_place_and_lose_nothing(library: str) -> None:
    """Each that is new would have numbers of its own else, for as long as the process lives."""
    pytest.importorskip(library)
    code = PATCH[library] + COUNT
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "1", "2000.0"]
