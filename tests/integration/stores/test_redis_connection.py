"""Connections to one server, a cluster and a master behind Sentinels: what all three have to do."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.integration.stores.links import (
    FAULTS,
    KEYS,
    PATIENT,
    get_all,
    set_all,
)
from tests.support.members import admin
from tests.support.servers import ServerKind
from tta_taskcache.stores.connections.connection import Link

pytestmark = pytest.mark.one_server_kind


@pytest.fixture(params=["server", "cluster", "sentinel"])
def url(redis_kind: ServerKind, request: pytest.FixtureRequest) -> str:
    """The URL of each topology in turn."""
    if request.param == "server":
        return request.getfixturevalue("redis_server").url()
    return request.getfixturevalue(f"{request.param}_servers").url


def test_commands_pipelines_and_scripts(url: str) -> None:
    link = Link(url, PATIENT)
    set_all(link, "1")
    assert get_all(link) == [b"1"] * len(KEYS)
    assert link.client.get("k0") == b"1"
    assert link.client.eval("return redis.call('GET', KEYS[1])", 1, "k1") == b"1"
    pipe = link.client.pipeline(transaction=False)
    pipe.eval("return {KEYS[1], KEYS[2], ARGV[1]}", 2, "{k}1", "{k}2", "a")
    pipe.hmget("{x}h", "f", "g")
    pipe.xrange("{y}s", min="-", max="+", count=3)
    pipe.getrange("k0", 0, 0)
    pipe.unlink("k0")
    assert pipe.execute() == [[b"{k}1", b"{k}2", b"a"], [None, None], [], b"1", 1]


def test_an_error_of_one_command_is_raised_when_all_are_done(url: str) -> None:
    link = Link(url, PATIENT)
    link.client.lpush("{k}l", "x")
    pipe = link.client.pipeline(transaction=False)
    pipe.get("{k}l")
    for key in KEYS:
        pipe.set(key, "1")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        pipe.execute()
    assert get_all(link) == [b"1"] * len(KEYS)


def test_f1_closed_connections_are_opened_again(url: str, request: pytest.FixtureRequest) -> None:
    link = Link(url, PATIENT)
    set_all(link, "1")
    for client in servers(request):
        client.client_kill_filter(_type="normal", skipme=True)
    assert get_all(link) == [b"1"] * len(KEYS)
    for client in servers(request):
        client.client_kill_filter(_type="normal", skipme=True)
    assert link.client.get("k0") == b"1"


def servers(request: pytest.FixtureRequest) -> list[redis.Redis]:
    """Clients of all servers that hold data."""
    if "cluster_servers" in request.fixturenames:
        return [admin(node) for node in request.getfixturevalue("cluster_servers").nodes]
    if "sentinel_servers" in request.fixturenames:
        return [admin(server) for server in request.getfixturevalue("sentinel_servers").servers]
    return [request.getfixturevalue("redis_server").client()]


def test_f3_wrong_passwords_are_not_shown(url: str) -> None:
    link = Link(url.replace("://", "://nobody:hunter2@"), PATIENT)
    assert "hunter2" not in link.place
    with pytest.raises(redis.RedisError) as refused:
        link.client.get("k")
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(link.__dict__.get("_address"))


def test_f3_users_and_passwords_are_used(url: str, request: pytest.FixtureRequest) -> None:
    rules = {"enabled": True, "passwords": ["+p@ss:/?#"], "keys": ["*"], "commands": ["+@all"]}
    for client in servers(request):
        client.acl_setuser("us@er", **rules)
    try:
        link = Link(url.replace("://", "://us%40er:p%40ss%3A%2F%3F%23@"), PATIENT)
        set_all(link, "1")
        assert get_all(link) == [b"1"] * len(KEYS)
        whoami: Any = link.client.eval("return redis.call('GET', KEYS[1])", 1, "k1")
        assert whoami == b"1"
    finally:
        for client in servers(request):
            client.acl_deluser("us@er")


@pytest.fixture
def busy(url: str) -> Iterator[Link]:
    """A link that four threads use all the time."""
    link = Link(url, PATIENT)
    set_all(link, "1")
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            get_all(link)
            link.client.get("k0")

    threads = [threading.Thread(target=use, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield link
    stop.set()
    for thread in threads:
        thread.join(10)


def test_f3_forks(busy: Link) -> None:
    """No lock that a thread of the parent held stops a child, and nobody reads another's reply."""
    for i in range(10):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            key = f"child{i}"
            try:
                good = busy.client.set(key, i) and busy.client.get(key) == str(i).encode()
                good = good and get_all(busy) == [b"1"] * len(KEYS)
            except BaseException:  # noqa: BLE001 - a child must not go on as the test run
                good = False
            os._exit(0 if good else 1)
        assert os.waitpid(pid, 0)[1] == 0
    assert busy.client.get("child0") == b"0"


def test_f3_renewing_disturbs_no_other_thread(url: str) -> None:
    link = Link(url, PATIENT)
    set_all(link, "1")
    wrong: list[object] = []

    def use() -> None:
        for _ in range(25):
            try:
                found = get_all(link)
            except FAULTS as error:
                wrong.append(error)
            else:
                wrong.extend(value for value in found if value != b"1")

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        link.renew()
        time.sleep(0.01)  # how often, not how long
    for thread in threads:
        thread.join()
    assert wrong == []
