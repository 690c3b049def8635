"""Where workflows are compared: pools, brokers and result backends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import product, starmap
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.conformance.harness import MODULE, Harness, environment, make_harness, settings
from tests.support import rabbitmq
from tests.support.brokers import with_folder, with_rabbit
from tests.support.rabbitmq import Rabbit
from tests.support.servers import Server
from tests.support.workers import FolderWorker, Worker


@dataclass(frozen=True)
class Place:
    """One combination; the cache is on Redis everywhere.

    Attributes:
        pool: The worker's pool.
        broker: Name of the broker.
        backend: Name of the result backend.
    """

    pool: str = "prefork"
    broker: str = "redis"
    backend: str = "redis"

    @property
    def stored(self) -> bool:
        """Whether another process than the caller's can read results."""
        return self.backend in ("redis", "database")

    def __str__(self) -> str:
        return f"{self.pool}, {self.broker}, {self.backend}"


POOLS = ("prefork", "threads", "gevent", "eventlet", "solo")
BROKERS = ("redis", "rabbitmq", "quorum", "filesystem")
BACKENDS = ("redis", "database", "rpc", "disabled")

#: Every combination.
PRODUCT = tuple(starmap(Place, product(POOLS, BROKERS, BACKENDS)))

#: Those that differ from the first in one thing at most.
AXES = tuple(
    place
    for place in PRODUCT
    if (place.pool != POOLS[0]) + (place.broker != "redis") + (place.backend != "redis") <= 1
)

#: Workflows that have everything in them.
FEW = (
    "several links",
    "link_error",
    "chain with links",
    "group with a failure",
    "chord in a chain",
    "chord, error in its header",
    "replace by a chain",
    "retry",
    "ignore_result",
    "acks_late",
    "rate_limit",
    "chunks",
)


def why_not(place: Place) -> str:
    """Why a place can't be had here; empty when it can."""
    if place.broker in ("rabbitmq", "quorum") and rabbitmq.executable() is None:
        return rabbitmq.why_missing()
    needed = {"gevent": "gevent", "eventlet": "eventlet", "database": "sqlalchemy"}
    for name in (place.pool, place.backend):
        if name in needed and find_spec(needed[name]) is None:
            return f"{needed[name]} isn't installed"
    return ""


@dataclass
class Around:
    """What a place is made of.

    Attributes:
        server: Redis.
        rabbit: Gives RabbitMQ, when it is asked for.
        folder: For files.
    """

    server: Server
    rabbit: Callable[[], Rabbit]
    folder: Path
    name: str = field(default_factory=lambda: f"conformance-{uuid4().hex[:8]}")

    def made_with(self, place: Place) -> dict[str, Any]:
        """What the application of a place is made with."""
        made = settings(self.server, task_default_queue=self.name)
        match place.broker:
            case "rabbitmq" | "quorum":
                made |= with_rabbit(self.rabbit(), quorum=place.broker == "quorum")
            case "filesystem":
                made |= with_folder(self.folder)
        match place.backend:
            case "database":
                made["backend"] = f"db+sqlite:///{self.folder}/results.sqlite"
            case "rpc":
                made["backend"] = "rpc://"
            case "disabled":
                made["backend"] = None
        made["broker"] = made.pop("broker_url", made["broker"])
        return made


@contextmanager
def at(place: Place, around: Around) -> Iterator[Harness]:
    """The application at a place, with a worker."""
    made_with = around.made_with(place)
    with make_harness(made_with) as producer:
        producer.stored = place.stored
        env = environment(made_with)
        kind = FolderWorker if place.broker == "filesystem" else Worker
        with kind(MODULE, env=env, pool=place.pool, concurrency=2):
            yield producer
