"""Part 1: a skewed stream of requests, and what the cache made of it."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Event
from time import perf_counter
from typing import Any

from .. import measure, tasks
from ..app import app
from . import show
from .tally import SITES, HotCallTally

PRODUCERS = 4
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked for.

    Attributes:
        modules: How many different modules.
        pairs: How many different pairs of them.
        requests: How many requests for all of those.
        busy: Seconds for which the pool is kept busy in part 2.
    """

    modules: int = 16
    pairs: int = 8
    requests: int = 800
    busy: float = 2.5


@dataclass(frozen=True, slots=True)
class Request:
    """One request: which call, and whether its producer knows the task or only its name."""

    task: Any
    args: tuple[str, ...]
    by_name: bool

    @property
    def call(self) -> tuple[str, tuple[str, ...]]:
        """What makes requests equal."""
        return self.task.name, self.args


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: by whom (a site, or a run), and how long its producer waited."""

    request: Request
    by: str
    seconds: float
    value: Any


def modules(size: Size) -> list[str]:
    """The modules that are asked for: the largest but for the very largest."""
    return measure.modules(150_000, 20_000)[: size.modules]


def requests(size: Size) -> list[Request]:
    """Zipf's law: the n-th most popular call is asked for 1/n times as often as the first."""
    # No secret, but the same in every run.
    draw = random.Random(7)  # noqa: S311
    names = modules(size)
    draw.shuffle(names)
    pairs = list(pairwise(names))[: size.pairs]
    drawn: list[Request] = []
    for _ in range(size.requests):
        if draw.random() < 1 / 5:
            drawn.append(Request(tasks.compare, _popular(draw, pairs), by_name=False))
        else:
            by_name = draw.random() < 1 / 4
            drawn.append(Request(tasks.examine, (_popular(draw, names),), by_name))
    return drawn


def _popular(draw: random.Random, items: Sequence[Any]) -> Any:
    return draw.choices(items, [1 / rank for rank in range(1, len(items) + 1)])[0]


def ask_all(stream: Sequence[Request]) -> list[Answer]:
    """Let each producer ask for its share of the calls, one after the other.

    Equal calls come from the same producer, as behind a load balancer that looks at the URL: so
    none is asked for a second time while it runs for the first.
    """
    calls = list(dict.fromkeys(request.call for request in stream))
    shares: list[list[Request]] = [[] for _ in range(PRODUCERS)]
    for request in stream:
        shares[calls.index(request.call) % PRODUCERS].append(request)
    stop = Event()
    with ThreadPoolExecutor(PRODUCERS) as threads:
        try:
            futures = [threads.submit(_produce, share, stop) for share in shares]
            return [answer for future in futures for answer in future.result()]
        finally:
            stop.set()  # an interrupted demo doesn't wait for the rest


def _produce(share: Sequence[Request], stop: Event) -> list[Answer]:
    asked: set[object] = set()
    answers: list[Answer] = []
    for request in share:
        if stop.is_set():
            break
        answers.append(_ask(request, again=request.call in asked))
        asked.add(request.call)
    return answers


def _ask(request: Request, *, again: bool) -> Answer:
    started = perf_counter()
    if request.by_name:
        result = app.send_task(request.task.name, request.args)
    else:
        result = request.task.delay(*request.args)
    value = result.get(timeout=TIMEOUT)
    seconds = perf_counter() - started
    status = getattr(result, "cache_status", None)
    if status is not None and status.hit:
        by = status.site
    elif not again:
        by = "run"
    else:
        # The producer isn't told by whom; the counters will have to say the same.
        by = "consumer" if request.by_name else "pool"
    return Answer(request, by, seconds, value)


def check_answers(answers: Sequence[Answer], promises: show.Promises) -> int:
    """Compare all answers with the first of their kind, and some of those with a plain run.

    Returns:
        How many plain runs.
    """
    first: dict[object, Answer] = {}
    for answer in answers:
        first.setdefault(answer.request.call, answer)
    same = all(answer.value == first[answer.request.call].value for answer in answers)
    promises.check(same, "equal calls got equal answers")
    sample = list(first.values())[::6]
    plain = [answer.request.task(*answer.request.args) for answer in sample]
    right = [answer.value for answer in sample] == plain
    promises.check(right, "the answers are those of a plain run")
    return len(sample)


def check_counts(answers: Sequence[Answer], tally: HotCallTally, promises: show.Promises) -> None:
    """Compare what the producers saw with what the processes counted."""
    calls = {answer.request.call for answer in answers}
    promises.equal(tally.runs(), len(calls), "runs of the stream, one for each different call")
    for site in SITES:
        seen = sum(answer.by == site for answer in answers)
        promises.equal(tally.hits(site), seen, f"hits of the stream at the {site}")
        promises.check(seen > 0, f"there were hits at the {site}")


def show_answers(answers: Sequence[Answer], tally: HotCallTally) -> None:
    """Who answered, and how fast."""
    rows = []
    for site, what in SITES.items():
        layers = [tally.hits(site, layer) for layer in ("l1", "l2")]
        row = [what, *map(str, layers), str(sum(layers))]
        rows.append([*row, *_latency(answers, {site})])
    ran = ["run (miss)", "", "", str(tally.runs())]
    rows.append([*ran, *_latency(answers, {"run"})])
    show.table(("answered by", "L1", "L2", "all", "p50", "p95", "max"), rows)


def show_latency(answers: Sequence[Answer]) -> None:
    """Hit and miss side by side."""
    hit = show.spread([answer.seconds for answer in answers if answer.by != "run"])
    miss = show.spread([answer.seconds for answer in answers if answer.by == "run"])
    rows = [
        (name, show.duration(a), show.duration(b), f"{b / a:,.0f} x")
        for name, a, b in zip(("p50", "p95", "max"), hit, miss, strict=True)
    ]
    show.table(("a producer waits", "hit", "miss", "ratio"), rows)


def show_savings(tally: HotCallTally) -> None:
    """Seconds of work: what runs took, and what they would have taken for the calls that hit."""
    runs, hits = tally.runs(), sum(map(tally.hits, SITES))
    spent, saved = tally.spent, tally.saved
    rows = [
        ("spent on runs", str(runs), show.duration(spent)),
        ("saved by hits", str(hits), show.duration(saved)),
        ("share saved", f"{hits / (runs + hits):.1%}", f"{saved / (spent + saved):.1%}"),
    ]
    show.table(("work", "calls", "time in tasks"), rows)


def _latency(answers: Sequence[Answer], by: set[str]) -> list[str]:
    seconds = [answer.seconds for answer in answers if answer.by in by]
    return [show.duration(each) for each in show.spread(seconds)]
