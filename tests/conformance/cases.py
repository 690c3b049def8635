"""Workflows by name: each is made of tasks of one kind, by `Build`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery, chain, chord, group, uuid
from celery.app import base as celery_base
from celery.canvas import Signature, StampingVisitor

#: Celery's tasks take models, which is so since 5.5.
TAKES_MODELS = hasattr(celery_base, "pydantic_wrapper")


@dataclass
class Build:
    """Makes signatures of the tasks of one kind."""

    app: Celery
    kind: str
    run: str

    def __getattr__(self, name: str) -> Callable[..., Signature]:
        task = self.app.tasks[f"{self.kind}.{name}"]
        return lambda *args, **kwargs: task.s(*args, run=self.run, **kwargs)

    def task(self, name: str) -> Any:
        return self.app.tasks[f"{self.kind}.{name}"]

    def of_this_run(self, *xs: int) -> list[list[Any]]:
        """Items for `map`, which passes each as one argument."""
        return [[x, self.run] for x in xs]

    def pairs(self, *xs: int) -> list[tuple[int, int, str]]:
        """Items for `starmap`."""
        return [(x, 10, self.run) for x in xs]

    def errback(self, what: str) -> Signature:
        return self.app.tasks["plain.errback"].s(what=what)

    def adds(self, *xs: int) -> list[Signature]:
        return [self.add(x) for x in xs]


#: What is built is called: with `apply_async`, unless it calls itself and is the result.
Case = Callable[[Build], Any]


class Stamp(StampingVisitor):
    """Gives every task a stamp."""

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"stamped_headers": ["who"], "who": "me"}


def _linked(sig: Signature, *callbacks: Any, error: Any = None) -> Signature:
    for callback in callbacks:
        sig.link(callback)
    if error is not None:
        sig.link_error(error)
    return sig


def _stamped(sig: Any) -> Any:
    sig.stamp(Stamp())
    return sig


def _soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


CANVASES: dict[str, Case] = {
    "one": lambda b: b.add(1, 2),
    "link": lambda b: _linked(b.add(1), b.note("a")),
    "several links": lambda b: _linked(b.add(1), b.note("a"), b.more(5), b.note("b")),
    "link of a chain": lambda b: _linked(b.add(1), chain(b.more(1), b.more(2))),
    "link of a group": lambda b: _linked(b.add(1), group(b.more(1), b.more(2))),
    "link_error": lambda b: _linked(b.fails(1), b.note("no"), error=b.errback("e")),
    "link_error that is sent": lambda b: _linked(b.fails(1), error=b.told("e")),
    "link_error unneeded": lambda b: _linked(b.add(1), b.note("a"), error=b.errback("e")),
    "immutable": lambda b: chain(b.add(1), b.add(2).set(immutable=True), b.more(1)),
    "chain": lambda b: chain(b.add(1), b.more(2), b.more(3)),
    "chain of equal steps": lambda b: chain(b.add(1), b.more(), b.more(), b.more()),
    "chain with links": lambda b: chain(
        _linked(b.add(1), b.note("a")), _linked(b.more(1), b.note("b")), b.more(2)
    ),
    "chain that fails": lambda b: _linked(
        chain(b.add(1), b.spoil(), b.more(2)), error=b.errback("e")
    ),
    "group": lambda b: group(b.adds(0, 1, 2, 3)),
    "group of equal calls": lambda b: group(b.adds(1, 1, 1)),
    "group with a failure": lambda b: group(b.add(1), b.fails(2), b.add(3)),
    "chord": lambda b: chord(b.adds(0, 1, 2, 3), b.collect()),
    "chord of one": lambda b: chord([b.add(7)], b.collect()),
    "chord of equal calls": lambda b: chord(b.adds(2, 1, 2, 1), b.collect()),
    "chord, error in its header": lambda b: chord(
        [b.add(1), b.fails(2)], _linked(b.collect(), b.note("no"), error=b.errback("e"))
    ),
    "chord, error in its body": lambda b: chord(
        b.adds(1, 2), _linked(b.spoil(), error=b.errback("e"))
    ),
    "chord with links": lambda b: chord(
        [_linked(b.add(1), b.note("a")), b.add(2)], _linked(b.collect(), b.note("b"))
    ),
    "chord in a chain": lambda b: chain(group(b.adds(1, 2)), b.collect(), b.more(10)),
    "chain of groups": lambda b: chain(
        b.add(1), group(b.more(1), b.more(2)), b.collect(), group(b.more(3), b.more(4))
    ),
    "group of chains": lambda b: group(chain(b.add(i), b.more(i), b.more(1)) for i in range(3)),
    "group of chords": lambda b: group(chord(b.adds(i, i + 1), b.collect()) for i in range(2)),
    "chord of chains": lambda b: chord(
        [chain(b.add(i), b.more(i)) for i in range(3)], chain(b.collect(), b.more(1))
    ),
    "chord in a chord": lambda b: chord([chord(b.adds(1, 2), b.collect()), b.add(3)], b.collect()),
    "group in a group": lambda b: group(b.add(1), group(b.add(2), chain(b.add(3), b.more(1)))),
    "stamped": lambda b: _stamped(chain(b.add(1), group(b.more(1), b.more(2)), b.collect())),
}


def _returns(which: int) -> Case:
    return lambda b: _linked(b.returns(which), b.note("a"))


FEATURES: dict[str, Case] = {
    "map": lambda b: b.task("double").map(b.of_this_run(1, 2, 1)),
    "starmap": lambda b: _linked(b.task("scale").starmap(b.pairs(1, 2, 1)), b.collect()),
    "chunks": lambda b: b.task("scale").chunks(b.pairs(1, 2, 3, 1, 2), 2),
    "chunks in a chord": lambda b: chord(
        b.task("scale").chunks(b.pairs(1, 2, 3), 2).group(), b.collect()
    ),
    "replace": lambda b: _linked(b.replaced(1), b.note("a")),
    "replace by a chain": lambda b: chain(b.replaced_by_chain(1), b.more(1)),
    "replace by a group": lambda b: chain(b.replaced_by_group(1), b.collect()),
    "replace in a chord": lambda b: chord([b.replaced(1), b.add(5)], b.collect()),
    "add_to_chord": lambda b: chord([b.adds_to_chord(1), b.add(5)], b.total()),
    "retry": lambda b: _linked(b.retried(1), b.note("a")),
    "retry in a chord": lambda b: chord([b.retried(1), b.add(2)], b.collect()),
    "autoretry": lambda b: chain(b.autoretried(1), b.more(1)),
    "retries in vain": lambda b: _linked(b.in_vain(1), error=b.errback("e")),
    "Ignore": lambda b: _linked(b.ignores(1), b.note("no")),
    "Reject": lambda b: _linked(b.rejects(1), b.note("no")),
    "expires": lambda b: _linked(b.add(1).set(expires=60.0), b.note("a")),
    "expires at": lambda b: b.add(1).set(expires=_soon()),
    "expired": lambda b: _linked(b.add(1).set(expires=-1.0), b.note("no")),
    "countdown": lambda b: _linked(b.add(1).set(countdown=0.05), b.note("a")),
    "countdown in a chain": lambda b: chain(b.add(1), b.more(1).set(countdown=0.05), b.more(2)),
    "ignore_result": lambda b: _linked(b.add(1).set(ignore_result=True), b.note("a")),
    "task_id": lambda b: _linked(b.add(1).set(task_id=uuid()), b.note("a")),
    "acks_late": lambda b: _linked(b.late(1), b.note("a")),
    "track_started": lambda b: b.tracked(1),
    "rate_limit": lambda b: group(b.limited(i) for i in range(5)),
    "time_limit": lambda b: _linked(b.timed(1), b.note("a")),
    "time_limit of a call": lambda b: b.add(1).set(time_limit=60, soft_time_limit=50),
    "ignore_result of a task": lambda b: chain(b.ignored(1), b.more(1)),
    "no events": lambda b: b.silent(1),
    "priority": lambda b: _linked(b.add(1).set(priority=3), b.note("a")),
    "bound": lambda b: _linked(b.bound(1), b.note("a")),
    "class-based": lambda b: chain(b.classy(1), b.more(1)),
    **({"pydantic": lambda b: b.modelled({"x": 1, "y": 2})} if TAKES_MODELS else {}),
    **{f"returns value {i}": _returns(i) for i in range(7)},
}
