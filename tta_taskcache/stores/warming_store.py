"""What warming keeps in Redis beside the cache itself; losing any of it costs nothing but work.

::

    ns:w:{run}     list: what came of the calls of a warming, as workers tell it
    ns:h:{task}    sorted set: counts of a task's most requested calls
    ns:hc:{task}   hash: those calls, and when the counts last decayed
    ns:t:{name}    hash: when a schedule was last acted upon, and by which message
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import methodcaller
from typing import Any, TypeVar
from urllib.parse import quote

from ..core.lease import Stage
from .key_layout import Layout
from .protocol import ClientCall, Store
from .scripts import script

T = TypeVar("T")

#: Receipts that nobody collects are kept for so long (s).
OUTCOMES_KEPT = 3600

#: Receipts that are collected at once.
AT_ONCE = 1_000

#: Counts of hot calls halve in this time; what nobody asked for in eight of them is forgotten (s).
HALF_LIFE = 3600
HOT_KEPT = 8 * HALF_LIFE

#: Counters for each hot call that is wanted, and at least: of the top 100 of a web shop's requests,
#: 4 a call found 68, 10 found 97, 20 found 99.
SPARE, LEAST_CAPACITY = 20, 200

#: Calls that are counted at once: Redis does nothing else meanwhile.
COUNTED_AT_ONCE = 200

#: A turn is remembered for a day more than its length (s).
TURN_KEPT = 86_400

_COUNT_HOT = script("count_hot")
_TAKE_TURN = script("take_turn")


def capacity_for(hot: int) -> int:
    """Counters that are needed to tell that many of the most requested calls."""
    return max(LEAST_CAPACITY, SPARE * hot)


@dataclass(frozen=True, slots=True)
class Turn:
    """A message's turn on a schedule.

    Attributes:
        is_taken: Whether the message is to do the work.
        late: Seconds by which it was sent before the message of the turn before.
    """

    is_taken: bool
    late: float


@dataclass(frozen=True, slots=True)
class WarmingStore:
    """These commands, by way of the store: behind its breaker, within its timeout (promise F1).

    Attributes:
        store: The store, of Redis.
        namespace: In front of all keys.
    """

    store: Store
    namespace: str

    def _run(self, act: Callable[[Any], T]) -> T:
        """Act on the client.

        Raises:
            StoreUnavailable: Redis could not be reached, or refused.
        """
        done: Any = self.store.execute(ClientCall(act))
        reply: T = done
        return reply

    def add_outcome(self, run: str, record: str) -> None:
        """Tell what came of a call.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        name = f"{self.namespace}:w:{{{run}}}"

        def act(client: Any) -> None:
            pipe = client.pipeline(transaction=False)
            pipe.rpush(name, record).expire(name, OUTCOMES_KEPT)
            pipe.execute()

        self._run(act)

    def take_outcomes(self, run: str) -> list[str]:
        """What workers have told since the last time.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        name = f"{self.namespace}:w:{{{run}}}"
        taken = self._run(lambda client: client.lpop(name, AT_ONCE))
        return [record.decode(errors="replace") for record in taken or ()]

    def stages(self, keys: Sequence[str]) -> list[Stage | None]:
        """Which stage the leases of keys are at; None where there is no lease.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        at = Layout(self.namespace)

        def act(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.hget(at.lease(key), "stage")
            replies: list[Any] = pipe.execute()
            return replies

        known = {stage.value.encode(): stage for stage in Stage}
        return [known.get(stage) for stage in self._run(act)]

    def _hot(self, task: str) -> tuple[str, str]:
        name = quote(task, safe="")
        return f"{self.namespace}:h:{{{name}}}", f"{self.namespace}:hc:{{{name}}}"

    def count_hot(self, task: str, counted: Iterable[tuple[str, int, str]], capacity: int) -> None:
        """Add to the counts of a task's most requested calls.

        Args:
            task: The task's name.
            counted: Keys, how often they were asked for, and their calls.
            capacity: Most calls that are kept.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        bounds, left = (capacity, HALF_LIFE, HOT_KEPT), iter(counted)
        while batch := list(islice(left, COUNTED_AT_ONCE)):
            arguments = (*self._hot(task), *bounds, *chain.from_iterable(batch))
            self._run(methodcaller("eval", _COUNT_HOT, 2, *arguments))

    def hottest(self, task: str, number: int) -> list[str]:
        """The most requested calls of a task, the first first.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        counts, calls = self._hot(task)

        def act(client: Any) -> list[Any]:
            keys = client.zrevrange(counts, 0, number - 1)
            names = [b"c:" + key for key in keys]
            return client.hmget(calls, names) if names else []

        return [call.decode(errors="replace") for call in self._run(act) if call is not None]

    def take_turn(
        self, name: str, at: float, gap: float, owner: str, first: float | None = None
    ) -> Turn:
        """Whether a message is to do what a schedule asks for: no other has for this turn.

        Args:
            name: The schedule's name.
            at: When the message was sent (Unix seconds).
            gap: Least seconds between two turns.
            owner: Id of the message.
            first: When its turn may have been taken first, if that is before ``at``.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        key = f"{self.namespace}:t:{{{quote(name, safe='')}}}"
        arguments = (at, gap, owner, int(gap) + TURN_KEPT, at if first is None else first)
        is_taken, late = self._run(lambda client: client.eval(_TAKE_TURN, 1, key, *arguments))
        return Turn(bool(is_taken), float(late))
