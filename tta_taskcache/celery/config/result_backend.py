"""The result backend's Redis: Celery's URL and options of it, as a ``taskcache_url``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from kombu.utils.url import url_to_parts

from ...errors import ConfigurationError

#: Options of Celery's connections to the Sentinels that the cache takes over; timeouts are its own.
_CREDENTIALS = ("username", "password", "ssl")


def sentinel_url(conf: Any) -> str:
    """Return the URL of a result backend of ``sentinel://host;sentinel://host``.

    Credentials and database are read as by Celery: from the first URL, else from
    ``redis_username``, ``redis_password`` and ``redis_db``; TLS to Redis from
    ``redis_backend_use_ssl``; options of the Sentinels from ``sentinel_kwargs``.

    Raises:
        ConfigurationError: The name of the master is missing.
    """
    transport: Mapping[str, Any] = conf.result_backend_transport_options or {}
    service = transport.get("master_name")
    if not service:
        raise ConfigurationError(
            "result_backend_transport_options: 'master_name' is missing, which a result backend of "
            "Redis Sentinel needs; set it, or taskcache_url"
        )
    found = [url_to_parts(url) for url in conf.result_backend.split(";") if url]
    hosts = ",".join(_host(parts.hostname or "localhost", parts.port) for parts in found)
    first = found[0]
    user = quote(first.username or conf.redis_username or "", safe="")
    password = quote(first.password or conf.redis_password or "", safe="")
    login = f"{user}:{password}@" if user or password else ""
    db = (first.path or "").strip("/") or conf.redis_db or 0
    tls = conf.redis_backend_use_ssl
    options = _for_sentinels(transport.get("sentinel_kwargs") or {})
    if tls:
        # Celery uses TLS with the Sentinels only with an option of their own.
        options = {"sentinel_ssl": False, **options}
    if isinstance(tls, Mapping):
        options |= url_options(tls)
    scheme = "rediss" if tls else "redis"
    place = f"{scheme}+sentinel://{login}{hosts}/{quote(service, safe='')}/{db}"
    return f"{place}?{urlencode(options)}" if options else place


def key_prefix(conf: Any) -> str:
    """Return the prefix of a project that shares the result backend's Redis (``global_keyprefix``).

    Characters with a meaning in patterns or in a cluster are percent-encoded.

    Raises:
        ConfigurationError: The prefix isn't a string.
    """
    transport: Mapping[str, Any] = conf.result_backend_transport_options or {}
    prefix = transport.get("global_keyprefix") or ""
    if not isinstance(prefix, str):
        raise ConfigurationError(
            f"result_backend_transport_options: global_keyprefix={prefix!r}: must be a string"
        )
    # As Celery does: a prefix ends with a separator.
    ends = not prefix or prefix[-1] in ":_-/."
    return quote(prefix if ends else f"{prefix}:", safe=":/")


def url_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of redis-py's connections as URL options: ``CERT_NONE`` becomes ``none``."""
    given = {name: value for name, value in options.items() if value is not None}
    if "ssl_cert_reqs" in given:
        name = getattr(given["ssl_cert_reqs"], "name", given["ssl_cert_reqs"])
        given["ssl_cert_reqs"] = str(name).removeprefix("CERT_").lower()
    return given


def _for_sentinels(given: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {
        name: value
        for name, value in given.items()
        if name in _CREDENTIALS or name.startswith("ssl_")
    }
    return {f"sentinel_{name}": value for name, value in url_options(wanted).items()}


def _host(name: str, port: int | None) -> str:
    name = f"[{name}]" if ":" in name else name
    return f"{name}:{port}" if port else name
