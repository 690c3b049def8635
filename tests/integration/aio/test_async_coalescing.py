"""One run per key in asyncio: in a loop, between loops and processes, when leaders go (C1, C3)."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from tests.support.servers import Server
from tests.support.waiting import wait_until
from tta_taskcache import MISSING, CachePrimitive
from tta_taskcache.testing import LoopThread

MODULE = "tests.integration.aio.stampede"

Make = Callable[..., CachePrimitive]


class Source:
    """Runs until it is told to return."""

    def __init__(self) -> None:
        self.runs = 0
        self.go_on = asyncio.Event()
        self.leaders: list[asyncio.Task[Any] | None] = []

    async def __call__(self, data: Any, _: Any) -> Any:
        self.runs += 1
        self.leaders.append(asyncio.current_task())
        await self.go_on.wait()
        return {"answer": data, "run": self.runs}


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest, redis_server: Server) -> Make:
    place: dict[str, Any] = {}
    if request.param == "redis":
        place = {"backend": "redis", "redis_url": redis_server.url(), "timeout": 5.0}

    def make(source: Any, **options: Any) -> CachePrimitive:
        return CachePrimitive(source, name="source", **place, **options)

    return make


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - whatever is waited for tells nobody
            await asyncio.sleep(0.001)


async def begin(cache: CachePrimitive, number: int) -> list[asyncio.Task[Any]]:
    """Begin to execute one key so many times; they wait for the first, which runs."""
    tasks = [asyncio.create_task(cache.execute("k")) for _ in range(number)]
    flights = cache._runtime.cache.single_flight
    # Not all: on a slow machine some look again while the last ones come.
    await until(lambda: any(w._waiting for w in list(flights._wakeups.values())))
    return tasks


def test_c1_ten_thousand_in_a_loop_run_once(make: Make) -> None:
    async def main() -> None:
        source = Source()
        async with make(source) as cache:
            tasks = await begin(cache, 10_000)
            source.go_on.set()
            answers = await asyncio.gather(*tasks)
            assert source.runs == 1
            assert answers == [{"answer": "k", "run": 1}] * 10_000
            assert len({id(answer) for answer in answers}) == 10_000, "R2"

    asyncio.run(main())


def test_c3_a_leader_that_blocks_its_loop_keeps_its_lease(redis_server: Server) -> None:
    client = redis_server.client()

    def now() -> float:
        seconds, micro = client.time()
        return float(seconds + micro / 1e6)

    async def source(data: Any, _: Any) -> Any:
        (lease,) = client.keys("*:l:*")
        owner, begun = client.hget(lease, "owner"), now()
        wait_until(lambda: now() > begun + 3 * ttl)  # blocks the loop
        assert client.hget(lease, "owner") == owner
        return data

    ttl = 1.0
    place: Any = {"backend": "redis", "redis_url": redis_server.url(), "timeout": 5.0}
    cache = CachePrimitive(source, name="source", lease_ttl=ttl, **place)

    async def main() -> None:
        async with cache:
            assert await cache.execute("k") == "k"

    asyncio.run(main())


def test_c1_a_cancelled_leader_hands_on(make: Make) -> None:
    async def main() -> None:
        source = Source()
        async with make(source) as cache:
            tasks = await begin(cache, 50)
            leader = source.leaders[0]
            assert leader in tasks
            leader.cancel()
            await until(lambda: source.runs == 2)
            source.go_on.set()
            answers = await asyncio.gather(*(task for task in tasks if task is not leader))
            assert answers == [{"answer": "k", "run": 2}] * 49
            with pytest.raises(asyncio.CancelledError):
                await leader

    asyncio.run(main())


def test_c1_cancelled_followers_concern_nobody(make: Make) -> None:
    async def main() -> None:
        source = Source()
        async with make(source) as cache:
            tasks = await begin(cache, 50)
            followers = [task for task in tasks if task is not source.leaders[0]]
            for task in followers[:39]:
                task.cancel()
            await asyncio.gather(*followers[:39], return_exceptions=True)
            source.go_on.set()
            answers = await asyncio.gather(*(set(tasks) - set(followers[:39])))
            assert answers == [{"answer": "k", "run": 1}] * 11

    asyncio.run(main())


def test_c1_a_failure_is_nobody_elses(make: Make) -> None:
    async def main() -> None:
        runs = 0
        go_on = asyncio.Event()

        async def source(data: Any, _: Any) -> Any:
            nonlocal runs
            runs += 1
            mine = runs
            await go_on.wait()
            if mine == 1:
                raise ValueError("mine")
            return data

        async with make(source) as cache:
            tasks = await begin(cache, 5)
            go_on.set()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(map(repr, answers)) == ["'k'"] * 4 + ["ValueError('mine')"]

    asyncio.run(main())


def test_it_works_on_uvloop(make: Make) -> None:
    async def main() -> None:
        assert type(asyncio.get_running_loop()) is uvloop.Loop
        source = Source()
        async with make(source) as cache:
            tasks = await begin(cache, 1_000)
            leader = source.leaders[0]
            assert leader in tasks
            leader.cancel()
            await until(lambda: source.runs == 2)
            source.go_on.set()
            answers = await asyncio.gather(*(task for task in tasks if task is not leader))
            assert answers == [{"answer": "k", "run": 2}] * 999
            await cache.ainvalidate(key="k")
            assert await cache.aget("k") is MISSING

    uvloop.run(main())


def test_c7_a_run_that_executes_itself_is_answered(make: Make) -> None:
    async def main() -> None:
        depth = 0

        async def source(data: Any, _: Any) -> Any:
            nonlocal depth
            depth += 1
            return "inner" if depth > 1 else [await asyncio.create_task(cache.execute(data))]

        cache = make(source)
        async with asyncio.timeout(30), cache:
            assert await cache.execute("k") == ["inner"]

    asyncio.run(main())


def test_c1_loops_in_threads_run_once(make: Make) -> None:
    runs: list[Any] = []
    loops = [LoopThread() for _ in range(4)]

    async def source(data: Any, _: Any) -> Any:
        runs.append(data)
        await until(lambda: len(arrived) == 40)
        return data

    cache = make(source)
    arrived: list[int] = []

    async def ask() -> list[Any]:
        async def one() -> Any:
            arrived.append(1)
            return await cache.execute("k")

        answers = await asyncio.gather(*(one() for _ in range(10)))
        await cache.aclose()
        return answers

    asked = [asyncio.run_coroutine_threadsafe(ask(), thread.loop) for thread in loops]
    assert [each.result(60) for each in asked] == [["k"] * 10] * 4
    assert runs == ["k"]
    for thread in loops:
        thread.close()


# Processes


def start(server: Server, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", MODULE, server.url(), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> dict[str, int]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    found: dict[str, int] = json.loads(output.splitlines()[-1])
    return found


def test_c4_four_processes_run_once(redis_server: Server) -> None:
    processes = [start(redis_server, "k", "500", "3.0") for _ in range(4)]
    outcomes = [outcome(process) for process in processes]
    assert sum(each["runs"] for each in outcomes) == 1
    assert all(each["answers"] == 500 and each["different"] == 1 for each in outcomes)


def test_c3_another_process_leads_when_the_leader_is_killed(redis_server: Server) -> None:
    leader = start(redis_server, "k", "10", "0", "hang")
    assert leader.stdout is not None
    assert leader.stdout.readline() == "running\n"
    follower = start(redis_server, "k", "10", "0.1")
    client = redis_server.client()
    wait_until(lambda: len(client.client_list()) >= 3)
    leader.kill()
    leader.communicate()
    assert outcome(follower) == {"runs": 1, "answers": 10, "different": 1}
