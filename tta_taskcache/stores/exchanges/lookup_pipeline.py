"""The lookup pipeline on Redis, for one entry or many: its commands, and their replies.

On one server a lookup is a single round trip: the time that remains of each entry, the log's state
with all marks that can end one, the entries, and the claims. In a cluster claims take a second
round trip, as the position of their leases is on the log's node; and the marks that an entry names
itself can't be read along with it there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any

from ...core.entries.entry import HEADER_BYTES
from ...core.entries.lease import Claim, Lease
from ...core.entries.marks import soft
from ...core.record import record
from ..protocol import Look, StoreReply
from . import claim_arguments
from .key_layout import Layout
from .log_state import State, read_marks
from .scripts import script


class _Evaluator:
    """Queues scripts: the text once, and then its hash, where one server runs them all.

    Args:
        pipe: The pipeline.
        is_one_server: Whether one server runs them all.
    """

    def __init__(self, pipe: Any, *, is_one_server: bool) -> None:
        self._pipe = pipe
        self._is_one_server = is_one_server
        self._sent: set[str] = set()

    def __call__(self, text: str, keys: Sequence[str], arguments: Sequence[Any]) -> None:
        if text in self._sent:
            self._pipe.evalsha(_hash_of(text), len(keys), *keys, *arguments)
            return
        self._pipe.eval(text, len(keys), *keys, *arguments)
        if self._is_one_server:
            self._sent.add(text)


@lru_cache
def _hash_of(text: str) -> str:
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


@record
class Looks:
    """Several looks at once.

    Attributes:
        at: Names of the keys in Redis.
        looks: The looks.
        is_one_node: Whether entries and log are on one node.
    """

    at: Layout
    looks: Sequence[Look]
    is_one_node: bool = True

    @property
    def marks(self) -> tuple[str, ...]:
        """Names of all marks, each once."""
        if len(self.looks) == 1:
            return self.looks[0].marks
        return tuple(dict.fromkeys(name for look in self.looks for name in look.marks))

    @property
    def are_claims(self) -> bool:
        """Whether any look makes a claim."""
        return any(look.claim is not None for look in self.looks)

    def queue(self, pipe: Any, ask: Callable[[], None], state: State | None) -> None:
        """Queue the commands.

        Args:
            pipe: A pipeline.
            ask: Queues the commands that read the log's state.
            state: The log's state, if it was read before.
        """
        # PTTL before GET: a newer entry only gets less time this way.
        for look in self.looks:
            pipe.pttl(self.at.entry(look.key))
        ask()
        for look in self.looks:
            pipe.get(self.at.entry(look.key))
        # By its hash once the server has seen a text; a cluster has many servers.
        evaluate = _Evaluator(pipe, is_one_server=self.is_one_node)
        for look in self.looks:
            if self._reads_own(look):
                evaluate(
                    script("own_marks", "look_at_own_marks"),
                    [self.at.entry(look.key), self.at.control],
                    [],
                )
        for look in self.looks:
            if look.claim is not None:
                self._claim(evaluate, look, look.claim, state)

    def _claim(self, evaluate: _Evaluator, look: Look, claim: Claim, state: State | None) -> None:
        arguments = claim_arguments.arguments(claim, own_marks=self._reads_own(look))
        keys = [self.at.entry(look.key), self.at.lease(look.key)]
        if state is None:
            keys.append(self.at.control)
            arguments += look.marks
        else:
            newest = max((state.marks.get(name, 0) for name in look.marks), default=0)
            arguments += [state.position.incarnation, state.position.sequence, newest]
        evaluate(
            script("own_marks", "take") if self._reads_own(look) else script("take"),
            keys,
            arguments,
        )

    def read(
        self, replies: list[Any], read_state: Callable[[list[Any]], State | None]
    ) -> list[StoreReply] | None:
        """Read the replies off the end of a pipeline's; None without a usable log.

        Args:
            replies: The pipeline's replies.
            read_state: Reads the log's state off their end.
        """
        leases = [self._lease(look, replies) for look in reversed(self.looks)][::-1]
        own = [replies.pop() if self._reads_own(look) else None for look in reversed(self.looks)]
        frames = _take(replies, len(self.looks))
        state = read_state(replies)
        if state is None:
            return None
        remaining = _take(replies, len(self.looks))
        return [
            StoreReply(
                position=state.position,
                frame=frame,
                remaining=left / 1000,
                marks=_marks_of(look, state.marks) | _own_marks(frame, named),
                records=state.records,
                banned=state.banned,
                lease=lease,
                own_marks=_is_of(frame, named),
            )
            for look, frame, left, lease, named in zip(
                self.looks, frames, remaining, leases, reversed(own), strict=True
            )
        ]

    def _reads_own(self, look: Look) -> bool:
        return look.own_marks and self.is_one_node

    def _lease(self, look: Look, replies: list[Any]) -> Lease | None:
        return None if look.claim is None else claim_arguments.read(replies.pop(), look.claim)


def _marks_of(look: Look, found: dict[str, int]) -> dict[str, int]:
    """Return the marks of a look that are set, soft ones included."""
    if not found:
        return {}
    names = (*look.marks, *map(soft, look.marks))
    return {name: found[name] for name in names if name in found}


def _is_of(frame: bytes | None, named: Any) -> bool:
    """Whether the reply of ``look_at_own_marks.lua`` is of this very frame: by its signature."""
    return named is not None and frame is not None and frame[:HEADER_BYTES] == named[0]


def _own_marks(frame: bytes | None, named: Any) -> dict[str, int]:
    """Return the marks that an entry names itself and that are set."""
    if not _is_of(frame, named):
        return {}
    names, values = named[1][::2], named[1][1::2]
    return read_marks([name.decode() for name in names], values)


def _take(replies: list[Any], count: int) -> list[Any]:
    taken = replies[-count:]
    del replies[-count:]
    return taken
