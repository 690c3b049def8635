"""What clients cost a server, as the server itself counts it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from tests.support.servers import Server


@dataclass(slots=True)
class Trips:
    """The round trips within the block; complete when the block has ended."""

    count: int = -1


@contextmanager
def round_trips(server: Server) -> Iterator[Trips]:
    """Count the times that the server had to read from a client.

    One command or one pipeline is one trip, as long as it goes out in one piece (redis-py cuts at
    6 KB). A new connection costs its handshake, some trips more: connect before. Closing one is
    free. Commands from other threads and processes are counted too.
    """
    trips = Trips()
    with _admin(server) as admin:
        before = _reads(admin)
        yield trips
        trips.count = _reads(admin) - before - 1  # the second look is a read itself


@contextmanager
def commands(server: Server) -> Iterator[Counter[str]]:
    """Count the commands executed within the block by lower-case name, those of scripts too.

    The name is the server's: `get`, `evalsha`; and from Redis 7 on `client|setinfo` where 6.2
    says `client`. The counter is filled when the block has ended.
    """
    calls: Counter[str] = Counter()
    with _admin(server) as admin:
        before = _calls(admin)
        yield calls
        calls.update(_calls(admin) - before - Counter(info=1))  # the first look


@contextmanager
def _admin(server: Server) -> Iterator[redis.Redis]:
    with server.client(single_connection_client=True) as client:
        client.ping()  # its handshake happens here, outside of what is counted
        yield client


def _reads(admin: redis.Redis) -> int:
    stats = admin.info()
    # The server counts the end of a connection as a read, too. Every connection that came and is
    # not here any more has ended.
    ended = stats["total_connections_received"] - stats["connected_clients"]
    return int(stats["total_reads_processed"] - ended)


def _calls(admin: redis.Redis) -> Counter[str]:
    stats = admin.info("commandstats")
    return Counter(
        {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}
    )
