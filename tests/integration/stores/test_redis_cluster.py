"""A link to a cluster: failovers, dead and hanging nodes, moved slots."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.integration.stores.links import (
    IMPATIENT,
    KEYS,
    PATIENT,
    failures,
    get_all,
    set_all,
    took,
    works,
)
from tests.support.members import admin
from tests.support.servers import Server, take
from tests.support.topologies import ClusterServers
from tests.support.waiting import wait_until
from tta_taskcache.stores.connections import cluster
from tta_taskcache.stores.connections.connection import Link

pytestmark = pytest.mark.one_server_kind


def test_f1_a_failover_of_a_cluster_is_not_noticed(cluster_servers: ClusterServers) -> None:
    link = Link(cluster_servers.url, PATIENT)
    set_all(link, "1")
    for primary in cluster_servers.primaries:
        cluster_servers.failover(primary)
        assert get_all(link) == [b"1"] * len(KEYS)
        set_all(link, "1")
        assert link.client.eval("return redis.call('GET', KEYS[1])", 1, "k1") == b"1"


def test_f1_a_dead_primary_is_replaced(cluster_servers: ClusterServers) -> None:
    link = Link(cluster_servers.url, PATIENT)
    set_all(link, "1")
    cluster_servers.kill(cluster_servers.owner("k0"))
    assert failures(lambda: set_all(link, "2")) <= 1
    assert get_all(link) == [b"2"] * len(KEYS)


@pytest.mark.parametrize("by", ["command", "pipeline"])
def test_f1_in_a_cluster_a_command_is_tried_again_once_and_a_pipeline_never(
    cluster_servers: ClusterServers, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Nobody answers where the key was; up to redis-py 5, a cluster tries three times again."""
    link = Link(cluster_servers.url, PATIENT)
    set_all(link, "1")
    dead = cluster_servers.owner("k0")
    tried: list[int] = []

    def count(method: Callable[..., Any], port: Callable[..., int]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            tried.append(port(*args))
            return method(*args, **options)

        return counted

    if by == "command":
        method = count(cluster.Cluster._execute_command, lambda _, node, *__: node.port)
        monkeypatch.setattr(cluster.Cluster, "_execute_command", method)
    else:
        method = count(
            cluster._Node.get_connection,
            lambda node, *_: node._client.connection_pool.connection_kwargs["port"],
        )
        monkeypatch.setattr(cluster._Node, "get_connection", method)
    dead.kill()  # its replica hasn't taken over yet
    assert not works(lambda: link.client.get("k0") if by == "command" else get_all(link))
    assert tried.count(dead.port) == {"command": 2, "pipeline": 1}[by]


def test_f1_a_new_process_finds_a_cluster_with_a_dead_node(
    cluster_servers: ClusterServers,
) -> None:
    cluster_servers.kill(cluster_servers.owner("k0"))
    for _ in range(5):
        link = Link(cluster_servers.url, PATIENT)
        set_all(link, "1")
        assert get_all(link) == [b"1"] * len(KEYS)


def test_f1_a_cluster_outlives_the_nodes_of_the_url(cluster_servers: ClusterServers) -> None:
    named = cluster_servers.owner("k0")
    link = Link(f"redis+cluster://127.0.0.1:{named.port}", PATIENT)
    set_all(link, "1")
    cluster_servers.kill(named)
    assert failures(lambda: set_all(link, "2")) <= 2
    assert get_all(link) == [b"2"] * len(KEYS)


def keep_connections(link: Link, count: int) -> None:
    """Let the pools have idle connections, as threads leave them."""
    for node in link.client.get_primaries():
        pool = link.client.get_redis_connection(node).connection_pool
        for connection in [take(pool) for _ in range(count)]:
            pool.release(connection)


@pytest.mark.parametrize("by", ["command", "pipeline"])
def test_f1_a_hanging_primary_costs_two_timeouts_and_is_replaced(
    cluster_servers: ClusterServers, by: str
) -> None:
    link = Link(cluster_servers.url, IMPATIENT)
    command = {"command": lambda: link.client.get("k0"), "pipeline": lambda: get_all(link)}[by]
    wait_until(lambda: works(lambda: set_all(link, "1")))
    keep_connections(link, 8)
    hanging = cluster_servers.owner("k0")
    heir = cluster_servers.replica(hanging)
    cluster_servers.pause(hanging)
    assert took(command) < 3 * IMPATIENT
    cluster_servers.wait_for_primary(heir)
    assert failures(command) <= 2


def test_f1_a_cluster_that_hangs_costs_all_threads_two_timeouts(
    cluster_servers: ClusterServers,
) -> None:
    """Asking for the layout is no queue."""
    link = Link(cluster_servers.url, IMPATIENT)
    wait_until(lambda: works(lambda: set_all(link, "1")))
    for node in cluster_servers.nodes:
        cluster_servers.pause(node)
    times: list[float] = []
    commands: list[Callable[[], object]] = [lambda: get_all(link), lambda: link.client.get("k0")]
    threads = [
        threading.Thread(target=lambda command=command: times.append(took(command)))
        for command in commands * 8
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == len(threads)
    assert max(times) < 4 * IMPATIENT
    # Nor does it keep a new process for longer.
    assert took(lambda: Link(cluster_servers.url, IMPATIENT).client.get("k0")) < 3 * IMPATIENT


def test_f1_a_cluster_that_lost_slots_is_unavailable(cluster_servers: ClusterServers) -> None:
    """It is no refusal of the command, which would leave the circuit closed."""
    link = Link(cluster_servers.url, PATIENT)
    set_all(link, "1")
    owner = cluster_servers.owner("k0")
    slot = admin(owner).execute_command("CLUSTER KEYSLOT", "k0")
    for node in cluster_servers.nodes:
        admin(node).execute_command("CLUSTER DELSLOTS", slot)
    try:
        for command in (lambda: get_all(link), lambda: link.client.get("k0")):
            with pytest.raises(redis.RedisError) as refused:
                command()
            assert not isinstance(refused.value, redis.ResponseError)
    finally:
        admin(owner).execute_command("CLUSTER ADDSLOTS", slot)


def test_a_moved_slot_is_followed(cluster_servers: ClusterServers) -> None:
    link = Link(cluster_servers.url, PATIENT)
    link.client.set("k0", "1")
    owner = cluster_servers.owner("k0")
    other = next(node for node in cluster_servers.primaries if node is not owner)
    slot = admin(owner).execute_command("CLUSTER KEYSLOT", "k0")
    names = {node: admin(node).execute_command("CLUSTER MYID").decode() for node in (owner, other)}

    def set_slot(node: Server, *state: str) -> None:
        admin(node).execute_command("CLUSTER SETSLOT", slot, *state)

    def move(source: Server, target: Server) -> None:
        set_slot(target, "IMPORTING", names[source])
        set_slot(source, "MIGRATING", names[target])
        admin(source).migrate("127.0.0.1", target.port, "k0", 0, 5_000)

    move(owner, other)
    assert link.client.get("k0") == b"1", "ASK is followed"
    assert get_all(link)[0] == b"1"
    for node in (other, owner):
        set_slot(node, "NODE", names[other])
    assert link.client.get("k0") == b"1", "MOVED is followed"
    assert get_all(link)[0] == b"1"
    move(other, owner)
    for node in (owner, other):
        set_slot(node, "NODE", names[owner])
