"""Learning from traffic which calls of a task are asked for most (``cache_warm=Warm(hot=…)``).

Each process counts for a while in bounded memory, then a thread adds what was counted to the counts
in Redis, which decay: no request waits for that. It is a statistic: what is interrupted, or counted
by two threads at once, may be lost.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from billiard.exceptions import SoftTimeLimitExceeded
from kombu.utils.json import dumps, loads

from ...cache.refresher import VERIFY
from ...core.call_spec import CallSpec, parse_call_spec
from ...core.events import Fault
from ...core.space_saving import SpaceSaving
from ...errors import StoreUnavailable
from ...stores.warming_store import WarmingStore, capacity_for

if TYPE_CHECKING:
    from ...cache.outcome import Call
    from ..config.runtime import Runtime
    from .call_request import CallRequest

#: Seconds that a process counts before it adds that to the counts in Redis.
FLUSH_EVERY = 5.0

#: Who adds to a tally holds its lock for microseconds, or for ever (s).
LOCKED_FOR = 1.0

#: Larger calls aren't learnt: their arguments are kept, those of 20 calls for each hot one.
MAX_CALL_BYTES = 2_048

#: In the headers of messages that warm: those are no traffic.
WARM_HEADER = "taskcache_warm"


class HotCallTally:
    """What was counted of one task since the last flush."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._counted = SpaceSaving(capacity)
        self._calls: dict[str, str | None] = {}
        # Nobody waits for it, and it goes with the tally: one that is never released again, since
        # a time limit struck or a process forked, costs the counts of some seconds.
        self._lock = threading.Lock()

    def add(self, key: str, call_request: CallRequest) -> None:
        """Count a call, unless another thread is at it."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if key not in self._calls:
                self._calls[key] = _text(call_request)
            loser = self._counted.add(key)
            if loser is not None:
                self._calls.pop(loser, None)
        finally:
            self._lock.release()

    def counted(self) -> list[tuple[str, int, str]]:
        """Keys that were counted, how often at least, and their calls; the first first.

        Nothing is counted any more from then on.
        """
        if not self._lock.acquire(timeout=LOCKED_FOR):
            return []
        return [
            (hot.key, hot.count - hot.error, call)
            for hot in self._counted.top(self.capacity)
            if (call := self._calls.get(hot.key)) is not None
        ]


class HotCallRecorder:
    """The tallies of one cache in this process."""

    def __init__(self) -> None:
        self._tallies: dict[str, HotCallTally] = {}
        _all.add(self)

    def forget(self) -> None:
        """Forget what was counted: in a forked child it is the parent's."""
        self._tallies = {}

    def add(self, call_request: CallRequest, call: Call, hot: int, runtime: Runtime) -> None:
        """Count a call; what was counted is handed over soon."""
        tally = self._tallies.get(call.task)
        if tally is None:
            tally = self._begin(call.task, hot, runtime)
        try:
            tally.add(call.key, call_request)
        except BaseException:  # a time limit may have struck between two changes
            self._tallies.pop(call.task, None)
            raise

    def _begin(self, task: str, hot: int, runtime: Runtime) -> HotCallTally:
        mine = HotCallTally(capacity_for(hot))
        timer = threading.Timer(FLUSH_EVERY, self._end, (task, mine, runtime))
        timer.daemon = True
        # First: if a time limit strikes in between, a timer without a tally does no harm.
        timer.start()
        return self._tallies.setdefault(task, mine)

    def _end(self, task: str, tally: HotCallTally, runtime: Runtime) -> None:
        if self._tallies.get(task) is tally:
            self._tallies.pop(task, None)
            _hand_over(task, tally, runtime)

    def flush(self, runtime: Runtime) -> None:
        """Hand over what was counted so far, before the process ends."""
        while self._tallies:
            task, tally = self._tallies.popitem()
            _hand_over(task, tally, runtime)


#: Those of all caches of this process.
_all: WeakSet[HotCallRecorder] = WeakSet()


def _forget_all() -> None:
    for hot_call_recorder in list(_all):
        hot_call_recorder.forget()


os.register_at_fork(after_in_child=_forget_all)


def is_request(headers: Mapping[str, Any] | None, retries: int | None) -> bool:
    """Whether somebody asks for a call with these headers now: it is no retry, and no warming's."""
    return not retries and WARM_HEADER not in (headers or ())


def record_hot_call(call_request: CallRequest, call: Call) -> None:
    """Count a request for a call, if its task learns which are hot.

    Raises nothing but the task's own soft time limit, if that strikes here.

    Args:
        call_request: The call as it was made.
        call: The call as it was identified.
    """
    warm = call.policy.warm
    if warm is None or warm.hot is None:
        return
    try:
        cache = call_request.task.taskcache()
        if (
            call_request.is_request
            and call_request.mode in ("use", "only", VERIFY)
            and cache.runtime.is_shared
        ):
            cache.hot_call_recorder.add(call_request, call, warm.hot, cache.runtime)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        call_request.task.taskcache().runtime.observe(Fault(call.task, "note", error))


def _hand_over(task: str, tally: HotCallTally, runtime: Runtime) -> None:
    counted = tally.counted()
    aside = warming_store_of(runtime)
    if counted and aside is not None:
        with suppress(StoreUnavailable):  # the breaker has told it; counting goes on
            aside.count_hot(task, counted, tally.capacity)


def warming_store_of(runtime: Runtime) -> WarmingStore | None:
    """What warming keeps in the cache's Redis; None when each process has a cache of its own."""
    return WarmingStore(runtime.store, runtime.settings.namespace) if runtime.is_shared else None


def hottest(runtime: Runtime, task: str, number: int) -> list[CallSpec]:
    """The most requested calls of a task, the first first; what can't be read is left out.

    Raises:
        StoreUnavailable: Redis can't be reached.
    """
    aside, calls = warming_store_of(runtime), []
    for call in aside.hottest(task, number) if aside else ():
        with suppress(ValueError):
            calls.append(parse_call_spec(loads(call)))
    return calls


def _text(call_request: CallRequest) -> str | None:
    """A call as it is kept; None for what isn't: messages of this task hold more than JSON does."""
    call: dict[str, Any] = {"args": list(call_request.args), "kwargs": dict(call_request.kwargs)}
    declared = call_request.task.taskcache_keyer().policy.vary
    vary = {name: call_request.context[name] for name in declared if name in call_request.context}
    if vary:
        call["context"] = vary
    try:
        text = dumps(call)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) <= MAX_CALL_BYTES else None
