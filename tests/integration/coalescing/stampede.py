"""Many processes that ask for one cold key at once.

Run as `python -m tests.integration.coalescing.stampede URL N`.

Prints how often the task ran, and the different values that the processes got.
"""

import json
import os
import sys
import time
from typing import Any

import redis
from celery import Celery

from tta_taskcache import CachedTask

#: Seconds for which the task waits for all to have asked, at most.
PATIENCE = 60


def make_task(url: str, processes: int) -> tuple[Any, redis.Redis]:
    app = Celery("stampede", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(taskcache_url=url, taskcache_timeout=10.0)
    counts = redis.Redis.from_url(url)

    @app.task(base=CachedTask, shared=False, name="cold")
    def cold() -> str:
        counts.incr("runs")
        end = time.monotonic() + PATIENCE
        while int(counts.get("asked") or 0) < processes and time.monotonic() < end:
            time.sleep(0.01)
        return f"by {os.getpid()}"

    app.finalize()
    return cold, counts


def main(url: str, processes: int) -> None:
    task, counts = make_task(url, processes)
    start, go = os.pipe()
    for _ in range(processes):
        if os.fork() == 0:
            code = 1
            try:
                os.close(go)
                os.read(start, 1)  # ends when the parent closes its side
                counts.incr("asked")
                counts.rpush("values", task.cache.call())
                code = 0
            finally:
                os._exit(code)
    os.close(start)
    os.close(go)
    codes = {os.wait()[1] for _ in range(processes)}
    values = [value.decode() for value in counts.lrange("values", 0, -1)]
    found = {"runs": int(counts.get("runs") or 0), "values": len(values), "codes": sorted(codes)}
    print(json.dumps({**found, "different": len(set(values))}))  # noqa: T201 - its answer


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
