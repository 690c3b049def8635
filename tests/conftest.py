"""Fixtures for real servers and workers.

A test that uses a server (`redis_server`, `server_factory`, `worker_factory`) runs on the first of
the kinds chosen with `--redis`. Modules whose tests have to do with the kind are marked
`every_server_kind` and run on each, but for what is marked `one_server_kind` in them.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from tests.support import rabbitmq, servers
from tests.support.rabbitmq import Rabbit
from tests.support.servers import Server, ServerKind
from tests.support.topologies import ClusterServers, SentinelServers
from tests.support.workers import Worker, clean_environment

LOG_TAIL = 8_000

Started = Server | Worker | ClusterServers | SentinelServers | Rabbit

KINDS = pytest.StashKey[list[ServerKind]]()
STARTED = pytest.StashKey[list[Started]]()

# Deadlines measure the machine.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--redis",
        choices=["all", *ServerKind],
        help="servers to test on: all there are, or one kind (default: the first there is)",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name in os.environ.keys() - clean_environment(os.environ).keys():
        del os.environ[name]
    config.stash[KINDS] = _chosen(config.getoption("--redis"))


def _chosen(option: str | None) -> list[ServerKind]:
    found = servers.available()
    if option is None:
        return found[:1]
    if option == "all":
        if not found:
            raise pytest.UsageError("--redis=all: there is no server; `make test` installs one")
        return found
    kind = ServerKind(option)
    if kind not in found:
        raise pytest.UsageError(f"--redis={kind}: {servers.why_missing(kind)}")
    return [kind]


def pytest_report_header(config: pytest.Config) -> list[str]:
    chosen = ", ".join(config.stash[KINDS]) or "none, tests that need one are skipped"
    missing = [kind for kind in ServerKind if kind not in servers.available()]
    return [
        f"redis servers: {chosen}",
        *(f"redis server missing: {kind} ({servers.why_missing(kind)})" for kind in missing),
        *([] if rabbitmq.executable() else [f"rabbitmq missing: {rabbitmq.why_missing()}"]),
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "redis_kind" in metafunc.fixturenames:
        kinds = metafunc.config.stash[KINDS]
        definition = metafunc.definition
        everywhere = definition.get_closest_marker("every_server_kind")
        if not everywhere or definition.get_closest_marker("one_server_kind"):
            kinds = kinds[:1]
        metafunc.parametrize("redis_kind", kinds, ids=str, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.failed:
        for process in item.stash.get(STARTED, []):
            report.sections.append((f"Log of {process}", process.log[-LOG_TAIL:]))
    return report


@pytest.fixture(scope="session")
def redis_kind(request: pytest.FixtureRequest) -> ServerKind:
    kind: ServerKind = request.param
    return kind


@pytest.fixture(scope="session")
def server(redis_kind: ServerKind) -> Iterator[Server]:
    """The server that tests share. Tests want `redis_server`, which is this one, empty."""
    with Server(redis_kind) as server:
        yield server


@pytest.fixture
def redis_server(server: Server, request: pytest.FixtureRequest) -> Server:
    """A running server without keys or scripts.

    It may be paused, killed and restarted, the next test finds it well again. Its configuration
    isn't reset: take a server of your own from `server_factory` for that.
    """
    if not server.running:
        server.restart()
    server.resume()
    client = server.client()
    client.flushall()
    client.script_flush()
    _started(request).append(server)
    return server


@pytest.fixture
def server_factory(
    redis_kind: ServerKind, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Server]]:
    """`server_factory(*options)`: one more server, all its own, of the kind under test."""
    made: list[Server] = []

    def make(*options: str) -> Server:
        server = Server(redis_kind, *options)
        made.append(server)
        _started(request).append(server)
        return server.start()

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def worker_factory(
    redis_server: Server, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Worker]]:
    """`worker_factory(module, **options)`: a worker that answers, with the options of `Worker`.

    Broker, results and cache are in databases 0, 1 and 2 of `redis_server`, unless `env` says
    otherwise.
    """
    made: list[Worker] = []
    urls = redis_server.environment

    def make(
        module: str,
        *,
        env: dict[str, str] | None = None,
        kind: type[Worker] = Worker,
        **options: Any,
    ) -> Worker:
        worker = kind(module, env=urls | (env or {}), **options)
        made.append(worker)
        _started(request).append(worker)
        return worker

    yield make
    for worker in made:
        worker.stop()


@pytest.fixture
def free_port() -> int:
    return servers.free_port()


@pytest.fixture(scope="session")
def _cluster(redis_kind: ServerKind) -> Iterator[ClusterServers]:
    with ClusterServers(redis_kind) as cluster:
        yield cluster


@pytest.fixture
def cluster_servers(_cluster: ClusterServers, request: pytest.FixtureRequest) -> ClusterServers:
    """A Redis Cluster without keys or scripts, shared. Break it: the next test finds it well."""
    _cluster.heal()
    _started(request).append(_cluster)
    return _cluster


@pytest.fixture(scope="session")
def _sentinels(redis_kind: ServerKind) -> Iterator[SentinelServers]:
    with SentinelServers(redis_kind) as sentinels:
        yield sentinels


@pytest.fixture
def sentinel_servers(
    _sentinels: SentinelServers, request: pytest.FixtureRequest
) -> SentinelServers:
    """A master without keys or scripts, and its Sentinels, shared. Break them as well."""
    _sentinels.heal()
    _started(request).append(_sentinels)
    return _sentinels


@pytest.fixture(scope="session")
def _rabbit() -> Iterator[Rabbit]:
    if rabbitmq.executable() is None:
        pytest.skip(rabbitmq.why_missing())
    with Rabbit() as rabbit:
        yield rabbit


@pytest.fixture
def rabbit(_rabbit: Rabbit, request: pytest.FixtureRequest) -> Rabbit:
    """A RabbitMQ broker, shared. Nobody empties it: a test's queues have names of their own."""
    assert _rabbit.running, _rabbit.log
    _started(request).append(_rabbit)
    return _rabbit


def _started(request: pytest.FixtureRequest) -> list[Started]:
    return request.node.stash.setdefault(STARTED, [])
