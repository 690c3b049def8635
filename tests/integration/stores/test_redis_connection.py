"""The way to Redis, alone, in a cluster and behind Sentinels: found again, in time, after all."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.support.members import admin, role
from tests.support.servers import Server, ServerKind, take
from tests.support.topologies import ClusterServers, SentinelServers
from tests.support.waiting import wait_until
from tta_taskcache.stores import cluster
from tta_taskcache.stores.connection import Link

pytestmark = pytest.mark.one_server_kind

#: Seconds for a command, where nothing hangs: this machine may be busy.
PATIENT = 5.0

#: Where something does: less than what it takes to fail over.
IMPATIENT = 0.3

FAULTS = (redis.RedisError, OSError)

#: Together they touch all three primaries.
KEYS = [f"k{i}" for i in range(20)]


@pytest.fixture(params=["server", "cluster", "sentinel"])
def url(redis_kind: ServerKind, request: pytest.FixtureRequest) -> str:
    """The URL of each topology in turn."""
    if request.param == "server":
        return request.getfixturevalue("redis_server").url()
    return request.getfixturevalue(f"{request.param}_servers").url


def took(command: Callable[[], object]) -> float:
    """Seconds until a command gives up."""
    start = time.monotonic()
    with pytest.raises(FAULTS):
        command()
    return time.monotonic() - start


def works(command: Callable[[], object]) -> bool:
    try:
        command()
    except FAULTS:
        return False
    return True


def failures(command: Callable[[], object]) -> int:
    """How often a command fails before it works."""
    return next(failed for failed in range(20) if works(command))


def get_all(link: Link) -> list[Any]:
    pipe = link.client.pipeline(transaction=False)
    for key in KEYS:
        pipe.get(key)
    return pipe.execute()


def set_all(link: Link, value: str) -> None:
    pipe = link.client.pipeline(transaction=False)
    for key in KEYS:
        pipe.set(key, value)
    pipe.execute()


# Everywhere


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


# In a cluster


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


# Behind Sentinels


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
