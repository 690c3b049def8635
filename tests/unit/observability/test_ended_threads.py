"""F3: counters of threads that have ended."""

import threading

from tta_taskcache.core.events import Lookup
from tta_taskcache.observability.counters import Counters


def test_f3_counters_do_not_grow_with_threads_that_have_ended() -> None:
    counters = Counters()
    for _ in range(200):
        thread = threading.Thread(target=counters, args=(Lookup("t", "k", "pool", None, "absent"),))
        thread.start()
        thread.join()
    assert counters.totals() == {"miss|pool|absent|t": 200}
    assert len(counters._threads) < 20
