"""``warm()`` in the calling process, and as the Celery task ``tta_taskcache.warm``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from celery import Celery, Task
from celery.utils.log import get_logger
from kombu.exceptions import OperationalError

from ...core.arguments.call_spec import CallSpec
from ...core.record import record
from ...core.warm_policy import IN_FLIGHT, Sending, Warm, check_hot
from ...errors import ConfigurationError, StoreUnavailable
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import is_cached
from ..calls.hot_calls import hottest
from ..calls.identification import request_of_sender
from .schedules import WARM, is_my_turn, until_next
from .warm_input import read_calls
from .warm_progress import WarmProgress, WarmReport
from .warmer import Warmer

if TYPE_CHECKING:
    from ..config.runtime import Runtime

logger: logging.Logger = get_logger("tta_taskcache")

#: Most seconds of warming for one message: the next message goes on with it.
SLICE = 30.0

#: A slice ends after so many seconds without an outcome: it may hold the only pool process that
#: could run the calls that it waits for.
STARVED = 2.0

#: Seconds before a slice that couldn't reach Redis or the broker is tried again.
RETRY_IN = 5.0


def find_task(app: Celery, task: Any) -> CacheableTask:
    """Return a cached task, given itself or by name.

    Raises:
        ConfigurationError: There is no such task, or it isn't cached; the message suggests a name.
    """
    name = task if isinstance(task, str) else getattr(task, "name", None)
    found = app.tasks.get(name) if isinstance(name, str) else None
    if is_cached(found):
        return found
    cached = [known for known, one in app.tasks.items() if is_cached(one)]
    near = get_close_matches(name, cached, 1) if isinstance(name, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = "isn't a cached task of" if found is not None else "is unknown to"
    raise ConfigurationError(f"warm(): {name or task!r} {what} this app{hint}")


def sources(task: CacheableTask, calls: Any, hot: int | None) -> Any:
    """Return the calls to warm, as ``read_calls`` takes them.

    Raises:
        ConfigurationError: Not exactly one of ``calls`` and ``hot`` was given, or ``hot`` is wrong.
    """
    if (calls is None) == (hot is None):
        raise ConfigurationError(f"warm({task.name!r}): give either calls or hot=")
    if hot is None:
        return calls
    check_hot(hot, "warm")
    found = hottest(task.cache_runtime, task.name, hot)
    return [asdict(call) for call in found if _is_cacheable(task, call)]


def _is_cacheable(task: CacheableTask, call: CallSpec) -> bool:
    """Whether a hot call is one still: the task may have changed since it was learnt."""
    return request_of_sender(task, call.args, call.kwargs, call.context).call is not None


def horizon(task: CacheableTask, *, hot: bool) -> float:
    """Return the seconds that entries have to stay fresh, when hot calls are warmed by hand."""
    warm: Warm | None = task.cache_policy.warm
    return until_next(warm.every) if hot and warm is not None and warm.hot is not None else 0.0


def warm(
    task: CacheableTask,
    calls: Any,
    hot: int | None,
    sending: Sending,
    report: Callable[[WarmReport], None] = lambda _: None,
) -> WarmReport:
    """Warm calls in this process, until all are done (see ``TaskCache.warm``)."""
    warmer = Warmer(task, sending, horizon=horizon(task, hot=hot is not None), report=report)
    warmer.run(read_calls(sources(task, calls, hot), task.name))
    return warmer.progress.done


@record
class _WarmRequest:
    """The arguments of a message of the task."""

    calls: Any
    hot: int | None
    sending: Sending


@record
class _Slice:
    """A slice of a warming: the part that one message does.

    Attributes:
        warmer: The warmer.
        calls: All calls of the warming.
        kept: The same, if the next message has to carry them; None when the task's policy does.
        horizon: Seconds that entries have to stay fresh.
        sending: Options of sending calls.
        task: The task.
    """

    warmer: Warmer
    calls: Any
    kept: Any
    horizon: float
    sending: Sending
    task: CacheableTask

    @classmethod
    def read(
        cls, task: CacheableTask, warm_request: _WarmRequest, so_far: dict[str, Any] | None
    ) -> _Slice:
        """Read a message.

        Raises:
            ConfigurationError: An argument is wrong.
        """
        calls, hot, sending = warm_request.calls, warm_request.hot, warm_request.sending
        stays_fresh, is_given = horizon(task, hot=hot is not None), False
        if calls is None and hot is None:
            warm = _policy_of(task)
            calls, hot, sending = warm.calls, warm.hot, warm.sending
            stays_fresh, is_given = until_next(warm.every), hot is None
        progress = None
        if so_far is not None:
            stays_fresh, progress = so_far["horizon"], WarmProgress.load(so_far["progress"])
        # Hot calls are read once, and kept: a later slice would read others.
        found = sources(task, calls, hot)
        warmer = Warmer(task, sending, horizon=stays_fresh, progress=progress)
        return cls(warmer, found, None if is_given else found, stays_fresh, sending, task)

    def run(self) -> bool:
        """Warm for one slice. Whether all calls are done."""
        calls = read_calls(self.calls, self.task.name, self.warmer.progress.done.total)
        return self.warmer.run(calls, until=time.monotonic() + SLICE, patience=STARVED)

    def left(self) -> dict[str, Any]:
        """Return the arguments of the message that goes on with the rest."""
        so_far = {"horizon": self.horizon, "progress": self.warmer.progress.dump()}
        sending = asdict(self.sending)
        if not self.sending.refresh:  # a worker of an older version doesn't know it
            del sending["refresh"]
        return {"task": self.task.name, "calls": self.kept, "so_far": so_far} | sending


def register(app: Celery, runtime: Callable[[], Runtime], persistent: dict[str, Any]) -> None:
    """Register the task on an app.

    Args:
        app: The app.
        runtime: Returns the cache of this process.
        persistent: Options of the cache's own tasks.
    """

    @app.task(name=WARM, bind=True, ignore_result=True, **persistent)
    def warm_slice(
        self: Task,
        task: str,
        calls: Any = None,
        *,
        hot: int | None = None,
        rate: float | None = None,
        in_flight: int = IN_FLIGHT,
        queue: str | None = None,
        priority: int | None = None,
        refresh: bool = False,
        turn: list[Any] | None = None,
        so_far: dict[str, Any] | None = None,
    ) -> None:
        """Warm calls for a while, then send the rest as another message.

        Without ``calls`` and ``hot``, warms the calls of the task's ``cache_warm``.
        """
        found = find_task(app, task)
        if so_far is None and not is_my_turn(self, runtime(), turn):
            logger.info("warming %s: another message has come for the same turn", task)
            return
        warm_request = _WarmRequest(
            calls,
            hot,
            Sending(
                rate=rate, in_flight=in_flight, queue=queue, priority=priority, refresh=refresh
            ),
        )
        slice_ = _Slice.read(found, warm_request, so_far)
        try:
            is_done = slice_.run()
        except (StoreUnavailable, OperationalError) as error:
            raise self.retry(exc=error, args=(), kwargs=slice_.left(), countdown=RETRY_IN) from None
        if is_done:
            logger.info("warmed %s: %s", task, slice_.warmer.progress.done)
        else:
            self.apply_async((), slice_.left())


def _policy_of(task: CacheableTask) -> Warm:
    warm: Warm | None = task.cache_policy.warm
    if warm is None:
        raise ConfigurationError(
            f"warm({task.name!r}): give calls or hot=, as the task has no cache_warm"
        )
    return warm
