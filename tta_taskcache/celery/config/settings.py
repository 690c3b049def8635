"""Settings: ``taskcache_*`` in ``app.conf``, or keywords of ``TaskCache``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, urlencode

from celery import Celery

from ...core.events import Observe
from ...core.options.option_values import seconds
from ...core.record import record
from ...errors import ConfigurationError
from ...observability import observers
from ...stores.connections.address import ALLOWED, SCHEMES
from .result_backend import key_prefix, sentinel_url, url_options

PREFIX = "taskcache_"

#: Bounds of ``lease_ttl`` (s): a worker's main process has to renew the lease in time; followers of
#: a dead leader wait for as long.
MIN_LEASE_TTL, MAX_LEASE_TTL = 0.5, 60.0

MAX_PORT = 65_535

#: The longest key of BLAKE2b.
MAX_SECRET_BYTES = 64


@record(kw_only=True)
class Settings:
    """The settings of one app. Each field is the setting ``taskcache_<field>``.

    Attributes:
        url: URL of the cache's Redis: one server (``redis://``, ``rediss://`` or ``unix://``),
            Redis Cluster (``redis+cluster://host:port,…``) or Sentinel
            (``redis+sentinel://host:port,…/service/db``), these two with TLS as ``rediss+…``; see
            ``stores.connections.address``. None: the result backend's, if that is Redis or
            Sentinel; else each process caches in its own memory.
        namespace: Prefix of all keys in Redis, behind the ``global_keyprefix`` of the result
            backend, if it has one.
        enabled: False turns the cache off: every call runs.
        default_ttl: Seconds that entries of tasks without ``cache_ttl`` are fresh.
        l1_max_entries: Most entries in a process's memory; 0 turns L1 off.
        l1_max_bytes: Most bytes in a process's memory.
        l1_max_staleness: Δ: seconds for which a process answers from memory before it polls the
            invalidation log again; 0 is strict: it polls for each answer.
        timeout: Seconds that a command to Redis may take.
        lease_ttl: Seconds after which an equal call takes over from a call whose worker is gone;
            while the task runs, its lease is renewed.
        max_followers: Messages that a worker holds beyond its prefetch count while equal calls
            run; with more, it pulls no further messages.
        wait_replicas: Replicas of Redis that have to acknowledge an invalidation, too (``WAIT``).
        metrics_namespace: Prefix of the names of all metrics for Prometheus.
        metrics_host: Address on which a worker serves metrics: by default only to this machine;
            ``0.0.0.0`` or ``::`` serve every machine.
        metrics_port: Port on which a worker serves metrics, those of its pool processes included;
            None for none.
        shadow: Whether calls are looked up and counted, and run (shadow mode), of tasks without
            ``cache_shadow``.
        send_events: Whether a hit at the producer sends an event to monitors such as Flower, at the
            price of a message to the broker. Workers send theirs with Celery's ``-E``.
        write_behind: Whether results of hits at the producer are stored in the background, within
            10 ms, and not before ``apply_async`` returns. A process that is killed loses those of
            that time.
        observers: Callables that are told of each event (``core.events``), or names of installed
            ones: ``opentelemetry``, ``sentry``, ``structlog``, and those of other packages' entry
            points ``tta_taskcache.observers``.
        secret: Key of the entries' signatures (BLAKE2b): only processes that have it can make
            entries. Empty: a plain checksum.
    """

    url: str | None = field(default=None, repr=False)
    namespace: str = "taskcache"
    enabled: bool = True
    default_ttl: float = 3600.0
    l1_max_entries: int = 10_000
    l1_max_bytes: int = 64 * 1024 * 1024
    l1_max_staleness: float = 0.25
    timeout: float = 0.25
    lease_ttl: float = 5.0
    max_followers: int = 1_000
    wait_replicas: int = 0
    metrics_namespace: str = "taskcache"
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    shadow: bool = False
    send_events: bool = False
    write_behind: bool = False
    observers: tuple[str | Observe, ...] = ()
    secret: str = field(default="", repr=False)


NAMES = tuple(f.name for f in fields(Settings))


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse unknown settings.

    Raises:
        ConfigurationError: A setting is wrong; the message names it and what is allowed.
    """
    for name in names:
        if name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(
                f"{where}: unknown setting {name!r}{hint} (allowed: {', '.join(NAMES)})"
            )


def check_keywords(given: Mapping[str, Any]) -> None:
    """Validate the keywords of ``TaskCache``.

    Raises:
        ConfigurationError: A setting is wrong; the message names it and what is allowed.
    """
    check_names(given, "TaskCache()")
    for name, value in given.items():
        if value is not None:
            _read(name, value)


def read_settings(app: Celery, overrides: Mapping[str, Any]) -> Settings:
    """Read and validate the settings in force.

    Raises:
        ConfigurationError: A setting is wrong; the message names it and what is allowed.
    """
    conf = app.conf
    own = {
        str(name).lower().removeprefix((conf.prefix or "").lower())
        for name in conf
        if isinstance(name, str)
    }
    check_names(
        [name.removeprefix(PREFIX) for name in sorted(own) if name.startswith(PREFIX)],
        "app.conf, prefix taskcache_",
    )
    given = {name: conf.get(PREFIX + name) for name in NAMES}
    given.update(overrides)
    values = {name: _read(name, value) for name, value in given.items() if value is not None}
    if "url" not in values:
        values["url"] = result_backend_url(app)
    settings = Settings(**values)
    return replace(settings, namespace=key_prefix(conf) + settings.namespace)


def result_backend_url(app: Celery) -> str | None:
    """Return the URL of the result backend's Redis; None where that is something else."""
    url = app.conf.result_backend
    if isinstance(url, str) and re.match(r"(redis|rediss|unix|redis\+socket)://", url):
        return _for_redis_py(url, app.conf.redis_backend_use_ssl)
    if isinstance(url, str) and url.startswith("sentinel://"):
        return sentinel_url(app.conf)
    return None


def _for_redis_py(url: str, use_ssl: Any) -> str:
    """Return Celery's URL of a Redis, and ``redis_backend_use_ssl``, as a URL of redis-py's."""
    where, _, text = url.replace("redis+socket://", "unix://", 1).partition("?")
    query = dict(parse_qsl(text))
    if isinstance(use_ssl, Mapping) and not where.startswith("unix:"):
        where = re.sub("^redis:", "rediss:", where)
        query = {**use_ssl, **query}
    if "virtual_host" in query:
        query["db"] = query.pop("virtual_host")
    query = url_options(query)
    return f"{where}?{urlencode(query)}" if query else where


def _read(name: str, value: Any) -> Any:
    try:
        return _READERS[name](value)
    except ValueError as error:
        shown = "…" if name in ("secret", "url") else repr(value)
        raise ConfigurationError(f"{PREFIX}{name}={shown}: {error}") from None


def _text(pattern: str, allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"must be {allowed}")
        return value

    return read


def _flag(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise ValueError("must be True or False")


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number, 0 or more")
    return value


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_PORT:
        raise ValueError(f"must be a port: a whole number from 1 to {MAX_PORT}")
    return value


def _zero_or_seconds(value: Any) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else seconds(value)


def _lease_ttl(value: Any) -> float:
    if not MIN_LEASE_TTL <= (read := seconds(value)) <= MAX_LEASE_TTL:
        raise ValueError(f"must be at least {MIN_LEASE_TTL} and at most {MAX_LEASE_TTL} seconds")
    return read


def _observers(value: Any) -> tuple[str | Observe, ...]:
    names = tuple(sorted(observers.available()))
    if not isinstance(value, (list, tuple)):
        allowed = f"a list of callables, or of names: {', '.join(names)}"
        raise ValueError(f"must be {allowed}")  # noqa: TRY004 - as for any other value
    for each in value:
        if isinstance(each, type) or not (each in names or callable(each)):
            raise ValueError(f"{each!r} is no callable, nor one of {', '.join(names)}")
    return tuple(value)


def _secret(value: Any) -> str:
    if not isinstance(value, str) or len(value.encode(errors="replace")) > MAX_SECRET_BYTES:
        raise ValueError(f"must be a string of at most {MAX_SECRET_BYTES} bytes")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "url": _text(rf"({'|'.join(map(re.escape, SCHEMES))})://\S+", f"a URL with {ALLOWED}"),
    "namespace": _text(r"[A-Za-z0-9._-]+", "letters, digits, and any of . _ -"),
    "enabled": _flag,
    "default_ttl": seconds,
    "l1_max_entries": _count,
    "l1_max_bytes": _count,
    "l1_max_staleness": _zero_or_seconds,
    "timeout": seconds,
    "lease_ttl": _lease_ttl,
    "max_followers": _count,
    "wait_replicas": _count,
    "metrics_namespace": _text(
        r"[A-Za-z][A-Za-z0-9_]*", "letters, digits and underscores, a letter first"
    ),
    "metrics_host": _text(r"[A-Za-z0-9.:%_-]+", "an address or the name of a host"),
    "metrics_port": _port,
    "shadow": _flag,
    "send_events": _flag,
    "write_behind": _flag,
    "observers": _observers,
    "secret": _secret,
}
