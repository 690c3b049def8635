"""I1, I2, I5 and F1 on a Redis Cluster and behind Sentinels that fail over under load.

Misses are allowed; a stale read or a failed task is not. Where invalidations aren't acknowledged by
replicas (`taskcache_wait_replicas`), an asynchronous failover may lose one: that begins a new log.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.workload import MODULE, Job
from tests.integration.harness import Harness
from tests.support.processes import Process
from tests.support.servers import Server
from tests.support.topologies import ClusterServers, SentinelServers
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from tta_taskcache.testing import History, check
from tta_taskcache.testing.history import unexplained_reads

pytestmark = pytest.mark.one_server_kind

STALENESS = 0.05
PATIENCE = 60


class Load:
    """Three processes that read, compute and (one of them) invalidate."""

    def __init__(self, folder: Path, cache: str, source: str, replicas: int) -> None:
        self.files = [folder / f"{number}.jsonl" for number in range(3)]
        self.processes: list[Process] = []
        for number, file in enumerate(self.files):
            file.touch()
            job = Job(
                cache=cache,
                source=source,
                history=str(file),
                staleness=STALENESS,
                timeout=0.5,
                seed=f"failover:{number}",
                writes=number == 0,
                replicas=replicas,
            )
            self.processes.append(Process([sys.executable, "-m", MODULE, job.dump()], cwd=ROOT))

    def history(self) -> History:
        return History.load(*self.files)

    def wait_for_more(self) -> None:
        """Let each process read on, and one invalidate, from now on."""
        since = time.monotonic()

        def went_on() -> bool:
            assert all(p.exit_code is None for p in self.processes), self.logs()
            histories = [History.load(file) for file in self.files]
            reads = all(any(r.begin > since for r in h.reads) for h in histories)
            ends = [i.end for h in histories for i in h.invalidations if i.begin > since]
            return reads and any(end is not None for end in ends)

        wait_until(went_on, timeout=PATIENCE, what="reads and invalidations")

    def stop(self) -> None:
        for process in self.processes:
            process.signal(signal.SIGTERM)
        for process in self.processes:
            wait_until(lambda p=process: p.exit_code is not None, timeout=PATIENCE, what="the end")
        assert [p.exit_code for p in self.processes] == [0, 0, 0], self.logs()

    def logs(self) -> str:
        return "\n".join(p.log[-4_000:] for p in self.processes)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()


Start = Callable[..., Load]


@pytest.fixture
def start(tmp_path: Path, redis_server: Server) -> Iterator[Start]:
    """`start(url, replicas)`: a load on a cache; what is computed from is on another server."""
    loads: list[Load] = []

    def make(url: str, replicas: int) -> Load:
        loads.append(Load(tmp_path, url, redis_server.url(5), replicas))
        loads[-1].wait_for_more()
        return loads[-1]

    yield make
    for load in loads:
        load.kill()


def held(load: Load) -> None:
    load.stop()
    history = load.history()
    assert len(history.reads) > 100
    assert check(history, STALENESS) == []
    assert unexplained_reads(history) == []


def test_i1_f1_a_cluster_whose_primaries_are_swapped_and_killed(
    cluster_servers: ClusterServers, start: Start
) -> None:
    load = start(cluster_servers.url, 1)
    for primary in list(cluster_servers.primaries):
        cluster_servers.failover(primary)
    load.wait_for_more()
    # Not the one with the log: with no replica left, nobody acknowledges invalidations.
    log = cluster_servers.owner("{log}")
    other = next(node for node in cluster_servers.primaries if node is not log)
    cluster_servers.kill(other)
    load.wait_for_more()
    held(load)


def test_i1_f1_a_cluster_that_loses_the_node_with_the_log(
    cluster_servers: ClusterServers, start: Start
) -> None:
    load = start(cluster_servers.url, 0)
    load.wait_for_more()
    # What it had acknowledged alone is lost: everything misses then (I6).
    cluster_servers.kill(cluster_servers.owner("{log}"))
    load.wait_for_more()
    held(load)


def test_i1_f1_sentinels_whose_master_is_killed(
    sentinel_servers: SentinelServers, start: Start
) -> None:
    load = start(sentinel_servers.url, 1)
    sentinel_servers.kill_master()
    load.wait_for_more()
    held(load)


@pytest.mark.parametrize("layout", ["cluster_servers", "sentinel_servers"])
def test_c1_c2_followers_and_hits_of_a_worker(
    layout: str,
    request: pytest.FixtureRequest,
    server_factory: Callable[..., Server],
    new_harness: Callable[..., Harness],
    own_worker: Any,
) -> None:
    """The whole way, with the cache on a cluster or behind Sentinels."""
    servers = request.getfixturevalue(layout)
    harness = new_harness(server_factory(), servers.url)
    own_worker(harness)
    results = [harness.task("steered").delay(harness.tag) for _ in range(5)]
    assert harness.counts.blpop([f"started:{harness.tag}"], timeout=PATIENCE)
    harness.counts.rpush(f"order:{harness.tag}", "done")
    assert len({tuple(result.get(timeout=PATIENCE)) for result in results}) == 1
    assert harness.task("steered").delay(harness.tag).cache_status.hit
    assert len(harness.cache.keys("steered:*")) == 1
    harness.cache.invalidate(pattern="steered:*")
    assert harness.cache.keys() == []
    assert harness.runs("steered", harness.tag, 0) == 1
