"""The warmer: makes the calls of a task ahead of demand.

Fresh calls are skipped; the others are sent as ordinary messages of the task, paced, with a bound
on calls in flight. Workers report outcomes (``warm_outcomes``). For a worker that dies, the lease
ends without a result, or at last the message expires.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import inf
from typing import Any

from celery.utils import uuid

from ...cache.outcome import Call, Hit, Miss
from ...cache.runs.request_directives import Mode
from ...core.arguments.call_spec import CallSpec
from ...core.entries.lease import Stage
from ...core.pacing import Pace
from ...core.warm_policy import Sending
from ...errors import ConfigurationError, StoreUnavailable, UncacheableCall, WrongArguments
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import AT_ONCE, is_enabled
from ..calls.identification import request_of_sender
from . import warm_outcomes
from .warm_input import Source
from .warm_outcomes import FAILED, RETRIED, STORED, UNSTORED
from .warm_progress import SentCall, WarmProgress, WarmReport

#: Seconds after which a message that no worker has taken expires, and isn't waited for.
EXPIRES = 3600.0

#: Seconds between two reads of outcomes, at first and at most.
FIRST_PAUSE, LAST_PAUSE = 0.01, 0.2

#: Seconds between two checks of calls without an outcome.
CHECK_EVERY = 2.0


class Warmer:
    """Warms calls of a task.

    Args:
        task: The task.
        sending: Options of sending calls.
        horizon: Seconds that entries have to stay fresh; calls of others run again.
        progress: The progress of an earlier slice to go on with.
        report: Receives the report whenever it has changed.

    Raises:
        ConfigurationError: The task's results aren't cached, or not in a cache that workers share.
    """

    def __init__(
        self,
        task: CacheableTask,
        sending: Sending,
        *,
        horizon: float = 0.0,
        progress: WarmProgress | None = None,
        report: Callable[[WarmReport], None] = lambda _: None,
    ) -> None:
        self._task, self._sending, self._horizon, self._report = task, sending, horizon, report
        self._runtime = task.cache_runtime
        store = self._runtime.warming_store
        if store is None:
            raise ConfigurationError(
                f"warm({task.name!r}): each process of this app caches in its own memory; "
                "set taskcache_url, so that what workers store is there for all"
            )
        if not is_enabled(task):
            raise ConfigurationError(f"warm({task.name!r}): caching is off for this task or app")
        self._store = store
        self._pace = Pace(sending.rate)
        self.progress = progress or WarmProgress()
        if progress is not None:  # the slice before may have sent a call just now
            self._pace.went(time.monotonic())
        self._pause = FIRST_PAUSE
        #: Monotonic seconds of the last outcome, and of the last check.
        self._last_outcome = self._checked = time.monotonic()

    def run(self, calls: Source, *, until: float = inf, patience: float = inf) -> bool:
        """Warm calls until all are done.

        Args:
            calls: The calls that are left.
            until: When to stop (monotonic seconds).
            patience: Seconds without an outcome after which to stop.

        Returns:
            Whether all are done.

        Raises:
            ValueError: A call can't be read, or doesn't fit the task; the message says which.
            StoreUnavailable: Redis can't be reached.
            OperationalError: The broker can't be reached.
        """
        started, before = time.monotonic(), self.progress.done.seconds
        try:
            while batch := list(islice(calls, self._at_once)):
                for spec, call, mode in self._look(batch):
                    if call is not None and mode is not None:
                        if not self._wait_for_room(until, patience):
                            return False
                        self._send(spec, call, mode)
                    self.progress.count(total=1)
                self._report(self.progress.done)
            return self._wait(0, until, patience)
        finally:
            seconds = before + time.monotonic() - started
            self.progress.done = replace(self.progress.done, seconds=seconds)

    @property
    def _at_once(self) -> int:
        """Most calls that are looked up together: with a rate, no more than one second's."""
        return max(1, min(AT_ONCE, int(self._sending.rate or AT_ONCE)))

    def _look(
        self, batch: Sequence[tuple[str, CallSpec]]
    ) -> Iterator[tuple[CallSpec, Call | None, Mode | None]]:
        """Yield each call with the mode to make it with; None skips it, and it is counted."""
        called = [(spec, self._identify(where, spec)) for where, spec in batch]
        calls = [call for _, each in called for call in each or ()]
        engine = self._runtime.engine
        found = iter(self._runtime.run(engine.reader.find_many(calls, [None] * len(calls))))
        for spec, each in called:
            call, mode = None, None
            for one in each or ():
                # Of a batch, the first item that is missing stands for it, or else one that is due.
                needed = self._mode(next(found))
                if needed is not None and (mode is None or (needed == "use" and mode != "use")):
                    call, mode = one, needed
            if each is None:
                self.progress.count(uncacheable=1)
            elif mode is None:
                self.progress.count(fresh=1)
            yield spec, call, mode

    def _identify(self, where: str, spec: CallSpec) -> Sequence[Call] | None:
        """Return the call, or those of a batch's items; None when it has no key."""
        try:
            call_request = request_of_sender(self._task, spec.args, spec.kwargs, spec.context)
            if call_request.policy.each is not None:
                return call_request.identified_batch().calls
            return (call_request.identified(),)
        except WrongArguments as error:
            raise ValueError(f"{where}: {error}") from None
        except UncacheableCall:
            return None

    def _mode(self, found: Hit | Miss) -> Mode | None:
        """Return the mode to make a call with; None when its entry is fresh for long enough."""
        if isinstance(found, Miss):
            if found.reason == "unavailable":
                raise StoreUnavailable(f"{self._runtime.store.name}: can't be read")
            return "use"
        if self._sending.refresh:
            return "refresh"
        if found.verdict.is_stale:
            return "revalidate"
        return "refresh" if found.fresh_left < self._horizon else None

    def _send(self, spec: CallSpec, call: Call, mode: Mode) -> None:
        task_id = uuid()
        how: dict[str, Any] = {"queue": self._sending.queue, "priority": self._sending.priority}
        self._pace.went(time.monotonic())
        self.progress.flight[task_id] = SentCall(call.key, mode, time.time())
        try:
            result = self._task.apply_async(
                spec.args,
                spec.kwargs,
                task_id=task_id,
                cache=mode,
                headers={**spec.context, **warm_outcomes.header(self.progress.run, call.key)},
                ignore_result=True,
                add_to_parent=False,
                expires=EXPIRES,
                **{name: value for name, value in how.items() if value is not None},
            )
        except BaseException:
            del self.progress.flight[task_id]
            raise
        if result.cache_status.hit and not self._task.app.conf.task_always_eager:
            del self.progress.flight[task_id]  # it was stored since its lookup
            self.progress.count(fresh=1)
        else:
            self.progress.count(sent=1)

    def _wait_for_room(self, until: float, patience: float) -> bool:
        if not self._wait(self._sending.in_flight - 1, until, patience):
            return False
        while pause := self._pace.wait(now := time.monotonic()):
            if now + pause > until:
                return False
            if not self._collect():
                time.sleep(min(pause, LAST_PAUSE))
        return True

    def _wait(self, most: int, until: float, patience: float) -> bool:
        """Wait until no more than ``most`` calls are in flight."""
        while len(self.progress.flight) > most:
            if self._collect():
                self._pause = FIRST_PAUSE
                continue
            now = time.monotonic()
            if now > until or now - self._last_outcome > patience:
                return False
            time.sleep(self._pause)
            self._pause = min(2 * self._pause, LAST_PAUSE)
        return True

    def _collect(self) -> bool:
        """Read outcomes. Whether there were any."""
        now, before = time.monotonic(), self.progress.done
        done = False
        for record in self._store.take_outcomes(self.progress.run):
            task_id, _, outcome = record.partition(" ")
            done = self._end(task_id, outcome) or done
        if not done and now - self._checked >= CHECK_EVERY:
            self._checked = now
            self._check(time.time())
        if done or self.progress.done != before:
            self._last_outcome = now
            self._report(self.progress.done)
            return True
        return False

    def _end(self, task_id: str, outcome: str) -> bool:
        sent = self.progress.flight.get(task_id)
        if sent is None:
            return False
        if outcome == RETRIED:
            sent.retried = True
            return True
        if outcome in (STORED, UNSTORED, FAILED, "lost"):
            del self.progress.flight[task_id]
            self.progress.count(**{outcome: 1})
        return True

    def _check(self, now: float) -> None:
        """Check the leases and entries of calls without an outcome."""
        waiting = {i: s for i, s in self.progress.flight.items() if now - s.at >= CHECK_EVERY}
        if not waiting:
            return
        stages = self._store.stages([sent.key for sent in waiting.values()])
        stored = self._stored([sent.key for sent in waiting.values()])
        for (task_id, sent), stage, age in zip(waiting.items(), stages, stored, strict=True):
            if stage in (Stage.QUEUED, Stage.RUNNING):
                sent.led, sent.gone = True, 0
            elif age is not None and age <= now - sent.at:
                self._end(task_id, STORED)  # a slice that has died had read the outcome
            elif sent.led and not sent.retried:
                sent.gone += 1
            if sent.gone > 1 or (stage is None and now - sent.at > EXPIRES + CHECK_EVERY):
                self._end(task_id, "lost")

    def _stored(self, keys: Sequence[str]) -> list[float | None]:
        """Return for each key the age of its entry (s); None without a fresh one."""
        engine, policy = self._runtime.engine, self._task.cache_policy
        calls = [Call(self._task.name, key, policy) for key in keys]
        found = self._runtime.run(engine.reader.find_many(calls, [None] * len(calls)))
        return [
            hit.age if isinstance(hit, Hit) and not hit.verdict.is_stale else None for hit in found
        ]
