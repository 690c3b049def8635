"""Plans in an event loop: what share of its turns they take, and which of them go first."""

import asyncio
from itertools import count
from typing import Any

import pytest

from tta_taskcache.cache.event_loops import async_driver
from tta_taskcache.cache.event_loops.async_driver import TURN, WAITING_A_TURN, run_in_loop
from tta_taskcache.cache.plan import Plan
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.lease import Lease, Stage
from tta_taskcache.stores.protocol import Command, Look, Poll, Reply, StoreReply

#: Seconds that pass with each look at the clock, which each step of a plan takes.
STEP = 0.001

#: Most steps in a turn: until its time is over, or one of each plan that waited.
MOST_STEPS = max(TURN / STEP + 1, WAITING_A_TURN)

AT = Position("i", 1)


class Store:
    """Replies at once."""

    name = "store"

    async def execute(self, command: Command) -> Reply:
        await asyncio.sleep(0)
        lease = Lease("me", AT, Stage.RUNNING) if isinstance(command, Look) else None
        return StoreReply(AT, None, 0.0, {}, None, lease=lease)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(async_driver, "monotonic", lambda: next(ticks) * STEP)


@pytest.mark.usefixtures("slow")
def test_few_steps_are_taken_in_one_turn_of_the_loop() -> None:
    """Ten thousand plans, of two steps each, leave turns to others (no time is measured)."""
    steps, in_turns = [0], []

    def plan() -> Plan[None]:
        steps[0] += 1
        yield Poll(AT, {})
        steps[0] += 1

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def tick() -> None:
            in_turns.append(steps[0])
            steps[0] = 0
            if len(in_turns) < 2 or sum(in_turns) < 20_000:
                loop.call_soon(tick)

        loop.call_soon(tick)
        await asyncio.gather(*(run_in_loop(plan(), Store()) for _ in range(10_000)))

    asyncio.run(main())
    assert sum(in_turns) + steps[0] == 20_000
    assert max(in_turns) <= MOST_STEPS


@pytest.mark.usefixtures("slow")
def test_c1_who_takes_a_lease_waits_for_none_of_those_that_begin() -> None:
    """Its followers wait for it, and its lease goes by."""
    begun: list[int] = []

    def follower(i: int) -> Plan[None]:
        begun.append(i)
        yield from ()

    def leader() -> Plan[int]:
        reply: Any = yield Look("k", ())
        assert reply.lease.is_ours
        return len(begun)

    async def main() -> list[Any]:
        followers = (run_in_loop(follower(i), Store()) for i in range(10_000))
        return await asyncio.gather(run_in_loop(leader(), Store()), *followers)

    before, *_ = asyncio.run(main())
    assert before <= 10 * WAITING_A_TURN


@pytest.mark.usefixtures("slow")
def test_c1_a_fill_waits_for_none_of_those_that_begin() -> None:
    begun: list[int] = []

    def other(i: int) -> Plan[None]:
        begun.append(i)
        yield from ()

    def fill() -> Plan[int]:
        yield from ()
        return len(begun)

    async def main() -> list[Any]:
        others = (run_in_loop(other(i), Store()) for i in range(10_000))
        return await asyncio.gather(*others, run_in_loop(fill(), Store(), is_urgent=True))

    *_, before = asyncio.run(main())
    assert before <= 10 * WAITING_A_TURN
