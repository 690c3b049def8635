"""The address of Redis, and the forms of its URL.

::

    redis://[user:password@]host[:6379][/db]               one server; rediss:// with TLS
    unix://[user:password@]/path[?db=0]                    one server, by its socket
    redis+cluster://[user:password@]host[:6379],…          Redis Cluster, by some of its nodes
    redis+sentinel://[user:password@]host[:26379],…/service[/db]
                                                           the master of a Sentinel service

``rediss+cluster://`` and ``rediss+sentinel://`` are the same with TLS. Credentials are those of
Redis and percent-encoded. Other options of redis-py are query options (``?ssl_ca_certs=…``); those
of the connections to Sentinels have ``sentinel_`` in front: ``sentinel_password=…``. Sentinels use
TLS as Redis does, with the same options; ``sentinel_ssl=true`` or ``false`` overrides it.
"""

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.connection import SSLConnection, parse_url, to_bool

from ...core.record import record
from ...errors import ConfigurationError

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
)

#: For messages.
ALLOWED = (
    "redis://, rediss:// or unix://, "
    "or redis+cluster://, rediss+cluster://, redis+sentinel:// or rediss+sentinel://"
)

SENTINEL_PORT = 26379
_SENTINEL = "sentinel_"


class Topology(Enum):
    """The topology of a Redis."""

    SERVER = "server"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


@record
class Address:
    """The address of a Redis, read from a URL.

    Attributes:
        kind: Its topology.
        hosts: Host and port of the server, of some nodes of the cluster, or of the Sentinels; none
            for a Unix socket.
        options: Options of redis-py's connections, credentials among them. TLS is ``ssl: True``.
        service: The Sentinels' name of the master.
        sentinel_options: Options of the connections to Sentinels.
    """

    kind: Topology
    hosts: tuple[tuple[str, int], ...]
    options: Mapping[str, Any] = field(repr=False)
    service: str = ""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> str:
        """The address for messages, without a password."""
        where = ",".join(_name(*host) for host in self.hosts) or str(self.options.get("path"))
        match self.kind:
            case Topology.SERVER:
                return f"{where}/{self.options.get('db', 0)}"
            case Topology.CLUSTER:
                return f"cluster {where}"
            case Topology.SENTINEL:
                return f"sentinel {self.service} at {where}"


def read_url(url: str) -> Address:
    """Read a URL.

    Raises:
        ConfigurationError: The URL is wrong; the message names the setting and what is allowed. It
            doesn't quote the URL, which may hold a password.
    """
    try:
        return _read(url)
    except ValueError as error:
        # redis-py's own messages may quote a part of the password.
        reason = str(error) if isinstance(error, _WrongURLError) else "redis-py can't read it"
        raise wrong_url(reason) from None


def wrong_url(reason: str) -> ConfigurationError:
    """Make the error of a URL that can't be used."""
    return ConfigurationError(
        f"taskcache_url (or result_backend, which it defaults to): {reason}; allowed is {ALLOWED}, "
        "with options that redis-py knows; special characters in the password must be "
        "percent-encoded"
    )


class _WrongURLError(ValueError):
    """A wrong URL, with a message that may be shown."""


def _read(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise _WrongURLError("not a URL of Redis")
    scheme, _, layout = parts.scheme.partition("+")
    if not layout:
        return _read_server(url)
    userinfo, at, netloc = parts.netloc.rpartition("@")
    own, sentinel = _split(parts.query)
    named = [
        _options(f"{scheme}://{userinfo}{at}{host}?{urlencode(own)}") for host in netloc.split(",")
    ]
    if not all("host" in options for options in named):
        raise _WrongURLError("a host is missing")
    default = SENTINEL_PORT if layout == "sentinel" else 6379
    hosts = tuple((options.pop("host"), options.pop("port", default)) for options in named)
    if layout == "cluster":
        return _cluster(hosts, named[0], parts.path, sentinel)
    return _sentinels(hosts, named[0], parts.path, sentinel)


def _read_server(url: str) -> Address:
    options = _options(url)
    if "path" in options:
        return Address(Topology.SERVER, (), options)
    host = options.setdefault("host", "localhost"), options.setdefault("port", 6379)
    return Address(Topology.SERVER, (host,), options)


def _options(url: str) -> dict[str, Any]:
    options = dict(parse_url(url))
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    return options


def _split(query: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Split query options into those of Redis and those of the Sentinels."""
    pairs = parse_qsl(query)
    return (
        [(name, value) for name, value in pairs if not name.startswith(_SENTINEL)],
        {
            name.removeprefix(_SENTINEL): value
            for name, value in pairs
            if name.startswith(_SENTINEL)
        },
    )


def _cluster(
    hosts: tuple[tuple[str, int], ...],
    options: dict[str, Any],
    path: str,
    sentinel: Mapping[str, str],
) -> Address:
    if path not in ("", "/", "/0") or options.pop("db", 0) != 0:
        raise _WrongURLError("Redis Cluster has no database but 0")
    if sentinel:
        raise _WrongURLError("Redis Cluster has no Sentinels")
    return Address(Topology.CLUSTER, hosts, options)


def _sentinels(
    hosts: tuple[tuple[str, int], ...],
    options: dict[str, Any],
    path: str,
    sentinel: dict[str, str],
) -> Address:
    service, _, db = path.removeprefix("/").partition("/")
    if not service:
        raise _WrongURLError("the name that the Sentinels know the master by is missing (/service)")
    if db:
        if not db.isdecimal():
            raise _WrongURLError("the database must be a number (/service/db)")
        options["db"] = int(db)
    tls = to_bool(sentinel.pop("ssl", None))
    if tls is None:
        tls = bool(options.get("ssl"))
    # Read by redis-py as a URL, so that each value gets its type.
    theirs = _options(f"redis{'s' * tls}://?{urlencode(sentinel)}")
    if tls:
        shared = {name: value for name, value in options.items() if name.startswith("ssl_")}
        theirs = {**shared, **theirs}
    return Address(Topology.SENTINEL, hosts, options, unquote(service), theirs)


def _name(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
