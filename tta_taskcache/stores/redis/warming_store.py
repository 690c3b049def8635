"""The warming's data in Redis, beside the cache itself; losing any of it costs nothing but work.

::

    ns:w:{run}     list: outcomes of a warming's calls, as workers report them
    ns:h:{task}    sorted set: counts of a task's most requested calls
    ns:hc:{task}   hash: those calls, and when the counts last decayed
    ns:t:{name}    hash: when a schedule's last turn was taken, and by which message
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from operator import methodcaller
from typing import Any, TypeVar
from urllib.parse import quote

from ...core.entries.lease import Stage
from ...core.record import record
from ..exchanges.key_layout import Layout
from ..exchanges.scripts import script
from ..protocol import ClientCall, Store

T = TypeVar("T")

#: Seconds that unread outcomes are kept.
OUTCOMES_KEPT = 3600

#: Most outcomes that are read at once.
AT_ONCE = 1_000

#: Seconds in which counts of hot calls halve, and after which unrequested calls are dropped.
HALF_LIFE = 3600
HOT_KEPT = 8 * HALF_LIFE

#: Counters for each hot call, and least counters: of the top 100 of a web shop's requests, 4 a call
#: found 68, 10 found 97, 20 found 99.
SPARE, LEAST_CAPACITY = 20, 200

#: Most calls that are counted at once, as Redis does nothing else meanwhile.
COUNTED_AT_ONCE = 200

#: Seconds that a turn is remembered, beyond its length.
TURN_KEPT = 86_400


def capacity_for(hot: int) -> int:
    """Return the number of counters that finding so many hot calls needs."""
    return max(LEAST_CAPACITY, SPARE * hot)


@record
class Turn:
    """A message's turn on a schedule.

    Attributes:
        is_taken: Whether the message is to do the work.
        late: Seconds by which it was sent before the message of the turn before.
    """

    is_taken: bool
    late: float


@record
class WarmingStore:
    """The warming's commands, behind the store's breaker and within its timeout (promise F1).

    Attributes:
        store: The store on Redis.
        namespace: Prefix of all keys.
    """

    store: Store
    namespace: str

    def _run(self, act: Callable[[Any], T]) -> T:
        """Call a function with the client.

        Raises:
            StoreUnavailable: Redis can't be reached, or refused.
        """
        done: Any = self.store.execute(ClientCall(act))
        reply: T = done
        return reply

    def add_outcome(self, run: str, record: str) -> None:
        """Report the outcome of a call to its warming.

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
        """Take the outcomes that workers have reported since the last time.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        name = f"{self.namespace}:w:{{{run}}}"
        taken = self._run(lambda client: client.lpop(name, AT_ONCE))
        return [record.decode(errors="replace") for record in taken or ()]

    def stages(self, keys: Sequence[str]) -> list[Stage | None]:
        """Return the stages of the keys' leases; None for no lease.

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
            counted: Keys, their counts, and their calls.
            capacity: Most calls that are kept.

        Raises:
            StoreUnavailable: Redis can't be reached.
        """
        bounds, left = (capacity, HALF_LIFE, HOT_KEPT), iter(counted)
        while batch := list(islice(left, COUNTED_AT_ONCE)):
            arguments = (*self._hot(task), *bounds, *chain.from_iterable(batch))
            self._run(methodcaller("eval", script("count_hot"), 2, *arguments))

    def hottest(self, task: str, number: int) -> list[str]:
        """Return the most requested calls of a task, most requested first.

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
        """Take a schedule's turn for a message, unless another has taken it.

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
        is_taken, late = self._run(
            lambda client: client.eval(script("take_turn"), 1, key, *arguments)
        )
        return Turn(bool(is_taken), float(late))
