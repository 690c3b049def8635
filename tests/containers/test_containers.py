"""The package as it is installed, in containers: with RabbitMQ and Redis, and a worker of its own.

pytest-celery starts one of each for every test. All of its fixtures ask for `docker_client`, so
where no Docker engine answers that skips them, and nothing is built or pulled.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord
from celery.contrib.testing.app import setup_default_app

from tests.containers import app as app_module
from tests.support.workers import ROOT
from tta_taskcache import TaskCache

docker = pytest.importorskip("docker", reason="no docker module: pytest-celery isn't installed")
pytest_celery = pytest.importorskip("pytest_celery")
pytest_docker_tools = pytest.importorskip("pytest_docker_tools")

#: Seconds for a result: the container's worker may have just begun to listen.
PATIENCE = 60

pytestmark = [
    pytest.mark.timeout(900),  # images are pulled and built
    pytest.mark.parametrize(
        "celery_broker", ["celery_redis_broker", "celery_rabbitmq_broker"], indirect=True
    ),
    pytest.mark.parametrize("celery_backend", ["celery_redis_backend"], indirect=True),
]


@pytest.fixture(scope="session")
def docker_client() -> Iterator[Any]:
    """The engine, or the reason to skip."""
    try:
        client = docker.from_env()  # asks for the engine's version
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    yield client
    client.close()


@pytest.fixture
def default_redis_broker_image() -> str:
    return "redis:7.2-alpine"


@pytest.fixture
def default_redis_backend_image() -> str:
    return "redis:7.2-alpine"


@pytest.fixture
def default_rabbitmq_broker_image() -> str:
    return "rabbitmq:3.13-alpine"


taskcache_worker_image = pytest_docker_tools.build(
    path=str(ROOT),
    dockerfile="tests/containers/Dockerfile",
    tag="tta-taskcache/tests/worker:latest",
)

# In place of the built-in one, with our image.
default_worker_container = pytest_docker_tools.container(
    image="{taskcache_worker_image.id}",
    environment=pytest_docker_tools.fxtr("default_worker_env"),
    network="{default_pytest_celery_network.name}",
    volumes={"{default_worker_volume.name}": pytest_celery.DEFAULT_WORKER_VOLUME},
    wrapper_class=pytest_celery.CeleryWorkerContainer,
    timeout=pytest_celery.DEFAULT_WORKER_CONTAINER_TIMEOUT,
    command=pytest_docker_tools.fxtr("default_worker_command"),
)


@pytest.fixture
def default_worker_initial_content() -> dict[str, bytes]:
    """What the worker finds in /app: the module that `celery -A app worker` loads."""
    return {"app.py": Path(app_module.__file__).read_bytes()}


@pytest.fixture
def default_worker_command(default_worker_container_cls: Any) -> list[str]:
    command: list[str] = default_worker_container_cls.command("--concurrency=2")
    return command


@pytest.fixture
def celery_setup_app(celery_setup_config: dict[str, Any]) -> Iterator[Celery]:
    """The producer: the worker's application, with the brokers' ports on this machine."""
    app = app_module.make_app()
    app.conf.update(celery_setup_config)
    with setup_default_app(app):  # a node that restarts makes it the current one
        yield app


@pytest.fixture
def app(celery_setup: Any) -> Celery:
    """The producer's application, with all containers up."""
    assert celery_setup.ready()
    made: Celery = celery_setup.app
    return made


def got(result: Any) -> Any:
    return result.get(timeout=PATIENCE)


def test_a_miss_and_hits_at_producer_and_consumer(app: Celery) -> None:
    fresh, at_consumer = app.tasks["fresh"], app.tasks["at_consumer"]
    ran = fresh.delay("a")
    assert not ran.cache_status.hit
    value = got(ran)
    again = fresh.delay("a")
    assert again.cache_status.site == "producer"
    assert got(again) == got(app.AsyncResult(again.id)) == value
    assert got(fresh.delay("b")) != value
    assert got(at_consumer.delay("a")) == got(at_consumer.delay("a"))
    TaskCache(app).clear()
    assert got(fresh.delay("a")) != value


def test_chain_and_chord_warm(app: Celery) -> None:
    fresh, after = app.tasks["fresh"], app.tasks["after"]

    def both() -> list[str]:
        return [
            got(chain(fresh.s("a"), after.s("b")).delay()),
            got(chord([fresh.s("a"), fresh.s("c")], after.s("d")).delay()),
        ]

    cold = both()
    assert both() == cold
    fresh.cache.invalidate("c")
    chained, body = both()
    assert chained == cold[0]
    assert body != cold[1]


def test_entries_outlive_the_worker(app: Celery, celery_worker: Any) -> None:
    fresh, at_consumer = app.tasks["fresh"], app.tasks["at_consumer"]
    values = [got(task.delay("a")) for task in (fresh, at_consumer)]
    celery_worker.restart()
    assert [got(task.delay("a")) for task in (fresh, at_consumer)] == values
    assert got(fresh.delay("b"))  # and it runs what it hasn't
