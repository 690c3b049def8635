"""R5, RFC 5861: a source that takes a second, called at 50 calls a second through its ttl.

Once with a stale window, and once without, one after the other.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.show import console, ms, percentile, table
from tests.integration.app import SITES, SLOW_TTL
from tests.integration.harness import MODULE, Harness, make_harness
from tests.support.servers import Server, available
from tests.support.workers import Worker

SECONDS = 30.0
PER_SECOND = 50
RUN = 1.0
PATIENCE = 60


@dataclass
class Callers:
    """What the callers of one task have waited, and how many runs that took."""

    waits: list[float] = field(default_factory=list)
    runs: int = 0


def run() -> None:
    """Measure it at each site."""
    rows = []
    for site in SITES:
        for window, name in (("60 s", "slow_revalidated"), ("none", "slow")):
            rows.append(_row(site, window, _measure(f"{site}.{name}")))
    table(
        f"A source that takes {RUN:.0f} s, ttl {SLOW_TTL:.0f} s, asked {PER_SECOND} times a second "
        f"for {SECONDS:.0f} s",
        ("site", "stale window", "calls", "waited > 0.5 s", "p99", "longest", "runs", "asked for"),
        rows,
    )
    console.print("The first call, which has to wait, isn't counted. A worker of 4 processes.\n")


def _row(site: str, window: str, callers: Callers) -> tuple[str, ...]:
    waited = sum(wait > RUN / 2 for wait in callers.waits)
    return (
        site,
        window,
        f"{len(callers.waits):,}",
        f"{waited:,}",
        ms(percentile(callers.waits, 0.99)),
        ms(max(callers.waits)),
        str(callers.runs),
        f"{SECONDS / SLOW_TTL:.0f}",
    )


def _measure(name: str) -> Callers:
    with Server(available()[0]) as server:
        harness = make_harness(server)
        env = server.environment
        with Worker(MODULE, env=env, concurrency=4):
            callers = _call(harness, name)
        harness.app.close()
    return callers


def _call(harness: Harness, name: str) -> Callers:
    """Call at a fixed rate, whether or not those before have their answers."""
    task, tag, callers = harness.task(name), harness.tag, Callers()

    def ask() -> None:
        started = time.perf_counter()
        task.delay(tag).get(timeout=PATIENCE)
        callers.waits.append(time.perf_counter() - started)

    ask()
    callers.waits.clear()
    start = time.perf_counter()
    with ThreadPoolExecutor(PER_SECOND * 2) as pool:
        for number in range(int(SECONDS * PER_SECOND)):
            time.sleep(max(0.0, start + number / PER_SECOND - time.perf_counter()))
            pool.submit(ask)
    callers.runs = harness.runs("slow", tag)
    return callers
