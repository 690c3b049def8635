"""redis-py's client for Redis Sentinel, held to the time that a command may take (F1), and to the
master (I1).
"""

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import redis
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from .cluster import scout
from .deadline import TimedConnection, TimedSSLConnection


def make_sentinel(
    hosts: Sequence[tuple[str, int]],
    service: str,
    options: Mapping[str, Any],
    sentinel_options: Mapping[str, Any],
    timeout: float,
) -> redis.Redis:
    """A client of the master of a service. Connects to nothing yet.

    Args:
        hosts: The Sentinels.
        service: What they call the master.
        options: Options of the connections to the master.
        sentinel_options: Options of the connections to the Sentinels.
        timeout: Seconds that asking all of the Sentinels for the master may take.

    Raises:
        TypeError: An option is unknown.
    """
    sentinels = Sentinels([])
    sentinels.sentinels = [
        scout(host, port, sentinel_options, timeout / len(hosts)) for host, port in hosts
    ]
    kinds = (MasterConnection, MasterSSLConnection)
    options = dict(options)
    kind = kinds[bool(options.pop("ssl", False))]
    pool = SentinelConnectionPool(service, sentinels, connection_class=kind, **options)
    # A client that made its pool itself would close it under the hands of other threads.
    return redis.Redis(connection_pool=pool)


class Sentinels(Sentinel):
    """Sentinels that may be asked by several threads at once."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        # redis-py moves the one that answered to the front, in place: when two threads do, one may
        # be lost, for ever.
        mine = copy(self)
        mine.sentinels = list(self.sentinels)
        address: tuple[str, int] = super(Sentinels, mine).discover_master(service_name)
        self.sentinels = mine.sentinels
        return address


class MasterConnection(SentinelManagedConnection, TimedConnection):
    """A connection to the master, and to nobody who only was."""

    def connect(self) -> None:
        # Not repeated here, as redis-py does: the command is repeated once.
        self._connect_retry()

    def check_role(self) -> None:
        """Refuse a server that isn't a master.

        Raises:
            redis.ConnectionError: It is none.
        """
        # A Sentinel may know late of a failover. What the old master answers is stale.
        self.send_command("ROLE", check_health=False)
        try:
            role = self.read_response()
        except redis.ResponseError:
            return  # an access list may forbid to ask
        if role[0] != b"master":
            raise redis.ConnectionError("what the Sentinels call the master is none any more")

    def read_response(self, *args: Any, **options: Any) -> Any:
        # redis-py (8.1) keeps the connection after a timeout, with the reply still to come, for the
        # next command to take for its own.
        options.setdefault("disconnect_on_error", True)
        try:
            return super().read_response(*args, **options)
        except redis.ResponseError as error:
            # Up to Redis 6.2, a script's error is no ReadOnlyError, which redis-py takes care of.
            if "-READONLY " in str(error):
                self.disconnect()
                raise redis.ConnectionError("The previous master is now a slave") from error
            raise


class MasterSSLConnection(MasterConnection, SentinelManagedSSLConnection, TimedSSLConnection):
    """The same, with TLS."""
