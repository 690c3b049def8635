"""Reading, and what happens between two commands: a lost log, a lost reply, a ban (I2, I5, C3)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tta_taskcache.cache.engine.engine import make_engine
from tta_taskcache.cache.engine.parts import Parts
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.plan import run
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.lease import Claim, Lease, Stage
from tta_taskcache.core.events import Lookup
from tta_taskcache.core.options.policy import Policy
from tta_taskcache.core.results.codec import Codecs
from tta_taskcache.errors import CircuitOpen, StoreUnavailable
from tta_taskcache.observability.counters import Counters
from tta_taskcache.stores.memory.l1_cache import L1Cache
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import (
    Bans,
    Command,
    Look,
    Poll,
    ReadBans,
    Release,
    Reply,
    StoreReply,
)
from tta_taskcache.testing import FakeClock

CALL = Call("t", "t:k", Policy(ttl=60.0))

#: Makes of a reply what happened to it on its way.
Meddle = Callable[[Any], Reply]


@dataclass
class Process:
    """An engine, and what happens to the replies to its commands."""

    store: MemoryStore
    meddles: list[tuple[type, Meddle]] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    abandoned: list[tuple[str, str]] = field(default_factory=list)
    name: str = "memory"

    def __post_init__(self) -> None:
        self.engine = make_engine(
            Parts(
                l1=L1Cache(100, 1_000_000, 0.0),
                codecs=Codecs(),
                observe=lambda _: None,
                counters=Counters(),
                abandon=lambda key, owner: self.abandoned.append((key, owner)),
                clock=FakeClock(),
            )
        )

    def next(self, *meddles: tuple[type, Meddle]) -> None:
        """Let these happen, one after the other, each to the next command of its kind."""
        self.commands.clear()
        self.meddles = list(meddles)

    def execute(self, command: Command) -> Reply:
        self.commands.append(command)
        reply = self.store.execute(command)
        if self.meddles and isinstance(command, self.meddles[0][0]):
            return self.meddles.pop(0)[1](reply)
        return reply

    def look(self, call: Call = CALL, owner: str = "", **claim: Any) -> Hit | Miss:
        wish = Claim(**{"owner": owner, "stage": Stage.RUNNING, "ttl": 9.0, **claim})
        return run(self.engine.look(call, "pool", wish if owner else None), self)

    def lease(self, owner: str, **claim: Any) -> Lease:
        found = self.look(owner=owner, **claim)
        assert isinstance(found, Miss)
        assert found.lease is not None
        return found.lease

    def fill(self, position: Position | None, call: Call = CALL) -> None:
        filling = self.engine.writer.fill(call, position, "v", run_seconds=1.0, task_id=None)
        assert run(filling, self)

    def invalidate(self, *names: str) -> None:
        run(self.engine.invalidate(names), self)

    def kinds(self) -> list[type]:
        return [type(command) for command in self.commands]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(100, 1_000_000, FakeClock())


@pytest.fixture
def here(store: MemoryStore) -> Process:
    return Process(store)


@pytest.fixture
def other(store: MemoryStore) -> Process:
    return Process(store)


def as_is(reply: Any) -> Any:
    return reply


def fails(error: Exception) -> Meddle:
    """The command is executed, and its reply is lost."""

    def fail(_: Any) -> Any:
        raise error

    return fail


def plainly_read(looked: StoreReply) -> StoreReply:
    """As a store replies that doesn't know which marks an entry names."""
    return replace(looked, marks={}, own_marks=False)


def lost(looked: StoreReply) -> StoreReply:
    return replace(looked, position=None, marks={}, records=None)


def opened_anew(looked: StoreReply) -> StoreReply:
    return replace(looked, position=Position("another", 0), marks={}, records=None)


def went_back(looked: StoreReply) -> StoreReply:
    assert looked.position is not None
    position = replace(looked.position, sequence=looked.position.sequence - 1)
    return replace(looked, position=position, marks={}, records=None)


@pytest.mark.parametrize("happens", [lost, opened_anew, went_back])
def test_i5_a_log_that_is_lost_before_the_marks_of_other_tags_are_read(
    here: Process, other: Process, happens: Meddle
) -> None:
    """The entry has a tag that the call hasn't: with the log, the mark on it is gone."""
    tagged = replace(CALL, tags=("old",))
    here.fill(here.look(tagged).position, tagged)  # type: ignore[union-attr]
    here.invalidate(marks.of_tag("old"))
    assert other.look() == Miss("invalidated", other.engine.parts.l1.position)
    other.next((Look, plainly_read), (Poll, happens))
    assert other.look(owner="a") == Miss("unavailable", None)
    assert other.abandoned == [("t:k", "a")]


def other_bans(bans: Bans) -> Bans:
    return Bans(Position("another", 0), ())


def older_bans(bans: Bans) -> Bans:
    assert bans.position is not None
    return Bans(replace(bans.position, sequence=bans.position.sequence - 1), ())


@pytest.mark.parametrize("happens", [lambda _: Bans(None, ()), other_bans, older_bans])
def test_i5_a_log_that_is_lost_before_the_bans_are_read(
    here: Process, other: Process, happens: Meddle
) -> None:
    here.fill(here.look().position)  # type: ignore[union-attr]
    here.invalidate(marks.of_pattern("t:*"))
    other.next((Look, as_is), (ReadBans, happens))
    assert other.look() == Miss("unavailable", None)
    assert other.look() == Miss("invalidated", other.engine.parts.l1.position)


# Leases of which nobody knows


def test_c3_a_lost_reply_is_told(here: Process) -> None:
    here.next((Look, fails(StoreUnavailable("late"))))
    assert here.look(owner="a") == Miss("unavailable", None)
    assert here.abandoned == [("t:k", "a")]


def test_c3_a_circuit_that_opens_behind_the_look_is_told(here: Process, other: Process) -> None:
    """Another thread's command failed between the look, which took the lease, and the bans."""
    other.invalidate(marks.of_pattern("x*"))
    here.next((Look, as_is), (ReadBans, fails(CircuitOpen("open"))))
    assert here.look(owner="a") == Miss("unavailable", None)
    assert here.abandoned == [("t:k", "a")]
    assert other.lease("b").is_followed, "it was taken indeed"


def test_c3_what_was_never_sent_is_not_abandoned(here: Process) -> None:
    here.engine.parts.counters(Lookup("t", "k", "pool", "l1", "", 1.0))
    here.next((Look, fails(CircuitOpen("open"))))
    assert here.look(owner="a") == Miss("unavailable", None)
    assert here.abandoned == []
    (look,) = here.commands
    assert isinstance(look, Look)
    assert look.counts
    counted = here.engine.parts.counters.take(here.engine.parts.clock(), interval=0.0)
    assert counted == look.counts, "F2: nothing is lost"


def given(looked: StoreReply) -> StoreReply:
    """As when the entry expires between the reading and the claim."""
    return replace(looked, lease=Lease("a", looked.position, Stage.RUNNING, 9.0))


@pytest.mark.parametrize("is_lost", [False, True])
def test_c3_a_lease_that_came_with_a_hit_is_given_back(here: Process, *, is_lost: bool) -> None:
    here.fill(here.look().position)  # type: ignore[union-attr]
    here.engine.parts.l1.entries.clear()
    ends = fails(StoreUnavailable("late")) if is_lost else as_is
    here.next((Look, given), (Release, ends))
    assert isinstance(here.look(owner="a"), Hit), "F1: what was found is found"
    assert here.commands[-1] == Release("t:k", "a")
    assert here.abandoned == ([("t:k", "a")] if is_lost else [])


def test_c1_an_entry_that_came_late_is_found(here: Process) -> None:
    """It was stored between the reading and the claim, which it made needless."""
    here.fill(here.look().position)  # type: ignore[union-attr]
    here.engine.parts.l1.entries.clear()
    here.next((Look, lambda looked: replace(looked, frame=None)))
    assert isinstance(here.look(owner="a"), Hit)
    assert here.store.execute(Release("t:k", "a")) is False


@pytest.mark.parametrize("mark", [marks.of_tag("old"), marks.of_pattern("t:*")])
def test_c1_what_only_the_process_can_judge_is_led_all_the_same(
    here: Process, other: Process, mark: str
) -> None:
    """The store takes the entry for a good one: it doesn't know its tags, nor of patterns."""
    tagged = replace(CALL, tags=("old",))
    here.fill(here.look(tagged).position, tagged)  # type: ignore[union-attr]
    here.invalidate(mark)
    assert other.lease("a").is_ours
    assert here.lease("b").is_followed


# Claims and bans


def test_i2_a_process_that_has_just_started_joins_nothing_that_was_banned(
    here: Process, store: MemoryStore
) -> None:
    assert here.lease("a").is_ours
    here.invalidate(marks.of_pattern("t:*"))
    assert Process(store).lease("b").is_ours
    assert Process(store).lease("c").is_followed, "what began after the ban"


def test_i2_a_process_that_lags_joins_nothing_that_was_banned(
    here: Process, other: Process
) -> None:
    other.look()
    assert here.lease("a").is_ours
    here.invalidate(marks.of_pattern("t:*"))
    assert other.lease("b").is_ours


def test_i2_nor_does_the_process_that_banned(here: Process) -> None:
    assert here.lease("a").is_ours
    here.invalidate(marks.of_pattern("t:*"))
    assert here.lease("b").is_ours


def test_r3_other_bans_cost_no_second_look(here: Process, other: Process) -> None:
    assert here.lease("a").is_ours
    here.invalidate(marks.of_pattern("x*"))
    other.next()
    assert other.lease("b").is_followed
    assert other.kinds() == [Look, ReadBans]
    other.next()
    assert other.lease("b").is_followed
    assert other.kinds() == [Look], "they are known"
