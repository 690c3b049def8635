"""All that decides about freshness, in any order, against a pure model (D1 to D4, R5).

A report is made from a source. Both have stale windows and a least run time, or have not. Time is a
fake clock; the source fails, changes or doesn't; callers ask in every mode, with and without a
greatest age; invalidations are hard and soft. ``FRESHNESS_EXAMPLES`` makes it longer.
"""

import os
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.integration.freshness.one_process import OneProcess
from tta_taskcache import NOT_MODIFIED, CacheMiss, cache_previous

EXAMPLES = int(os.environ.get("FRESHNESS_EXAMPLES") or 0)

TTL = 10
TRY_AGAIN = 5
MODES = ("use", "use", "use", "refresh", "bypass", "only", "no-store")

READS = st.tuples(
    st.just("read"),
    st.sampled_from(["report", "source"]),
    st.sampled_from(MODES),
    st.sampled_from([None, None, None, 0, 2, 8, 100]),
)
PLAIN_READS = st.tuples(st.just("read"), st.just("report"), st.just("use"), st.none())
TIMES = st.tuples(st.just("time"), st.sampled_from([1, 2, 3, 7, 9, 11, 25]))
INVALIDATIONS = st.tuples(
    st.just("invalidate"), st.sampled_from(["source", "tag", "report", "key", "*"]), st.booleans()
)
CHANGES = st.tuples(st.just("source"), st.booleans(), st.booleans())
STEPS = st.one_of(READS, READS, PLAIN_READS, PLAIN_READS, TIMES, TIMES, INVALIDATIONS, CHANGES)


class Down(Exception):
    """What the source raises."""


@dataclass
class Stored:
    """An entry, as the model knows it."""

    value: int
    stored_at: float
    fresh_until: float
    expires_at: float
    is_soft: bool = False
    is_ended: bool = False
    stands_in_until: float = 0.0


@dataclass
class Answer:
    """What a call has got, and whether its body ran; of a stale answer, for how long it was."""

    value: int | None
    has_run: bool
    error: Exception | None = None
    staleness: float | None = None


@dataclass
class Model:
    """A task: its policy, its entry, and what its body has done."""

    swr: int
    sie: int
    min_run: int
    entry: Stored | None = None
    runs: int = 0
    staleness: float | None = None
    has_failed: bool = False

    @property
    def stale_for(self) -> int:
        return max(self.swr, self.sie)

    def verdict(self, now: float) -> str:
        entry = self.entry
        if entry is None or entry.is_ended or now >= entry.expires_at:
            return "none"
        past = now - entry.fresh_until
        if past < 0 and not entry.is_soft:
            return "fresh"
        if past < 0:
            return "stale" if self.swr else "ended" if self.sie else "none"
        return "stale" if past < self.swr else "ended" if past < self.sie else "none"

    def is_replaceable(self, now: float) -> bool:
        """Whether a run sees a previous entry."""
        return self.entry is not None and not self.entry.is_ended and now < self.entry.expires_at

    def store(self, value: int, now: float, staleness: float | None) -> None:
        if staleness is not None and staleness >= self.stale_for:
            return
        fresh_until = now + TTL if staleness is None else now - staleness
        self.entry = Stored(value, now, fresh_until, fresh_until + self.stale_for)


class Freshness(RuleBasedStateMachine):
    """Cached tasks and their model."""

    @initialize(
        swr=st.sampled_from([(0, 0), (4, 0), (0, 30), (4, 30)]),
        sie=st.sampled_from([(0, 0), (20, 0), (0, 20), (20, 20)]),
        min_run=st.sampled_from([(0, 0), (60, 0), (0, 60)]),
    )
    def start(self, swr: Any, sie: Any, min_run: Any) -> None:
        self.here = OneProcess()
        self.here.__enter__()
        self.is_down = self.is_unchanged = False
        self.version = 0
        self.models = {
            name: Model(swr[i], sie[i], min_run[i]) for i, name in enumerate(("source", "report"))
        }

        def source() -> Any:
            model = self.models["source"]
            model.runs, model.has_failed = model.runs + 1, self.is_down
            if self.is_down:
                raise Down
            if self.is_unchanged and cache_previous() is not None:
                return NOT_MODIFIED
            self.version += 1
            return self.version

        def report() -> Any:
            model = self.models["report"]
            model.runs += 1
            answer = self.ask("source", "use", None, by_call=True)
            model.staleness, model.has_failed = answer.staleness, answer.error is not None
            if answer.error is not None:
                raise answer.error
            return answer.value

        self.tasks = {"source": self.make(source, cache_tags=("tag",)), "report": self.make(report)}

    def make(self, body: Any, **options: Any) -> Any:
        model = self.models[body.__name__]
        return self.here.task(
            body,
            cache_ttl=TTL,
            cache_stale_while_revalidate=model.swr,
            cache_stale_if_error=model.sie,
            cache_min_run=model.min_run,
            **options,
        )

    def teardown(self) -> None:
        if hasattr(self, "here"):
            self.here.__exit__(None, None, None)

    # Steps are drawn as one thing, most of them reads: rules would come equally often.
    @rule(step=STEPS)
    def step(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("read", name, mode, max_age):
                self.ask(name, mode, max_age)
            case ("time", seconds):
                self.here.clock.advance(seconds)
            case ("source", is_down, is_unchanged):
                self.is_down, self.is_unchanged = is_down, is_unchanged
            case ("invalidate", name, soft):
                self.invalidate(name, soft)

    def invalidate(self, name: str, soft: bool) -> None:
        named: dict[str, Any] = {
            "source": {"task": "source"},
            "tag": {"tags": ["tag"]},
            "report": {"task": "report"},
            "key": {"key": self.tasks["source"].cache.key()},
            "*": {"pattern": "*"},
        }[name]
        self.here.cache.invalidate(**named, soft=soft)
        # What ends the source ends what was made from it.
        for reached in ("report",) if name == "report" else ("source", "report"):
            entry = self.models[reached].entry
            if entry is not None:
                entry.is_soft = entry.is_soft or soft
                entry.is_ended = entry.is_ended or not soft

    def ask(self, name: str, mode: str, max_age: int | None, *, by_call: bool = False) -> Answer:
        """Make a call, check what it got, and let the model follow."""
        task, model, now = self.tasks[name], self.models[name], self.here.clock()
        runs, before, verdict = model.runs, model.entry, model.verdict(now)
        can_be_replaced = model.is_replaceable(now)
        version = self.version
        model.staleness = None
        answer = Answer(None, False)
        try:
            if by_call:
                answer.value = task.cache.call()
            else:
                asked = task.apply_async(cache=mode, cache_max_age=max_age)
                answer.value = asked.get(disable_sync_subtasks=False)
        except (Down, CacheMiss) as error:
            answer.error = error
        answer.has_run = model.runs > runs
        assert model.runs - runs <= 1
        if answer.has_run:
            self.check_run(name, mode, max_age, answer, before, can_be_replaced, version)
        else:
            self.check_answer(model, mode, max_age, answer, verdict, now)
        return answer

    def check_answer(
        self, model: Model, mode: str, max_age: int | None, answer: Answer, verdict: str, now: float
    ) -> None:
        """A stored answer is one that the limits and the caller allow."""
        entry = model.entry
        assert mode not in ("refresh", "bypass"), "it has to run"
        if isinstance(answer.error, CacheMiss):
            assert mode == "only"
            is_good = entry is not None and (max_age is None or now - entry.stored_at <= max_age)
            assert not (verdict == "fresh" and is_good), "it is there"
            return
        assert answer.error is None
        assert entry is not None, "nothing is stored"
        assert answer.value == entry.value
        if max_age is not None:
            assert verdict == "fresh", "a caller with a greatest age gets nothing stale"
            assert now - entry.stored_at <= max_age
        if verdict == "ended":
            assert now <= entry.stands_in_until, "it only stands in for a run that fails"
        assert verdict != "none", "it has ended"
        if verdict != "fresh":
            answer.staleness = max(0.0, now - entry.fresh_until)

    def check_run(
        self,
        name: str,
        mode: str,
        max_age: int | None,
        answer: Answer,
        before: Stored | None,
        can_be_replaced: bool,
        version: int,
    ) -> None:
        """A run was needed; its result, or what stands in for it, is what the caller gets."""
        model, now = self.models[name], self.here.clock()
        verdict = "none" if before is None else model.verdict(now)
        assert mode != "only"
        is_too_old = before is not None and max_age is not None and now - before.stored_at > max_age
        if mode in ("use", "no-store") and verdict == "fresh":
            assert is_too_old, "there was an answer"
        has_failed = model.has_failed
        if has_failed:
            may_stand_in = mode == "use" and model.sie and verdict in ("stale", "ended")
            if may_stand_in and max_age is None and before is not None:
                assert (answer.value, answer.error) == (before.value, None)
                answer.staleness = max(0.0, now - before.fresh_until)
                before.stands_in_until = now + TRY_AGAIN
            else:
                assert isinstance(answer.error, Down)
            return
        assert answer.error is None
        is_renewed = (
            name == "source" and self.is_unchanged and can_be_replaced
            and mode not in ("no-store", "bypass")
        )  # fmt: skip
        if is_renewed:
            assert before is not None
            assert answer.value == before.value, "callers get the old value"
        elif name == "source":
            assert answer.value == version + 1
        if mode in ("no-store", "bypass"):
            return
        is_replacing = mode == "refresh" or verdict != "none"
        if model.min_run and not is_renewed and not is_replacing:
            return
        assert answer.value is not None
        model.store(answer.value, now, model.staleness)


def test_d1_d2_d3_d4_r5_whatever_happens() -> None:
    run_state_machine_as_test(
        Freshness,
        settings=settings(
            max_examples=EXAMPLES or 40,
            stateful_step_count=120,
            derandomize=not EXAMPLES,
            deadline=None,
            phases=(Phase.generate,) if not EXAMPLES else tuple(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )
