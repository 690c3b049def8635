"""The parts of the demo, one after the other."""

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

from .. import tasks
from ..app import cache
from . import scenes, show, stream
from .processes import worker
from .tally import HotCallTally


def play(
    name: str, environment: Mapping[str, str], log: Path, promises: show.Promises, *, quick: bool
) -> None:
    """Play all parts. The server is running.

    Args:
        name: The server's name.
        environment: What leads the worker to it.
        log: Where the worker writes.
        promises: What has to be true.
        quick: Ask for less.
    """
    size = stream.Size(modules=6, pairs=3, requests=150, busy=1.5) if quick else stream.Size()
    show.title("tta_taskcache: expensive analyses of the standard library's sources")
    show.say(f"Redis: {name}. Worker: prefork, 2 processes. All figures are of this run.")
    modules = stream.modules(size)
    first = _stream(size, environment, log, promises)
    cost = first.cost(tasks.examine.name)
    with worker(environment, cache, log):
        runs = _scenes(modules, size.busy, cost, promises)
    rest = HotCallTally(cache.stats(), first.now)
    promises.equal(rest.runs(), runs, "runs of parts 2 to 4")
    promises.equal(
        rest.hits("consumer"), scenes.HITS, "hits in the main process beside a busy pool"
    )
    promises.equal(first.faults + rest.faults, 0, "faults of the cache")


def _stream(
    size: stream.Size, environment: Mapping[str, str], log: Path, promises: show.Promises
) -> HotCallTally:
    show.title("1. A skewed stream of requests")
    asked = stream.requests(size)
    calls = {request.call for request in asked}
    show.say(
        f"{len(asked)} requests for {len(calls)} different calls, the popular ones more often "
        f"(Zipf), from {stream.PRODUCERS} producers: examine(module) as a task or, like a service "
        "that knows but its name, by send_task; and compare(module, module), which its option "
        "cache_sites allows to be answered in the pool only."
    )
    with worker(environment, cache, log):
        started = perf_counter()
        with show.console.status("asking ..."):
            answers = stream.ask_all(asked)
        seconds = perf_counter() - started
    # The worker's processes have handed over their counters as they ended.
    tally = HotCallTally(cache.stats())
    stream.show_answers(answers, tally)
    show.note("A hit in the pool may wait for runs of other calls, as a miss may; others don't.")
    stream.show_latency(answers)
    plain = stream.check_answers(answers, promises)
    stream.check_counts(answers, tally, promises)
    stream.show_savings(tally)
    show.note(
        f"The stream took {show.duration(seconds)}. Equal calls had equal answers, and plain runs "
        f"of {plain} of them, here and without the cache, gave the same."
    )
    return tally


def _scenes(modules: list[str], busy: float, cost: float, promises: show.Promises) -> int:
    show.title("2. A hit while both processes of the pool are busy")
    show.say(
        "Each measures modules, uncached, for some seconds. One cached call is then made in three "
        "ways: two are hits, the third passes the cache by and has to wait."
    )
    runs = scenes.busy_pool(modules, busy, cost, promises)
    show.title("3. A chain of cached steps")
    show.say(
        f"measure_package({scenes.PACKAGE!r}) | relate() | report(). Each step is cached on its "
        'own, and the last with cache_vary=("team",): it is shared within a team only.'
    )
    runs += scenes.chain_of_steps(promises)
    show.title("4. Invalidation")
    show.say(
        f"Of one call by its key, then of all calls of a task; a is {modules[0]!r}, "
        f"b is {modules[1]!r}. Entries are those of examine, after each step."
    )
    return runs + scenes.invalidation(modules, promises)
