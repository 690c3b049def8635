"""A link to the master that Sentinels name: failovers, hanging masters and Sentinels."""

import threading
from collections.abc import Callable

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
from tests.support.members import admin, role
from tests.support.topologies import SentinelServers
from tests.support.waiting import wait_until
from tta_taskcache.stores.connections.connection import Link

pytestmark = pytest.mark.one_server_kind


def test_f1_a_dead_master_is_replaced(sentinel_servers: SentinelServers) -> None:
    link = Link(sentinel_servers.url, PATIENT)
    set_all(link, "1")
    sentinel_servers.kill_master()
    assert failures(lambda: set_all(link, "2")) <= 1
    assert get_all(link) == [b"2"] * len(KEYS)


def test_f1_a_hanging_master_costs_one_timeout_and_is_replaced(
    sentinel_servers: SentinelServers,
) -> None:
    link = Link(sentinel_servers.url, IMPATIENT)
    wait_until(lambda: works(lambda: set_all(link, "1")))
    old = sentinel_servers.master
    sentinel_servers.pause_master()
    assert failures(lambda: get_all(link)) <= 1
    old.resume()
    set_all(link, "2")
    assert get_all(link) == [b"2"] * len(KEYS)


def test_f1_a_hanging_master_costs_one_timeout(sentinel_servers: SentinelServers) -> None:
    link = Link(sentinel_servers.url, IMPATIENT)
    wait_until(lambda: works(lambda: set_all(link, "1")))
    sentinel_servers.master.pause()
    assert took(lambda: get_all(link)) < 2 * IMPATIENT
    assert took(lambda: link.client.get("k0")) < 2 * IMPATIENT


def test_f1_hanging_sentinels_cost_one_timeout(sentinel_servers: SentinelServers) -> None:
    link = Link(sentinel_servers.url, IMPATIENT)
    for sentinel in sentinel_servers.sentinels:
        sentinel.pause()
    assert took(lambda: link.client.get("k0")) < 2 * IMPATIENT


def test_f1_one_sentinel_is_enough(sentinel_servers: SentinelServers) -> None:
    link = Link(sentinel_servers.url, PATIENT)
    sentinel_servers.sentinels[0].pause()
    sentinel_servers.sentinels[1].stop()
    set_all(link, "1")


def test_i1_a_demoted_master_is_left(sentinel_servers: SentinelServers) -> None:
    link = Link(sentinel_servers.url, PATIENT)
    set_all(link, "1")
    old = sentinel_servers.master
    sentinel_servers.failover()
    wait_until(lambda: role(old) == "slave", timeout=30, what="the old master's demotion")
    # The Sentinel that leads the failover names the old one until all replicas follow the new one.
    wait_until(lambda: works(lambda: set_all(link, "2")))
    assert get_all(link) == [b"2"] * len(KEYS)
    assert admin(sentinel_servers.master).get("k0") == b"2"


@pytest.mark.parametrize("by", ["command", "pipeline", "script"])
def test_i1_what_only_was_the_master_is_neither_written_nor_asked(
    sentinel_servers: SentinelServers, by: str
) -> None:
    """A Sentinel that lags behind sends us to a replica."""
    link = Link(sentinel_servers.url, PATIENT)
    set_all(link, "1")
    old = sentinel_servers.master
    new = next(server for server in sentinel_servers.servers if server is not old)
    writes: dict[str, Callable[[], object]] = {
        "command": lambda: link.client.set("k0", "2"),
        "pipeline": lambda: set_all(link, "2"),
        "script": lambda: link.client.eval("return redis.call('SET', KEYS[1], '2')", 1, "k0"),
    }
    admin(old).replicaof("127.0.0.1", new.port)
    for command in (writes[by], lambda: link.client.get("k0")):
        with pytest.raises(redis.ConnectionError):
            command()


def test_f3_a_late_reply_is_taken_for_no_others(sentinel_servers: SentinelServers) -> None:
    link = Link(sentinel_servers.url, IMPATIENT)
    wait_until(lambda: works(lambda: set_all(link, "1")))
    link.client.set("late", "late")
    master = sentinel_servers.master
    master.pause()
    took(lambda: link.client.get("late"))
    # The reply comes when the next command has been sent.
    timer = threading.Timer(IMPATIENT / 3, master.resume)
    timer.start()
    assert link.client.get("k0") == b"1"
    timer.join()


def test_sentinels_lose_nobody_when_threads_ask_at_once(sentinel_servers: SentinelServers) -> None:
    link = Link(sentinel_servers.url, PATIENT)
    sentinels = link.client.connection_pool.sentinel_manager
    everybody = {repr(sentinel) for sentinel in sentinels.sentinels}
    sentinel_servers.sentinels[0].stop()

    def ask() -> None:
        for _ in range(50):
            sentinels.discover_master(sentinel_servers.service)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {repr(sentinel) for sentinel in sentinels.sentinels} == everybody
