"""The members of a topology, and what each says about itself and the others."""

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls

import signal
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.processes import Process
from tests.support.servers import (
    STOP_TIMEOUT,
    Server,
    ServerError,
    ServerKind,
    executable,
    free_port,
    why_missing,
)
from tests.support.waiting import wait_until

#: Milliseconds without an answer after which a node or a master counts as failed. Less is possible,
#: but then a busy machine looks like a failure.
NODE_TIMEOUT = 1_500

#: The bus of a cluster takes the port this much higher; only Redis 7 can be told another.
BUS_OFFSET = 10_000

#: In step with its master at once, without a file. Redis 7.0 lists a replica in CLUSTER SLOTS only
#: after its first ping.
REPLICATION: tuple[str, ...] = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
REPLICATION += ("--repl-ping-replica-period", "1")

#: Milliseconds between looks of a Sentinel.
QUICK = ("INFO-PERIOD", 200, "PUBLISH-PERIOD", 200)

#: First and last slot, port of the primary, ports of the replicas.
Range = tuple[int, int, int, frozenset[int]]


class Sentinel:
    """One Sentinel; it watches a master from the start."""

    def __init__(self, kind: ServerKind, service: str, master_port: int, quorum: int) -> None:
        binary = executable(kind)
        if binary is None:
            raise ServerError(f"{kind}: {why_missing(kind)}")
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="tests-sentinel-")
        conf = Path(self._folder.name, "sentinel.conf")
        conf.write_text(
            f"port {self.port}\n"
            "bind 127.0.0.1\n"
            f"dir {self._folder.name}\n"
            f"sentinel monitor {service} 127.0.0.1 {master_port} {quorum}\n"
            f"sentinel down-after-milliseconds {service} {NODE_TIMEOUT}\n"
            # Twice this is the pause after a failover in vain.
            f"sentinel failover-timeout {service} {5 * NODE_TIMEOUT}\n"
        )
        self._process = Process([binary, conf, "--sentinel"])
        try:
            wait_until(self._answers, what=f"Sentinel on {self.port}")
            # Redis 7 can be made to look more often; 6.2 takes its 10 s to demote an old master.
            with suppress(redis.ResponseError):
                admin(self).execute_command("SENTINEL DEBUG", *QUICK)
        except BaseException:
            self.stop()
            raise

    def __repr__(self) -> str:
        return f"<Sentinel on {self.port}>"

    @property
    def log(self) -> str:
        return self._process.log

    @property
    def running(self) -> bool:
        return self._process.exit_code is None

    def pause(self) -> None:
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.terminate(STOP_TIMEOUT)
        self._folder.cleanup()

    def _answers(self) -> bool:
        if not self.running:
            raise ServerError(f"{self} ended:\n{self.log}")
        with suppress(redis.RedisError):
            # It could be another's server on this port: ask who answers.
            return bool(admin(self).info("server")["process_id"] == self._process.pid)
        return False


_admins: WeakKeyDictionary[Server | Sentinel, redis.Redis] = WeakKeyDictionary()


def admin(member: Server | Sentinel) -> redis.Redis:
    """A client that is there as long as the member is, and doesn't wait for one that hangs."""
    if member not in _admins:
        never = Retry(NoBackoff(), 0)
        _admins[member] = redis.Redis("127.0.0.1", member.port, retry=never, socket_timeout=1.0)
    return _admins[member]


def start_node(kind: ServerKind) -> Server:
    """Start a node of a cluster that knows nobody yet."""
    options = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
    options += ["--cluster-node-timeout", str(NODE_TIMEOUT)]
    # A replica may take over however long it has been out of touch.
    options += ["--cluster-replica-validity-factor", "0"]
    node = Server(kind, *options, *REPLICATION)
    while not _has_bus(node.port):
        node.port = free_port()
    return node.start()


def _has_bus(port: int) -> bool:
    bus = port + BUS_OFFSET
    # Below, Linux gives ports to whoever connects.
    if not 61_000 <= bus <= 65_535:
        return False
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", bus))
        return True
    return False


def role(server: Server) -> str:
    """`master` or `slave`, or nothing when it doesn't say."""
    with suppress(redis.RedisError):
        return str(admin(server).info("replication")["role"])
    return ""


def master_port(server: Server) -> int:
    """Where a replica's master is; 0 for a master."""
    return int(admin(server).info("replication").get("master_port", 0))


def in_touch(server: Server) -> bool:
    """Whether it is a master, or a replica in step with one."""
    said = admin(server).info("replication")
    return bool(said["role"] == "master" or said["master_link_status"] == "up")


def layout(node: Server) -> frozenset[Range]:
    """What a node thinks of the cluster."""
    return frozenset(
        (first, last, primary[1], frozenset(replica[1] for replica in replicas))
        for first, last, primary, *replicas in admin(node).execute_command("CLUSTER SLOTS")
    )


def is_ok(node: Server) -> bool:
    """Whether a node thinks that the cluster is well."""
    return bool(admin(node).cluster("INFO")["cluster_state"] == "ok")


def knows(node: Server) -> int:
    """How many nodes a node knows, itself among them."""
    return int(admin(node).cluster("INFO")["cluster_known_nodes"])


def meet(node: Server, other: Server) -> None:
    """Introduce a node to another, and to all that it knows."""
    admin(node).execute_command("CLUSTER MEET", "127.0.0.1", other.port)


def replicate(node: Server, primary: Server) -> None:
    """Make a node the replica of a primary as soon as they have met."""
    name = admin(primary).execute_command("CLUSTER MYID").decode()

    def done() -> bool:
        with suppress(redis.ResponseError):
            return bool(admin(node).execute_command("CLUSTER REPLICATE", name))
        return False

    wait_until(done, what="a node that knows its primary")


def _ask(sentinel: Sentinel, command: str, service: str) -> Any:
    # redis-py 6.4's own methods are for its Sentinel clients only.
    return admin(sentinel).execute_command(f"SENTINEL {command}", service)


def named_master(sentinel: Sentinel, service: str) -> int:
    """The port of whom a Sentinel calls the master."""
    address: Any = _ask(sentinel, "GET-MASTER-ADDR-BY-NAME", service)
    return int(address[1])


def watches_well(sentinel: Sentinel, service: str, others: int, replicas: int) -> bool:
    """Whether a Sentinel knows so many others, and so many replicas that it would promote."""
    state: Any = _ask(sentinel, "MASTER", service)
    found: Any = _ask(sentinel, "SLAVES", service)
    return (
        state["flags"] == "master"
        and state["num-other-sentinels"] == others
        and len(found) == replicas
        and all(r["flags"] == "slave" and r["master-link-status"] == "ok" for r in found)
    )
