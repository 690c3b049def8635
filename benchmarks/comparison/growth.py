"""Growth: lookups among many entries, and from many processes."""

import subprocess
import sys
import time
from typing import Any

import psutil
from celery import Celery

from benchmarks.comparison.app import make_app
from benchmarks.comparison.lookups import GET, without_l1
from benchmarks.comparison.turns import Case, Row, by_turns
from tests.support.servers import Server

ENTRIES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
PROCESSES = (1, 2, 4, 8, 16)

#: Bytes of a stand-in entry in Redis, with its name, about.
BYTES_EACH = 450

SECONDS = 2.0


def run(server: Server, app: Celery, rounds: int) -> tuple[list[Row], list[str]]:
    """Measure L2 hits while the cache grows; its server has to allow ``DEBUG``."""
    rows, missing = [], []
    task: Any = app.tasks["cached.text"]
    task.cache.set("x" * 100, 100)
    raw: Any = server.client(2)
    name = next(raw.scan_iter(f"*{task.cache.key(100).rsplit(':', 1)[-1]}*"))
    rows += _processes(server)
    with without_l1(app):
        for count in ENTRIES:
            if psutil.virtual_memory().available < 2 * count * BYTES_EACH:
                missing.append(f"{count:,} entries: too little memory on this machine")
                continue
            raw.execute_command("DEBUG", "POPULATE", count, "other", 300)
            cases = [
                Case(GET, lambda: raw.get(name)),
                Case(f"L2 hit among {count:,}", lambda: task.cache.get(100), GET),
            ]
            rows.append(by_turns("entries in Redis", cases, max(3, rounds // 3))[1])
    raw.flushdb()
    return rows, missing


def _processes(server: Server) -> list[Row]:
    rows = []
    for count in PROCESSES:
        command = [
            sys.executable,
            "-m",
            "benchmarks.comparison.growth",
            server.url().rsplit("/", 1)[0],
        ]
        clients = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves
            for _ in range(count)
        ]
        done = [int(client.communicate()[0]) for client in clients]
        row = Row("client processes", f"{count} processes, L2 hits")
        row.wall.append(SECONDS / (sum(done) / count))
        row.extra["all_per_second"] = sum(done) / SECONDS
        rows.append(row)
    return rows


def client(url: str) -> None:
    """Look up for some seconds; print how often."""
    app = make_app(f"{url}/0", f"{url}/1", f"{url}/2")
    task = app.tasks["cached.text"]
    with without_l1(app):
        task.cache.get(100)
        ends, done = time.perf_counter() + SECONDS, 0
        while time.perf_counter() < ends:
            task.cache.get(100)
            done += 1
    sys.stdout.write(str(done))


if __name__ == "__main__":
    client(sys.argv[1])
