"""redis-py's client for Redis Cluster, within the timeout of a command (promise F1).

Behaviour of redis-py 8.1 that is overridden here:

- It waits for each node of a pipeline, and repeats each command of one that failed by itself, with
  a timeout each.
- It asks all nodes that it knows for the layout of the cluster, with a timeout each, and one thread
  after the other.
- It asks a server where the keys of an EVAL in a pipeline are: a round trip more.
- What it raises while the cluster changes is no ``RedisError`` or looks like a refusal.
"""

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from inspect import signature
from random import sample
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import REDIS_ALLOWED_KEYS, ClusterNode, ClusterPipeline
from redis.exceptions import AskError, ClusterDownError, RedisClusterException, TryAgainError
from redis.retry import Retry

from .deadline import timed

#: Nodes, chosen at random, that are asked for the cluster's layout before giving up.
NODES_ASKED = 3

#: The cluster is changing, or can't be reached: no fault of the command. MOVED is an AskError.
_CHANGING = (RedisClusterException, ClusterDownError, AskError, TryAgainError)

_ONCE = Retry(NoBackoff(), 1)
_NEVER = Retry(NoBackoff(), 0)

#: Whether ``retry`` says how often the cluster tries a command. Up to redis-py 5 it is what each of
#: its connections repeats, and the cluster has a number of its own.
_RETRY_IS_THE_CLUSTERS = "retry" in signature(ClusterPipeline).parameters


def make_cluster(
    hosts: Sequence[tuple[str, int]],
    options: Mapping[str, Any],
    timeout: float,
    greet: Callable[[Any], None],
) -> Cluster:
    """Connect to a cluster.

    Args:
        hosts: Some of its nodes, to ask for the others.
        options: Options of the connections.
        timeout: Seconds that asking for the layout of the cluster may take.
        greet: Called with each new connection to a node, before its first command.

    Raises:
        redis.RedisError: The cluster can't be reached.
        OSError: A name can't be resolved.
    """
    try:
        return Cluster(hosts, options, timeout, greet)
    except _CHANGING as error:
        raise redis.ConnectionError(str(error)) from error


def scout(host: str, port: int, options: Mapping[str, Any], timeout: float) -> redis.Redis:
    """Make a client of one node or Sentinel, to ask for the layout. Connects to nothing yet.

    Raises:
        TypeError: An option is unknown.
    """
    timeouts = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    return timed(redis.Redis(host, port, retry=_NEVER, **{**options, **timeouts}))


def unknown_options(options: Mapping[str, Any]) -> bool:
    """Whether redis-py would silently ignore some of the options."""
    return bool(set(options) - set(REDIS_ALLOWED_KEYS))


def _tries(again: Retry, times: int) -> dict[str, Any]:
    """The options of a cluster or pipeline that tries a command again so many times."""
    if _RETRY_IS_THE_CLUSTERS:
        return {"retry": again}
    return {"retry": _NEVER, "cluster_error_retry_attempts": times}


class _StartupNodes(dict[str, ClusterNode]):
    """The nodes that are asked for the layout; chosen anew each time.

    Up to redis-py 5, a thread that can't reach one takes it out while another iterates over them.
    """

    def pop(self, *_: Any) -> None:  # type: ignore[override]
        return None


class Cluster(redis.RedisCluster):
    """A client of a cluster, made by ``make_cluster``.

    Args:
        hosts: Some of its nodes, to ask for the others.
        options: Options of the connections.
        timeout: Seconds that asking for the layout of the cluster may take.
        greet: Called with each new connection to a node, before its first command.
    """

    # A closed connection is opened again once. A timeout is final.
    ERRORS_ALLOW_RETRY = (redis.ConnectionError,)  # type: ignore[assignment]

    def __init__(
        self,
        hosts: Sequence[tuple[str, int]],
        options: Mapping[str, Any],
        timeout: float,
        greet: Callable[[Any], None],
    ) -> None:
        self._hosts = tuple(hosts)
        self._options = options
        self._timeout = timeout
        super().__init__(
            startup_nodes=self._scouts(hosts),
            dynamic_startup_nodes=False,
            require_full_coverage=False,
            redis_connect_func=greet,
            **_tries(_ONCE, 1),
            **options,
        )
        self._ask = self.nodes_manager.initialize
        self._asking = threading.Lock()
        self.nodes_manager.initialize = self._learn  # type: ignore[method-assign]

    def _learn(self, *args: Any, **options: Any) -> None:
        """Ask for the layout. While one thread asks, the others go on with the known one."""
        if self._asking.acquire(blocking=False):
            try:
                known = {(node.host, node.port) for node in self.get_nodes()}
                scouts = self._scouts([*known.union(self._hosts)])
                self.nodes_manager.startup_nodes = _StartupNodes(
                    (node.name, node) for node in scouts
                )
                self._ask(*args, **options)
            finally:
                self._asking.release()

    def _scouts(self, hosts: Sequence[tuple[str, int]]) -> list[ClusterNode]:
        """Return some nodes to ask, which share the timeout."""
        asked = sample(hosts, min(len(hosts), NODES_ASKED))
        share = self._timeout / len(asked)
        return [
            ClusterNode(host, port, redis_connection=scout(host, port, self._options, share))
            for host, port in asked
        ]

    def learn_layout(self) -> None:
        """Ask which node holds what: one has failed, or isn't what it was.

        Raises:
            redis.RedisError: Nobody says.
        """
        try:
            self._learn()
        except _CHANGING as error:
            raise redis.ConnectionError(str(error)) from error

    def get_redis_connection(self, node: ClusterNode) -> redis.Redis:
        return timed(super().get_redis_connection(node))

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)
        except _CHANGING as error:
            raise redis.ConnectionError(str(error)) from error

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Pipeline:  # noqa: ARG002
        """Return a pipeline, always without a transaction."""
        return Pipeline(self)


class Pipeline(ClusterPipeline):
    """A pipeline that waits for no further reply once one is late.

    Commands that were redirected, or whose connection had been closed, are sent again one by one,
    as redis-py does. A failed connection to a node asks for the layout.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(
            nodes_manager=cluster.nodes_manager,
            commands_parser=cluster.commands_parser,
            cluster_response_callbacks=cluster.cluster_response_callbacks,
            result_callbacks=cluster.result_callbacks,
            event_dispatcher=getattr(cluster, "_event_dispatcher", None),  # since redis-py 5.3
            lock=cluster._lock,
            **_tries(_NEVER, 0),
        )
        self.late = False

    def _execute_command(self, target_node: Any, *args: Any, **options: Any) -> Any:
        if self.late:
            raise redis.TimeoutError("not sent again after a timeout")
        try:
            return super()._execute_command(target_node, *args, **options)
        except redis.TimeoutError:
            self.late = True
            raise

    def get_redis_connection(self, node: ClusterNode) -> Any:
        return _Node(timed(super().get_redis_connection(node)), self)

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:  # type: ignore[override]
        return self.execute_command("EVAL", script, numkeys, *keys_and_args)

    def _get_command_keys(self, *args: Any) -> Any:
        if args[0] == "EVAL":
            return args[3 : 3 + int(args[2])]
        return super()._get_command_keys(*args)

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        try:
            return super().execute(raise_on_error)
        except _CHANGING as error:
            raise redis.ConnectionError(str(error)) from error
        finally:
            if self.late and not _RETRY_IS_THE_CLUSTERS:
                # redis-py 4 connects to a server that hangs without sending it anything, so no
                # failure to connect makes it ask for the layout.
                with suppress(redis.RedisError, *_CHANGING):
                    self.nodes_manager.initialize()


class _Node:
    """The client of a node in a pipeline, which doesn't wait once another node was late.

    Otherwise each node that hangs would take a timeout of its own, one after the other.
    """

    __slots__ = ("_client", "_pipeline", "connection", "connection_pool")

    def __init__(self, client: redis.Redis, pipeline: Pipeline) -> None:
        self._client = client
        self._pipeline = pipeline
        self.connection = client.connection
        self.connection_pool = self

    def get_connection(self, *args: Any, **options: Any) -> Any:
        try:
            return self._client.connection_pool.get_connection(*args, **options)
        except redis.TimeoutError as error:
            # Up to redis-py 5, a pipeline knows ConnectionError only: of a timeout it doesn't ask
            # for the layout, and keeps the other nodes' connections.
            raise redis.ConnectionError(str(error)) from error

    def release(self, connection: Any) -> None:
        self._client.connection_pool.release(connection)

    def parse_response(self, connection: Any, name: str, **options: Any) -> Any:
        if self._pipeline.late:
            connection.disconnect()  # its replies are still to come
            raise redis.TimeoutError("not waited for after a timeout")
        try:
            return self._client.parse_response(connection, name, **options)
        except redis.TimeoutError:
            self._pipeline.late = True
            raise
