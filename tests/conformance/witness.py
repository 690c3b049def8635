"""What happens in producers and workers, written down in Redis as it happens.

Every process of the application has the same receivers of Celery's signals, so a task that ran and
a call that was answered from the cache are seen with the same eyes.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from celery import Celery, Task, signals

from tests.support.waiting import wait_until
from tta_taskcache.cache.outcome import Hit
from tta_taskcache.celery.calls.call_request import CallRequest
from tta_taskcache.celery.patches.tracing.trace_effects import UNHEARD
from tta_taskcache.celery.sites import short_way

PUBLISHED, ENDED, NODES, EFFECTS, BODIES = "published", "ended", "nodes", "effects", "bodies"

#: Signals that are noted for each task.
NOTED = ("prerun", "success", "failure", "retry")

#: What differs from run to run: the argument that keeps runs apart, ids, and which of several
#: members that fail ends a chord.
VARIES = re.compile(
    r"run-[0-9a-f]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=Join error: )\w+\(\d+\)"
)

#: Gets what has no order.
UNORDERED = "total"

#: Celery's own, which polls: how often depends on the clock.
POLLING = "celery.chord_unlock"


@dataclass(frozen=True)
class Node:
    """One task as it ended.

    Attributes:
        id: Its id.
        name: Its name, without the kind of task in front.
        call: Its arguments.
        state: As the tracer has it.
        value: What it returned or raised.
        signals: Names of the signals that were sent for it.
        parent: Id of its parent.
        root: Id of its root.
        group: Id of its group.
        index: Its place in that.
        in_chord: Whether a chord counts it.
        children: Ids of what it called.
        body: Ids of the tasks of its chord's body.
        stamps: Its stamped headers.
        delivered: Whether it came with a message.
    """

    id: str
    name: str
    call: str
    state: str
    value: str
    signals: tuple[str, ...]
    parent: str | None
    root: str | None
    group: str | None
    index: int | None
    in_chord: bool
    body: tuple[str, ...]
    children: tuple[str, ...]
    stamps: str
    delivered: bool


class Witness:
    """Writes down and reads what happened."""

    def __init__(self, app: Celery, url: str, *, short: bool = False) -> None:
        self.app = app
        self._short = short
        self._answer = short_way.answer
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self._signals: dict[tuple[str, str, int], list[str]] = {}
        self._connected: list[Any] = []
        self._watched = [
            *((getattr(signals, f"task_{n}"), self._noter(n)) for n in NOTED),
            (signals.before_task_publish, self._published),
            (signals.task_postrun, self._ended),
            (signals.task_revoked, self._revoked),
        ]

    def watch(self) -> None:
        """Connect the receivers in this process."""
        for signal, receiver in self._watched:
            signal.connect(self._unheard(receiver) if self._short else receiver, weak=False)
        if self._short:
            short_way.answer = self._answered

    def _unheard(self, receiver: Any) -> Any:
        """A receiver that doesn't keep hits from the short way."""

        def receive(*args: Any, **kwargs: Any) -> None:
            receiver(*args, **kwargs)

        setattr(receive, UNHEARD, True)
        self._connected.append(receive)
        return receive

    def _answered(
        self, call: CallRequest, hit: Hit, result: Any, options: Any, **ways: Any
    ) -> bool:
        """The short way, which tells no receiver of a hit: it is written down here."""
        is_short = self._answer(call, hit, result, options, **ways)
        if is_short and self._is_mine(call.task):
            self._write(_node_of_hit(call, hit, result.id, options))
        return is_short

    def close(self) -> None:
        """See nothing more: a process may have another application of the same tasks later."""
        for signal, receiver in self._watched:
            signal.disconnect(receiver)
        for signal, _ in self._watched:
            for receive in self._connected:
                signal.disconnect(receive)
        short_way.answer = self._answer
        self.redis.close()

    def _is_mine(self, task: Any) -> bool:
        return getattr(task, "app", None) is self.app

    def _noter(self, name: str) -> Any:
        def note(sender: Any = None, **_: Any) -> None:
            if self._is_mine(sender):
                self._signals.setdefault(_run_of(sender), []).append(name)

        return note

    def _published(self, sender: Any = None, **_: Any) -> None:
        # Signals are global to a process: another app's tasks have other names.
        if sender in self.app.tasks:
            self.redis.incr(PUBLISHED)

    def _ended(self, sender: Any, retval: Any, state: str, **_: Any) -> None:
        if self._is_mine(sender):
            seen = tuple(self._signals.pop(_run_of(sender), ()))
            self._write(_node(sender, sender.request, state, retval, seen))

    def _revoked(self, sender: Any, request: Any, expired: bool, **_: Any) -> None:
        if self._is_mine(sender):
            state = "EXPIRED" if expired else "REVOKED"
            self._write(_node(sender, request, state, None, ("revoked",)))

    def _write(self, node: Node) -> None:
        pipe = self.redis.pipeline()
        if node.name != POLLING:
            pipe.rpush(NODES, json.dumps(node.__dict__))
        if node.delivered:
            pipe.incr(ENDED)
        pipe.execute()

    def ran(self, name: str) -> None:
        """A task's body says so."""
        self.redis.rpush(BODIES, name)

    def wait_for_tries(self, request: Any) -> None:
        """Let the tries before end: Celery stores of each that it is tried again, maybe late."""
        wait_until(
            lambda: sum(node.id == request.id for node in self.nodes()) >= request.retries,
            what="the tries before this one",
        )

    def effect(self, what: str) -> None:
        """Something that isn't a task was called."""
        self.redis.rpush(EFFECTS, what)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Start over; at the end, wait until all that was sent has ended."""
        self.redis.delete(PUBLISHED, ENDED, NODES, EFFECTS, BODIES)
        yield
        wait_until(self._is_quiet, timeout=60, what="the end of all tasks")

    def _is_quiet(self) -> bool:
        ended, published = self.redis.mget(ENDED, PUBLISHED)
        return int(ended or 0) == int(published or 0)

    def nodes(self) -> list[Node]:
        """All tasks that have ended."""
        read = (json.loads(line) for line in self.redis.lrange(NODES, 0, -1))
        return [
            Node(**{name: tuple(v) if isinstance(v, list) else v for name, v in node.items()})
            for node in read
        ]

    def effects(self) -> list[str]:
        return sorted(same(effect) for effect in self.redis.lrange(EFFECTS, 0, -1))

    def bodies(self) -> list[str]:
        """Full names of the tasks whose bodies were run."""
        return self.redis.lrange(BODIES, 0, -1)


def same(text: str) -> str:
    """Without what differs from run to run."""
    return VARIES.sub("…", text)


def short(name: str) -> str:
    """A task's name without its kind."""
    return name.split(".", 1)[1] if name.split(".", 1)[0] != "celery" else name


def _run_of(task: Task) -> tuple[str, str, int]:
    """Which run it is: one that replaces another has its id, and retries may run side by side."""
    return task.request.id, task.name, task.request.retries


def _node(task: Task, request: Any, state: str, value: Any, seen: tuple[str, ...]) -> Node:
    stamped = request.stamped_headers or []
    return Node(
        id=request.id,
        name=short(task.name),
        call=_call(task, request.args, request.kwargs),
        state=state,
        value=_short_repr(value),
        signals=seen,
        parent=request.parent_id,
        root=request.root_id,
        group=request.group,
        index=request.group_index,
        in_chord=request.chord is not None,
        body=tuple(_ids_within(request.chord)),
        children=tuple(_ids(request.children or ())),
        stamps=repr(sorted((name, (request.stamps or {}).get(name)) for name in stamped)),
        delivered=not request.is_eager,
    )


def _node_of_hit(call: CallRequest, hit: Hit, task_id: str, options: Any) -> Node:
    """What a hit on the short way is, by the options of its call."""
    task: Any = call.task
    parent = task.app.current_worker_task
    above = parent.request if parent is not None else None
    return Node(
        id=task_id,
        name=short(task.name),
        call=_call(task, call.args, call.kwargs),
        state="SUCCESS",
        value=_short_repr(hit.value),
        signals=("prerun", "success"),
        parent=options.get("parent_id") or (above and above.id),
        root=options.get("root_id") or (above and (above.root_id or above.id)) or task_id,
        group=options.get("group_id"),
        index=options.get("group_index"),
        in_chord=False,
        body=(),
        children=(),
        stamps="[]",
        delivered=False,
    )


def _call(task: Task, args: Any, kwargs: Any) -> str:
    if short(task.name) == UNORDERED:
        args = [sorted(args[0]), *args[1:]]
    return _short_repr([list(args or ()), dict(kwargs or {})])


def _short_repr(value: Any) -> str:
    """Without what differs from run to run: the kind of a task, and the run."""
    if isinstance(value, dict) and "task" in value and "options" in value:
        return short(value["task"])
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}={_short_repr(v)}' for k, v in sorted(value.items()))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_short_repr, value))}]"
    return same(repr(value))


def _ids_within(signature: Any) -> Iterator[str]:
    """Ids of the tasks of a workflow."""
    if isinstance(signature, dict):
        if "task_id" in signature:
            yield signature["task_id"]
        for value in signature.values():
            yield from _ids_within(value)
    elif isinstance(signature, (list, tuple)):
        for value in signature:
            yield from _ids_within(value)


def _ids(children: Any) -> Iterator[str]:
    for child in children:
        members = getattr(child, "results", None)
        if members is None:
            yield child.id
        else:
            yield from _ids(members)
