"""D1, D2: what dependencies cost an invalidation and a read, and what a soft invalidation spares.

``ENTRIES=10000`` makes it short.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from benchmarks.show import console, table
from tests.integration.engine.process import Process, call, claim
from tests.support.counting import round_trips
from tests.support.servers import Server, available
from tta_taskcache.cache.outcome import Hit, Miss
from tta_taskcache.cache.plan import run as run_plan
from tta_taskcache.cache.runs.current_run import CurrentRun
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import pack
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.testing import make_entry

ENTRIES = int(os.environ.get("ENTRIES", "1000000"))
SOURCES = 1_000
NUMBERS = (0, 1, 8, 64)
SOFT_ENTRIES = min(ENTRIES, 10_000)
CALLERS = 4
BATCH = 10_000
ROUNDS = 400
RUN = 0.002


def run() -> None:
    """Measure it."""
    with Server(available()[0]) as server:
        _invalidations(server)
    with Server(available()[0]) as server:
        _reads(server)
    rows = []
    for name in ("soft", "hard"):
        with Server(available()[0]) as server:
            rows.append(_load(server, soft=name == "soft"))
    table(
        f"A tag with {SOFT_ENTRIES:,} entries is invalidated under {CALLERS} callers",
        ("how", "calls", "callers that waited", "runs", "most runs of a key"),
        rows,
    )
    console.print(
        f"A run takes {RUN * 1000:.0f} ms. With the soft one, runs are in the background.\n"
    )


def _process(server: Server) -> Process:
    process = Process(RedisStore(Link(server.url(), 30.0), "ns"), time.monotonic)  # type: ignore[arg-type]
    process.look(call("t:warm"))
    return process


def _invalidations(server: Server) -> None:
    process = _process(server)
    process.invalidate("g:first")
    position = run_plan(process.engine.writer.position(call()), process.store)
    client, pipe = server.client(), server.client().pipeline(transaction=False)
    assert position is not None
    for i in range(ENTRIES):
        key = f"t:{i}"
        names = (*marks.of_call("t", key), marks.of_tag(f"source:{i % SOURCES}"))
        frame = pack(make_entry(key, position, b'"value"', marks=names))
        pipe.set(f"ns:e:{{{key}}}", frame, px=3_600_000)
        if i % BATCH == BATCH - 1:
            pipe.execute()
    pipe.execute()
    took: dict[str, list[float]] = {"source": [], "other": []}
    for i in range(ROUNDS):
        for name, seconds in took.items():
            started = time.perf_counter()
            process.invalidate(f"g:{name}:{i}")
            seconds.append(time.perf_counter() - started)
    later = _process(server)
    sample = range(0, ENTRIES, max(1, ENTRIES // 500 + 1))
    ended = [later.value(call(f"t:{i}")) for i in sample]
    expected = ["invalidated" if i % SOURCES < ROUNDS else "value" for i in sample]
    assert ended == expected
    source, other = (median(took[name]) * 1e6 for name in ("source", "other"))
    table(
        f"{ENTRIES:,} entries made from {SOURCES:,} dependencies, {client.dbsize():,} keys",
        ("invalidating", "median", "ratio"),
        [
            ("a tag of nothing", f"{other:.0f} µs", "1.00"),
            (
                f"a dependency of {ENTRIES // SOURCES:,}",
                f"{source:.0f} µs",
                f"{source / other:.2f}",
            ),
        ],
    )


def _reads(server: Server) -> None:
    """Reads from Redis: by a process that has followed the log since, and by one that has not."""
    writer = _process(server)
    for number in NUMBERS:
        which = call(f"t{number}:k", f"t{number}")
        decided = CurrentRun()
        decided.depend([marks.of_tag(f"source:{i}") for i in range(number)])
        found: Any = writer.look(which)
        fill = writer.engine.writer.fill(
            which, found.position, "v" * 1000, run_seconds=2.0, task_id="id", decided=decided
        )
        assert run_plan(fill, writer.store)
    knows = _process(server)
    writer.invalidate("g:other")
    later = _process(server)
    rows = []
    for name, process in (("copy of the log", knows), ("marks brought along", later)):
        took: dict[int, list[float]] = {number: [] for number in NUMBERS}
        for _ in range(300):
            for number in NUMBERS:
                started = time.perf_counter()
                _look(process, number)
                took[number].append(time.perf_counter() - started)
        for number in NUMBERS:
            with round_trips(server) as trips:
                _look(process, number)
            seconds = median(took[number])
            ratio = seconds / median(took[0])
            rows.append(
                (name, str(number), str(trips.count), f"{seconds * 1e6:.0f} µs", f"{ratio:.2f}")
            )
    table(
        "Reads from Redis, 1 KB",
        ("by", "dependencies", "round trips", "median", "against none"),
        rows,
    )


def _look(process: Process, number: int) -> None:
    assert isinstance(process.look(call(f"t{number}:k", f"t{number}")), Hit)
    process.engine.parts.l1.entries.clear()


def _load(  # noqa: C901 - callers and refreshes share what they count
    server: Server, *, soft: bool
) -> tuple[str, ...]:
    """Let callers read all entries of a tag twice, right after it was invalidated."""
    # So that none is refreshed for its age meanwhile.
    policy: Any = {"ttl": 7200.0, "stale_while_revalidate": 600.0}
    calls = [call(f"t:{i}", tags=("all",), **policy) for i in range(SOFT_ENTRIES)]
    first = _process(server)
    for which in calls:
        first.store_value("old", which)
    runs: Counter[str] = Counter()
    waited, asked = [0] * CALLERS, [0] * CALLERS
    background = ThreadPoolExecutor(4)
    local = threading.local()

    def refresh(which: Any) -> None:
        if not hasattr(local, "process"):
            local.process = _process(server)
        engine, store = local.process.engine, local.process.store
        stored = run_plan(engine.reader.find(which), store)
        if isinstance(stored, Hit) and stored.needs_no_refresh:
            return  # as a worker: another run has refreshed it
        position = run_plan(engine.writer.position(which), store)
        time.sleep(RUN)
        runs[which.key] += 1
        local.process.fill("new", Miss("refresh", position), which)

    def caller(number: int) -> None:
        process = _process(server)
        for which in _in_turns(calls, number):
            asked[number] += 1
            found = process.look(which, claim(f"{number}:{which.key}"))
            if isinstance(found, Hit):
                if found.refresh:
                    background.submit(refresh, which)
                continue
            waited[number] += 1
            if found.lease is not None and found.lease.is_ours:
                time.sleep(RUN)
                runs[which.key] += 1
                process.fill("new", found, which, owner=found.lease.owner)

    mark = marks.of_tag("all")
    first.invalidate(marks.soft(mark) if soft else mark)
    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    background.shutdown()
    return (
        "soft" if soft else "hard",
        f"{sum(asked):,}",
        f"{sum(waited):,}",
        f"{sum(runs.values()):,}",
        str(max(runs.values())),
    )


def _in_turns(calls: list[Any], number: int) -> Iterator[Any]:
    """Return all calls twice, each caller beginning elsewhere."""
    start = number * len(calls) // (CALLERS * 4)
    for _ in range(2):
        yield from calls[start:]
        yield from calls[:start]
