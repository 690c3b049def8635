"""redis-py's client for Redis Sentinel, held to the time that a command may take (F1), and to the
master (I1).

A master that was cut off from its Sentinels goes on answering its clients. So they are asked again
every few seconds; and more than half of them, since some may be cut off with it.
"""

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import redis
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.utils import str_if_bytes

from ..exchanges.exchange import Exchange, hold_exchange
from .cluster import scout
from .deadline import TimedConnection, TimedSSLConnection

#: Seconds between two questions to the Sentinels whether the master is still the master.
ASK_AGAIN = 2.0

#: The share of an operation's time that asking all of the Sentinels may take.
SHARE = 0.5


def make_sentinel(
    hosts: Sequence[tuple[str, int]],
    service: str,
    options: Mapping[str, Any],
    sentinel_options: Mapping[str, Any],
    timeout: float,
) -> redis.Redis:
    """Make a client of a service's master. Connects to nothing yet.

    Args:
        hosts: The Sentinels.
        service: Their name of the master.
        options: Options of the connections to the master.
        sentinel_options: Options of the connections to the Sentinels.
        timeout: Seconds that an operation may take.

    Raises:
        TypeError: An option is unknown.
    """
    sentinels = Sentinels([])
    share = SHARE * timeout / len(hosts)
    sentinels.sentinels = [scout(host, port, sentinel_options, share) for host, port in hosts]
    kinds = (MasterConnection, MasterSSLConnection)
    options = dict(options)
    kind = kinds[bool(options.pop("ssl", False))]
    pool = MasterPool(service, sentinels, connection_class=kind, **options)
    # A client that made its pool itself would close it under the hands of other threads.
    return redis.Redis(connection_pool=pool)


class MasterDiscovery:
    """Discovery of a service's master; several may ask at once, and Sentinels may be cut off."""

    sentinels: list[Any]

    def check_master_state(self, state: Any, service_name: str) -> bool:
        """Whether a master is well, by redis-py's own check."""
        raise NotImplementedError

    def discovery(self, service_name: str) -> Exchange[tuple[str, int]]:
        """The master that more than half of the Sentinels know of, as far as they answer.

        Raises:
            MasterNotFoundError: None of them knows one.
        """
        named: dict[tuple[str, int], int] = {}
        silent, answers = [], 0
        for sentinel in self.sentinels:
            try:
                address, epoch = yield from self._named_by(sentinel, service_name)
            except (redis.ConnectionError, redis.TimeoutError):
                silent.append(sentinel)
                continue
            answers += 1
            if address is not None:
                named[address] = epoch
            if 2 * answers > len(self.sentinels) and named:
                break
        if silent:  # asked last from now on; another list, as other threads may read this one
            self.sentinels = [s for s in self.sentinels if s not in silent] + silent
        if not named:
            raise MasterNotFoundError(f"no Sentinel knows a master {service_name!r}")
        return max(named, key=named.__getitem__)  # each failover has a higher epoch

    def _named_by(self, sentinel: Any, service: str) -> Exchange[tuple[Any, int]]:
        """What a Sentinel calls the master, if that is well, and since which epoch."""
        state = (yield sentinel.sentinel_masters).get(service)
        if state is None:
            return None, 0
        epoch: int = state["config-epoch"]
        # The leader of a failover has the new epoch beside the old address until it is over.
        if "failover_in_progress" in state["flags"]:
            return (yield from self._address_by(sentinel, service)), epoch
        is_well = self.check_master_state(state, service)
        return ((state["ip"], state["port"]) if is_well else None), epoch

    @staticmethod
    def _address_by(sentinel: Any, service: str) -> Exchange[tuple[str, int] | None]:
        # redis-py's own method for it fails with a client of one Sentinel, from 6.4 to 7.4.
        command = "SENTINEL GET-MASTER-ADDR-BY-NAME"
        address: Any = yield partial(sentinel.execute_command, command, service)
        return address and (str_if_bytes(address[0]), address[1])


class Sentinels(Sentinel, MasterDiscovery):
    """Sentinels that threads ask."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        return hold_exchange(self.discovery(service_name))


class MasterPool(SentinelConnectionPool):
    """Connections to the master, for as long as its Sentinels call it that."""

    _asked_at = 0.0

    def get_connection(self, *args: Any, **options: Any) -> Any:
        now = monotonic()
        if self.master_address is not None and now - self._asked_at > ASK_AGAIN:
            self._asked_at = now  # first, so that one thread asks
            with suppress(redis.ConnectionError, redis.TimeoutError):
                self.get_master_address()  # which closes connections to another
        return super().get_connection(*args, **options)


class MasterConnection(SentinelManagedConnection, TimedConnection):
    """A connection to the master, and to no former one."""

    def connect(self) -> None:
        # Without redis-py's own retries: the command is repeated once.
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
            return  # an ACL may forbid ROLE
        if role[0] != b"master":
            raise redis.ConnectionError("what the Sentinels call the master is none any more")

    def read_response(self, *args: Any, **options: Any) -> Any:
        # redis-py (8.1) keeps the connection after a timeout, and the next command would take the
        # late reply for its own.
        options.setdefault("disconnect_on_error", True)
        try:
            return super().read_response(*args, **options)
        except redis.ResponseError as error:
            # Up to Redis 6.2, a script's error is no ReadOnlyError, which redis-py would handle.
            if "-READONLY " in str(error):
                self.disconnect()
                raise redis.ConnectionError("The previous master is now a slave") from error
            raise


class MasterSSLConnection(MasterConnection, SentinelManagedSSLConnection, TimedSSLConnection):
    """A connection to the master, with TLS."""
