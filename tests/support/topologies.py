"""Redis Cluster and Redis Sentinel on free ports of 127.0.0.1, to kill, pause and fail over."""

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import redis
from redis.cluster import ClusterNode

from tests.support.members import (
    REPLICATION,
    Sentinel,
    admin,
    in_touch,
    is_ok,
    knows,
    layout,
    master_port,
    meet,
    named_master,
    replicate,
    role,
    start_node,
    watches_well,
)
from tests.support.servers import Server, ServerKind
from tests.support.waiting import wait_until

PRIMARIES = 3
SLOTS = 16_384
SETTLE_TIMEOUT = 30.0
#: Starting anew takes two or three seconds: no use in waiting for longer.
HEAL_TIMEOUT = 3.0


class ClusterServers:
    """Three primaries with a replica each: `with ClusterServers(kind) as cluster: …`."""

    def __init__(self, kind: ServerKind) -> None:
        self.kind = kind
        self.nodes: list[Server] = []
        self._paused: set[Server] = set()
        self._clients: list[redis.RedisCluster] = []

    def __repr__(self) -> str:
        return f"<ClusterServers {self.kind} on {', '.join(str(n.port) for n in self.nodes)}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return "\n".join(f"{node}:\n{node.log[-2_000:]}" for node in self.nodes)

    @property
    def url(self) -> str:
        """The URL of the cache; it names all nodes, well or not."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def client(self, **options: Any) -> redis.RedisCluster:
        """A new client, closed with the cluster."""
        nodes = [ClusterNode("127.0.0.1", node.port) for node in self.well]
        client = redis.RedisCluster(startup_nodes=nodes, **options)
        self._clients.append(client)
        return client

    def start(self) -> Self:
        """Start it, and return when all nodes agree that it is well."""
        try:
            self.nodes = [start_node(self.kind) for _ in range(2 * PRIMARIES)]
            self._form()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        while self._clients:
            self._clients.pop().close()
        for node in self.nodes:
            node.stop()

    @property
    def well(self) -> list[Server]:
        """The nodes that answer."""
        return [node for node in self.nodes if node.running and node not in self._paused]

    @property
    def primaries(self) -> list[Server]:
        return [node for node in self.well if role(node) == "master"]

    def owner(self, key: str) -> Server:
        """The primary that holds a key."""
        slot = int(admin(self.well[0]).execute_command("CLUSTER KEYSLOT", key))
        ranges = layout(self.well[0])
        port = next(primary for first, last, primary, _ in ranges if first <= slot <= last)
        return next(node for node in self.nodes if node.port == port)

    def replica(self, primary: Server) -> Server:
        return next(node for node in self.well if master_port(node) == primary.port)

    def kill(self, primary: Server) -> None:
        """Crash a primary, and return when its replica has taken over."""
        replica = self.replica(primary)
        primary.kill()
        self.wait_for_primary(replica)

    def pause(self, node: Server) -> None:
        """Make a node hang, and return at once. A primary's replica takes over after a while."""
        self._paused.add(node)
        node.pause()

    def failover(self, primary: Server) -> None:
        """Swap a primary and its replica, as an operator does. Nothing is lost."""
        replica = self.replica(primary)
        admin(replica).execute_command("CLUSTER FAILOVER")
        self.wait_for_primary(replica)

    def wait_for_primary(self, node: Server) -> None:
        """Wait until a node is a primary, and all the others that answer know."""
        wait_until(
            lambda: role(node) == "master" and self._agree(),
            timeout=SETTLE_TIMEOUT,
            what="a new primary",
        )

    def heal(self) -> None:
        """Make it well and empty: what a test broke is started anew, on other ports."""
        for node in self._paused:
            node.resume()
        self._paused.clear()
        if len(self.well) < len(self.nodes) or not _within(HEAL_TIMEOUT, self._is_whole):
            self.stop()
            self.start()
        for node in self.primaries:
            admin(node).flushall()
            admin(node).script_flush()

    def _form(self) -> None:
        for i, node in enumerate(self.nodes):
            # Otherwise two of them could share an epoch, and argue about it first.
            admin(node).execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
        for i, node in enumerate(self.nodes[:PRIMARIES]):
            slots = range(i * SLOTS // PRIMARIES, (i + 1) * SLOTS // PRIMARIES)
            admin(node).execute_command("CLUSTER ADDSLOTS", *slots)
        for node in self.nodes[1:]:
            meet(node, self.nodes[0])
        # Whoever meets a replica later may take 10 s to notice that it is one (Redis 7.0).
        everybody = len(self.nodes)
        wait_until(lambda: all(knows(node) == everybody for node in self.nodes), what="meetings")
        for node, primary in zip(self.nodes[PRIMARIES:], self.nodes, strict=False):
            replicate(node, primary)
        wait_until(self._is_whole, timeout=SETTLE_TIMEOUT, what="a cluster that is well")

    def _agree(self) -> bool:
        """The nodes that answer see the same primaries, and are in touch with them."""
        return (
            len({layout(node) for node in self.well}) == 1
            and len(layout(self.well[0])) == PRIMARIES
            and all(is_ok(node) and in_touch(node) for node in self.well)
        )

    def _is_whole(self) -> bool:
        return self._agree() and all(len(replicas) == 1 for *_, replicas in layout(self.well[0]))


class SentinelServers:
    """A master, two replicas, and three Sentinels of which two decide."""

    service = "mymaster"

    def __init__(self, kind: ServerKind) -> None:
        self.kind = kind
        self.servers: list[Server] = []
        self.sentinels: list[Sentinel] = []

    def __repr__(self) -> str:
        return f"<SentinelServers {self.kind} on {', '.join(str(s.port) for s in self.sentinels)}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return "\n".join(f"{member}:\n{member.log[-2_000:]}" for member in self._members)

    @property
    def _members(self) -> list[Server | Sentinel]:
        return [*self.sentinels, *self.servers]

    @property
    def url(self) -> str:
        """The URL of the cache, in database 0."""
        sentinels = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{sentinels}/{self.service}"

    @property
    def celery_url(self) -> str:
        """The same in the spelling of Celery, which has the service in its transport options."""
        return ";".join(f"sentinel://127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    @property
    def master(self) -> Server:
        """Whom all Sentinels name."""
        ports = self._named()
        return next(server for server in self.servers if ports == {server.port})

    def start(self) -> Self:
        """Start them, and return when the Sentinels know each other and the replicas."""
        try:
            self.servers = [Server(self.kind, *REPLICATION).start() for _ in range(3)]
            port = self.servers[0].port
            for server in self.servers[1:]:
                admin(server).replicaof("127.0.0.1", port)
            self.sentinels = [Sentinel(self.kind, self.service, port, 2) for _ in range(3)]
            wait_until(self._is_whole, timeout=SETTLE_TIMEOUT, what="Sentinels that agree")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for member in self._members:
            member.stop()

    def kill_master(self) -> None:
        """Crash the master, and return when the Sentinels have found another."""
        self.lose_master(Server.kill)

    def pause_master(self) -> None:
        """Make the master hang, and return when the Sentinels have found another."""
        self.lose_master(Server.pause)

    def failover(self) -> None:
        """Swap the master and a replica, as an operator does, and return when that is known.

        The old master takes itself for one for a while (on 6.2, 10 s), and answers.
        """
        old = self.master
        admin(self.sentinels[0]).execute_command("SENTINEL FAILOVER", self.service)
        self._wait_for_another(old)

    def heal(self) -> None:
        """Make it well and empty: what a test broke is started anew, on other ports."""
        running = all(member.running for member in self._members)
        for member in self._members:
            if member.running:
                member.resume()
        if not running or not _within(HEAL_TIMEOUT, self._is_whole):
            self.stop()
            self.start()
        admin(self.master).flushall()
        admin(self.master).script_flush()

    def lose_master(self, how: Callable[[Server], None]) -> None:
        """Take the master away, and return when the Sentinels have found another."""
        old = self.master
        how(old)
        self._wait_for_another(old)

    def _wait_for_another(self, old: Server) -> None:
        def found() -> bool:
            new = [server for server in self.servers if self._named() == {server.port}]
            return bool(new) and new[0] is not old and role(new[0]) == "master"

        wait_until(found, timeout=SETTLE_TIMEOUT, what="a new master")

    def _named(self) -> set[int]:
        return {named_master(sentinel, self.service) for sentinel in self.sentinels}

    def _is_whole(self) -> bool:
        masters = {server.port for server in self.servers if role(server) == "master"}
        return (
            self._named() == masters
            and len(masters) == 1
            and all(map(in_touch, self.servers))
            and all(watches_well(s, self.service, 2, 2) for s in self.sentinels)
        )


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    with suppress(TimeoutError):
        return wait_until(condition, timeout=seconds)
    return False
