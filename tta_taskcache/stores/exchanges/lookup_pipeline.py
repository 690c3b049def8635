"""The lookup pipeline on Redis, for one entry or many: its commands, and their replies.

On one server a lookup is a single round trip: the time that remains of each entry, the log's state
with all marks that can end one, the entries, and the claims. In a cluster claims take a second
round trip, as the position of their leases is on the log's node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any

from ...core.entries.lease import Claim, Lease
from ...core.entries.marks import soft
from ...core.record import record
from ..protocol import Look, StoreReply
from . import claim_arguments
from .key_layout import Layout
from .log_state import State
from .scripts import script

_TAKE = script("take")
_TAKE_SHA = sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


@record
class Looks:
    """Several looks at once.

    Attributes:
        at: Names of the keys in Redis.
        looks: The looks.
    """

    at: Layout
    looks: Sequence[Look]

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
        known = False
        for look in self.looks:
            if look.claim is not None:
                # By its hash once the server has seen the text; a cluster has many servers.
                self._claim(pipe, look, look.claim, state, by_hash=known)
                known = state is None

    def _claim(
        self, pipe: Any, look: Look, claim: Claim, state: State | None, *, by_hash: bool
    ) -> None:
        arguments = claim_arguments.arguments(claim)
        keys = [self.at.entry(look.key), self.at.lease(look.key)]
        if state is None:
            keys.append(self.at.control)
            arguments += look.marks
        else:
            newest = max((state.marks.get(name, 0) for name in look.marks), default=0)
            arguments += [state.position.incarnation, state.position.sequence, newest]
        if by_hash:
            pipe.evalsha(_TAKE_SHA, len(keys), *keys, *arguments)
        else:
            pipe.eval(_TAKE, len(keys), *keys, *arguments)

    def read(
        self, replies: list[Any], read_state: Callable[[list[Any]], State | None]
    ) -> list[StoreReply] | None:
        """Read the replies off the end of a pipeline's; None without a usable log.

        Args:
            replies: The pipeline's replies.
            read_state: Reads the log's state off their end.
        """
        leases = [self._lease(look, replies) for look in reversed(self.looks)][::-1]
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
                marks=_marks_of(look, state.marks),
                records=state.records,
                banned=state.banned,
                lease=lease,
            )
            for look, frame, left, lease in zip(self.looks, frames, remaining, leases, strict=True)
        ]

    def _lease(self, look: Look, replies: list[Any]) -> Lease | None:
        return None if look.claim is None else claim_arguments.read(replies.pop(), look.claim)


def _marks_of(look: Look, found: dict[str, int]) -> dict[str, int]:
    """Return the marks of a look that are set, soft ones included."""
    if not found:
        return {}
    names = (*look.marks, *map(soft, look.marks))
    return {name: found[name] for name in names if name in found}


def _take(replies: list[Any], count: int) -> list[Any]:
    taken = replies[-count:]
    del replies[-count:]
    return taken
