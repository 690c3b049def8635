"""R5: nothing is served past its limits, under any interleaving, over every combination of windows.

A model with a clock of its own is held against the engine: what was stored when, what failed, what
was refreshed. What the engine serves has to be in a window of the model's.
"""

import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tta_taskcache.cache.engine.engine import Engine, make_engine
from tta_taskcache.cache.engine.parts import TRY_AGAIN, Parts
from tta_taskcache.cache.engine.refresher import REFRESH_PAUSE
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.plan import run
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.decide import Verdict, judge_age
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.lease import Claim, Stage
from tta_taskcache.core.events import Event, Lookup
from tta_taskcache.core.options.policy import Policy
from tta_taskcache.core.results.codec import Codecs
from tta_taskcache.core.results.remembered_errors import decode_error, encode_error
from tta_taskcache.observability.counters import Counters
from tta_taskcache.stores.memory.l1_cache import L1Cache
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import Command, Fill, Reply
from tta_taskcache.testing import FakeClock, make_entry

TTL = 10.0
RUN = 2.0


class Gone(Exception):
    """What is remembered."""


class Windows(RuleBasedStateMachine):
    """Two processes with an L1 each and one store, a source that may fail, and time."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.store = MemoryStore(100, 1_000_000, self.clock)
        #: What is stored: since when, and for how long it is fresh at least and at most.
        self.stored_at: float | None = None
        self.least = self.most = 0.0
        self.is_failure = False
        self.value = 0
        self.failed_at: float | None = None
        self.leads: tuple[Engine, Miss] | None = None

    @initialize(l1=st.sampled_from([0, 100]), seed=st.integers(0, 9))
    def begin(self, l1: int, seed: int) -> None:
        self.call = Call("t", "t:k", self.policy)
        self.engines = [self._engine(l1, random.Random(seed + i)) for i in range(2)]

    def _engine(self, l1: int, chance: random.Random) -> Engine:
        return make_engine(
            Parts(
                l1=L1Cache(l1, 1_000_000, 0.0),
                codecs=Codecs(),
                observe=self.events.append,
                counters=Counters(),
                clock=self.clock,
                draw=chance.random,
            )
        )

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 8.0, 11.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.stored_at is not None)
    @rule(edge=st.integers(0, 2), past=st.booleans())
    def an_edge_comes(self, edge: int, past: bool) -> None:
        """Go to just before or just after the end of a window."""
        assert self.stored_at is not None
        window = (0.0, self.policy.stale_while_revalidate, self.policy.stale_if_error)[edge]
        until = self.stored_at + self.most + window + (0.5 if past else -0.5)
        self.clock.advance(max(0.0, until - self.clock()))

    @rule(which=st.integers(0, 1), claims=st.booleans())
    def look(self, which: int, claims: bool) -> None:
        engine = self.engines[which]
        self.clock.advance(1e-6)  # strict, L1 is trusted for no time at all
        claim = Claim(owner=f"{which}", stage=Stage.RUNNING, ttl=60.0) if claims else None
        found = run(engine.look(self.call, "pool", claim), self.store)
        self._check(found)
        if isinstance(found, Miss) and found.lease is not None and found.lease.is_ours:
            self.leads = engine, found

    @precondition(lambda self: self.leads is not None)
    @rule(fails=st.booleans())
    def the_run_ends(self, fails: bool) -> None:
        assert self.leads is not None
        engine, miss = self.leads
        assert miss.lease is not None
        self.leads = None
        if fails and self.policy.errors:
            self._fill(engine, miss.position, miss.lease.owner, self.policy.errors[Gone])
        elif fails:
            stale = run(
                engine.refresher.find_stale_if_error(self.call, "pool", miss.lease.owner),
                self.store,
            )
            self._check(stale or Miss("failed", None), failed=True)
            if stale is not None and stale.verdict is Verdict.STALE_IF_ERROR:
                self.failed_at = self.clock()
            run(engine.release(self.call.key, miss.lease.owner), self.store)
        else:
            self._fill(engine, miss.position, miss.lease.owner)

    @rule(which=st.integers(0, 1))
    def a_refresh_ends(self, which: int) -> None:
        engine = self.engines[which]
        self._fill(engine, run(engine.writer.position(self.call), self.store), "")

    def _fill(
        self, engine: Engine, position: Position | None, owner: str, remember_for: float = 0.0
    ) -> None:
        value = self.value + 1
        stored = run(
            engine.writer.fill(
                self.call,
                position,
                encode_error(Gone(value), self.policy) if remember_for else value,
                run_seconds=RUN,
                task_id=None,
                owner=owner,
                replaces=not owner,
                remember_for=remember_for,
            ),
            self.store,
        )
        if stored:
            self.value, self.stored_at, self.failed_at = value, self.clock(), None
            self.is_failure = bool(remember_for)
            self.most = remember_for or TTL
            self.least = remember_for or TTL * (1.0 - self.policy.jitter)

    @rule()
    def invalidate(self) -> None:
        run(self.engines[0].invalidate((marks.of_task("t"),)), self.store)
        self.stored_at = self.leads = None

    def _check(self, found: Hit | Miss, *, failed: bool = False) -> None:
        policy = self.policy
        age = None if self.stored_at is None else self.clock() - self.stored_at
        if isinstance(found, Miss):
            if not failed:
                window = 0.0 if self.is_failure else policy.stale_while_revalidate
                assert age is None or age >= self.least + window, "what is in time is served"
            return
        assert age is not None, "nothing that was ended"
        assert found.age == pytest.approx(age, abs=1e-3)
        assert found.entry.is_failure == self.is_failure
        value = found.value
        if self.is_failure:
            (value,) = decode_error(value, policy).args
        assert value == self.value, "never an older one than the last"
        assert self.least <= found.entry.fresh_for <= self.most
        if age < found.entry.fresh_for:
            assert not found.verdict.is_stale
            return
        assert not self.is_failure, "a failure is forgotten in time"
        in_error = self.failed_at is not None and (
            # The store counts whole milliseconds.
            self.clock() - self.failed_at <= TRY_AGAIN + 1e-3
        )
        window = policy.stale_while_revalidate
        if failed or in_error:
            window = max(window, policy.stale_if_error)
        assert age < found.entry.fresh_for + window, "R5"
        assert found.verdict.is_stale

    @invariant()
    def told_as_it_is(self) -> None:
        for event in self.events:
            if isinstance(event, Lookup) and event.layer:
                assert event.freshness in ("fresh", "early", "stale", "stale-if-error")
        self.events.clear()


@pytest.mark.parametrize("remembered", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("jitter", [0.0, 0.5])
@pytest.mark.parametrize("if_error", [0.0, 5.0, 40.0])
@pytest.mark.parametrize("while_revalidate", [0.0, 5.0, 20.0])
def test_r5_nothing_is_served_past_its_limits(
    while_revalidate: float, if_error: float, jitter: float, remembered: float
) -> None:
    policy = Policy(
        ttl=TTL,
        jitter=jitter,
        stale_while_revalidate=while_revalidate,
        stale_if_error=if_error,
        errors={Gone: remembered} if remembered else {},
    )
    run_state_machine_as_test(
        lambda: Windows(policy), settings=settings(max_examples=12, stateful_step_count=30)
    )


def engine_of(policy: Policy, clock: FakeClock, draw: float = 0.0) -> tuple[Engine, Call]:
    engine = make_engine(
        Parts(
            l1=L1Cache(100, 1_000_000, 1e9),
            codecs=Codecs(),
            observe=lambda _: None,
            counters=Counters(),
            clock=clock,
            draw=lambda: draw,
        )
    )
    return engine, Call("t", "t:k", policy)


def test_one_reader_has_a_stale_result_refreshed() -> None:
    clock = FakeClock()
    store = MemoryStore(10, 10_000, clock)
    policy = Policy(ttl=TTL, stale_while_revalidate=60.0)
    engines = [engine_of(policy, clock)[0] for _ in range(3)]
    call = Call("t", "t:k", policy)
    position = run(engines[0].writer.position(call), store)
    run(engines[0].writer.fill(call, position, 1, run_seconds=RUN, task_id=None), store)
    clock.advance(TTL + 1)
    recently_asked = [run(engine.look(call, "pool"), store) for engine in engines for _ in range(5)]
    assert [hit.verdict for hit in recently_asked if isinstance(hit, Hit)] == [Verdict.STALE] * 15
    assert sum(hit.refresh for hit in recently_asked if isinstance(hit, Hit)) == 1
    clock.advance(REFRESH_PAUSE + 0.1)  # it failed, or was lost: another one tries
    recently_asked = [run(engine.look(call, "pool"), store) for engine in engines for _ in range(5)]
    assert sum(hit.refresh for hit in recently_asked if isinstance(hit, Hit)) == 1


class Meanwhile:
    """A store in which something happens just before a last result takes its own place."""

    def __init__(self, store: MemoryStore, happens: Callable[[], object]) -> None:
        self.store, self.happens, self.name = store, happens, store.name

    def execute(self, command: Command) -> Reply:
        if isinstance(command, Fill) and command.instead_of:
            self.happens()
        return self.store.execute(command)


def test_the_last_result_gives_way_to_one_that_was_stored_meanwhile() -> None:
    clock = FakeClock()
    store = MemoryStore(10, 10_000, clock)
    policy = Policy(ttl=TTL, stale_if_error=60.0)
    (engine, call), (other, _) = engine_of(policy, clock), engine_of(policy, clock)

    def store_with(which: Engine, value: int) -> None:
        position = run(which.writer.position(call), store)
        filling = which.writer.fill(call, position, value, run_seconds=RUN, task_id=None)
        assert run(filling, store)

    store_with(engine, 1)
    clock.advance(TTL + 1)
    assert isinstance(run(engine.look(call, "pool"), store), Miss), "from now on it has an L1"
    meanwhile = Meanwhile(store, lambda: store_with(other, 2))
    stale = run(engine.refresher.find_stale_if_error(call, "pool", ""), meanwhile)
    assert stale is not None, "the run has failed before"
    found = run(engine.look(call, "pool"), store)
    assert isinstance(found, Hit)
    assert (found.value, found.verdict) == (2, Verdict.FRESH)


def test_without_another_process_the_one_who_asks_computes() -> None:
    clock = FakeClock()
    store = MemoryStore(10, 10_000, clock)
    engine, call = engine_of(Policy(ttl=TTL, stale_while_revalidate=60.0), clock)
    engine.parts.in_background = False
    position = run(engine.writer.position(call), store)
    run(engine.writer.fill(call, position, 1, run_seconds=RUN, task_id=None), store)
    clock.advance(TTL + 1)
    first, second = (run(engine.look(call, "pool"), store) for _ in range(2))
    assert isinstance(first, Miss)
    assert (first.reason, first.position) == ("stale", position)
    assert isinstance(second, Hit), "the others are served meanwhile"


@pytest.mark.parametrize(
    ("fresh_left", "draw", "early"),
    [(9.0, 1e-9, False), (1.9, 1e-9, True), (1.9, 1.0, False), (0.1, 0.9, True), (0.3, 0.9, False)],
)
def test_early_refresh_within_one_run_time_by_chance(
    fresh_left: float, draw: float, early: bool
) -> None:
    entry = make_entry("k", Position("i", 0), lifetime=70.0, fresh_for=TTL, run_seconds=RUN)
    policy = Policy(ttl=TTL, stale_while_revalidate=60.0)
    verdict = judge_age(entry, 60.0 + fresh_left, policy, draw)
    assert verdict is (Verdict.EARLY if early else Verdict.FRESH)
    assert judge_age(entry, 60.0 + fresh_left, Policy(ttl=TTL), draw) is Verdict.FRESH


def test_a_shorter_window_counts_at_once() -> None:
    """The policy may have changed since the entry was stored."""
    entry = make_entry("k", Position("i", 0), lifetime=70.0, fresh_for=TTL)
    for window, verdict in ((60.0, Verdict.STALE), (5.0, Verdict.EXPIRED)):
        policy = Policy(ttl=TTL, stale_while_revalidate=window)
        assert judge_age(entry, 50.0, policy) is verdict
