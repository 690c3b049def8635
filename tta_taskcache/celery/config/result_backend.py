"""Celery's spelling of where its results are, in ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from kombu.utils.url import url_to_parts

from ...errors import ConfigurationError

#: What lets Celery into the Sentinels. Its timeouts aren't those of the cache.
_CREDENTIALS = ("username", "password", "ssl")


def sentinel_url(conf: Any) -> str:
    """The URL for a result backend of ``sentinel://host;sentinel://host``.

    As Celery does, it takes credentials and database from the first of them, else from
    ``redis_username``, ``redis_password`` and ``redis_db``; TLS to Redis from
    ``redis_backend_use_ssl``; and what is for the Sentinels from ``sentinel_kwargs``.

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
        # Celery uses TLS with the Sentinels only when told so for them.
        options = {"sentinel_ssl": False, **options}
    if isinstance(tls, Mapping):
        options |= backend_url(tls)
    scheme = "rediss" if tls else "redis"
    place = f"{scheme}+sentinel://{login}{hosts}/{quote(service, safe='')}/{db}"
    return f"{place}?{urlencode(options)}" if options else place


def key_prefix(conf: Any) -> str:
    """What keeps apart projects that share the result backend's Redis (``global_keyprefix``).

    What has a meaning in patterns or in a cluster is percent-encoded.

    Raises:
        ConfigurationError: It isn't a string.
    """
    transport: Mapping[str, Any] = conf.result_backend_transport_options or {}
    prefix = transport.get("global_keyprefix") or ""
    if not isinstance(prefix, str):
        raise ConfigurationError(
            f"result_backend_transport_options: global_keyprefix={prefix!r}: must be a string"
        )
    # As Celery does: a prefix ends somewhere.
    ends = not prefix or prefix[-1] in ":_-/."
    return quote(prefix if ends else f"{prefix}:", safe=":/")


def backend_url(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of redis-py's connections as they are spelled in a URL."""
    parse_call_spec = {name: value for name, value in options.items() if value is not None}
    if "ssl_cert_reqs" in parse_call_spec:
        name = getattr(parse_call_spec["ssl_cert_reqs"], "name", parse_call_spec["ssl_cert_reqs"])
        parse_call_spec["ssl_cert_reqs"] = str(name).removeprefix("CERT_").lower()
    return parse_call_spec


def _for_sentinels(given: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {
        name: value
        for name, value in given.items()
        if name in _CREDENTIALS or name.startswith("ssl_")
    }
    return {f"sentinel_{name}": value for name, value in backend_url(wanted).items()}


def _host(name: str, port: int | None) -> str:
    name = f"[{name}]" if ":" in name else name
    return f"{name}:{port}" if port else name
