"""Semantic keys on clusters, behind Sentinels, with an ACL, in greenlets and forked processes."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.semantic import semantic_app
from tests.integration.semantic.harness import embed
from tests.integration.semantic.semantic_app import RUNS, make_app
from tests.support.servers import Server
from tests.support.topologies import ClusterServers, SentinelServers
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import MISSING, CachePrimitive, Semantic

pytestmark = pytest.mark.one_server_kind

ROOT = Path(__file__).parents[3]
RULES = ["on", ">pass", "~taskcache:*", "+@all", "-@dangerous", "-@admin", "+info"]
TENANTS = tuple("abcdef")


def primitive(url: str) -> CachePrimitive:
    semantic = Semantic(on="prompt", embed=embed, threshold=0.9, embedder="toy")
    options: dict[str, Any] = {"backend": "redis", "redis_url": url, "timeout": 5.0}
    return CachePrimitive(name="model", semantic=semantic, tags=("all",), **options)


def ask(tenant: str, prompt: str = "cats?") -> dict[str, str]:
    return {"prompt": prompt, "tenant": tenant}


def see_it_work(url: str) -> None:
    """Several partitions, blocking and in a loop, in two processes, until an invalidation."""
    here, there = primitive(url), primitive(url)
    for tenant in TENANTS:
        assert here.set(ask(tenant, "cats are what?"), tenant)

    async def in_loop() -> None:
        async with primitive(url) as elsewhere:
            for tenant in TENANTS:
                assert await elsewhere.aget(ask(tenant)) == tenant
            await elsewhere.aset(ask("g", "cats are what?"), "g")
            await elsewhere.ainvalidate(tags=["all"])
            assert await elsewhere.aget(ask("a")) is MISSING
            assert elsewhere.stats().faults == 0

    for tenant in TENANTS:
        assert there.get(ask(tenant)) == tenant
    asyncio.run(in_loop())
    assert here.stats().faults == there.stats().faults == 0


def test_partitions_are_on_different_nodes_of_a_cluster(cluster_servers: ClusterServers) -> None:
    see_it_work(cluster_servers.url)
    names = {key.decode() for key in cluster_servers.client().scan_iter("taskcache:v:*")}
    owners = {cluster_servers.owner(name).port for name in names if name.endswith(":records")}
    assert len(owners) > 1


def test_behind_sentinels_a_failover_is_followed(sentinel_servers: SentinelServers) -> None:
    see_it_work(sentinel_servers.url)
    here = primitive(sentinel_servers.url)
    sentinel_servers.kill_master()
    wait_until(lambda: here.set(ask("a", "cats are what?"), "new"), what="the new master")
    # The index may have come along with its replica: what is ended there answers nobody.
    wait_until(lambda: here.get(ask("a")) == "new", what="the neighbour")
    assert here.get(ask("b")) is MISSING


def test_a_user_who_may_do_no_more_than_the_cache_needs(
    server_factory: Callable[..., Server],
) -> None:
    server = server_factory()
    server.client().execute_command("ACL", "SETUSER", "cache", *RULES)
    see_it_work(server.url().replace("//", "//cache:pass@"))


def test_greenlets_of_a_pool_find_neighbours(server_factory: Callable[..., Server]) -> None:
    server = server_factory()
    urls = server.url(0), server.url(1), server.url(2)
    names = ("CELERY_BROKER_URL", "SEMANTIC_BACKEND", "SEMANTIC_CACHE")
    app = make_app(*urls)
    env = dict(zip(names, urls, strict=True))
    with Worker(semantic_app.__name__, env=env, pool="gevent", concurrency=4):
        task = app.tasks["pool.answer"]
        assert task.delay("cats are what?").get(timeout=30) == "a: cats are what?"
        results = [task.delay(f"cats - {letter}?") for letter in "xyzuvw"]
        assert {result.get(timeout=30) for result in results} == {"a: cats are what?"}
    assert app.backend.client.llen(RUNS) == 1
    app.close()


FORKS = """
import json, os, sys, threading
from tests.integration.semantic.test_semantic_servers import ask, primitive
here = primitive(sys.argv[1])
assert here.set(ask("a", "cats are what?"), "pets") and here.get(ask("a")) == "pets"
copies = here._runtime.neighbours.neighbours.copies
copy = next(iter(copies._copies.values()))
size = len(copy)
# A thread of the parent is changing the copy as it forks: it will never be done in the child.
copy.claim(here._runtime.engine.parts.clock())
read, write = os.pipe()
if not os.fork():
    found = [len(copies), here.get(ask("a", "cats!")), len(next(iter(copies._copies.values())))]
    os.write(write, json.dumps(found).encode())
    os._exit(0)
os.wait()
print(json.dumps([size, json.loads(os.read(read, 1000)), len(copy)]))
"""


def test_f3_a_forked_process_has_a_copy_of_its_own(redis_server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS, redis_server.url()],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1, [0, "pets", 1], 1]
