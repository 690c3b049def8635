"""The servers behind a link: a cluster's primaries, or the only one."""

from __future__ import annotations

from typing import Any

import redis

from .connection import Link


def primaries(link: Link) -> dict[str, Any]:
    """Return clients of the servers that hold data, by name.

    Raises:
        redis.RedisError: The cluster can't be reached.
    """
    client: Any = link.client
    if isinstance(client, redis.Redis):
        return {"": client}
    return {node.name: client.get_redis_connection(node) for node in client.get_primaries()}


def holder(link: Link, key: str) -> Any:
    """Return a client of the server that holds a key.

    Raises:
        redis.RedisError: The cluster can't be reached.
    """
    client: Any = link.client
    if isinstance(client, redis.Redis):
        return client
    return client.get_redis_connection(client.get_node_from_key(key))
