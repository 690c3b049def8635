"""Connections to Redis that give up in time, and survive forks and interruptions (F1, F3)."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..errors import ConfigurationError


class HasClient(Protocol):
    """Whatever keeps a client."""

    client: redis.Redis


def connect(url: str, timeout: float) -> redis.Redis:
    """A client that gives up after ``timeout`` seconds.

    A connection that Redis has closed meanwhile is opened again once, at once; timeouts aren't
    retried.

    Raises:
        ConfigurationError: The URL isn't one that redis-py can read.
    """
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            protocol=2,
            decode_responses=False,
        )
    except ValueError:
        # redis-py's message may quote a part of the password.
        raise ConfigurationError(
            "taskcache_url (or result_backend, which it defaults to): not a URL that redis-py can "
            "read; special characters in the password must be percent-encoded"
        ) from None


def unconnected(client: redis.Redis) -> redis.Redis:
    """The same client with no connections."""
    pool = client.connection_pool
    connections = redis.ConnectionPool(
        connection_class=pool.connection_class, **pool.connection_kwargs
    )
    return redis.Redis(connection_pool=connections)


def renew_after_fork(owner: HasClient) -> None:
    """From now on, give the owner a client without connections in each forked child."""
    _owners.add(owner)


_owners: WeakSet[HasClient] = WeakSet()

#: Clients of parent processes, kept: closing one would take locks as well.
_left_to_parents: list[redis.Redis] = []


def _renew_clients() -> None:
    for owner in list(_owners):
        _left_to_parents.append(owner.client)
        owner.client = unconnected(owner.client)


# redis-py's pool notices a fork, but takes its lock to do so (8.1); when another thread held that
# lock at the time of the fork, nobody ever releases it in the child.
os.register_at_fork(after_in_child=_renew_clients)
