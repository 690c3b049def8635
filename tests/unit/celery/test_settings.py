"""Settings: where they come from, and what is said when they are wrong."""

import ssl
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from tta_taskcache import TaskCache
from tta_taskcache.celery.config.settings import NAMES, Settings, read_settings
from tta_taskcache.core.entries.entry import Position, pack, unpack
from tta_taskcache.errors import ConfigurationError
from tta_taskcache.stores.connections.address import SCHEMES, read_url
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.testing import make_entry


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery(broker="memory://", backend="cache+memory://", set_as_current=False) as app:
        yield app


def test_defaults(app: Celery) -> None:
    assert read_settings(app, {}) == Settings()
    assert Settings().l1_max_staleness == 0.25


def test_conf_and_keywords_which_override(app: Celery) -> None:
    app.conf.update(taskcache_namespace="conf", taskcache_timeout=1, taskcache_enabled=False)
    settings = read_settings(app, {"namespace": "keyword", "default_ttl": timedelta(minutes=1)})
    assert (settings.namespace, settings.timeout) == ("keyword", 1.0)
    assert (settings.enabled, settings.default_ttl) == (False, 60.0)


def test_none_is_as_good_as_not_given(app: Celery) -> None:
    app.conf.update({f"taskcache_{name}": None for name in NAMES})
    assert read_settings(app, dict.fromkeys(NAMES)) == Settings()


def test_django_prefix(app: Celery) -> None:
    class Django:
        CELERY_TASKCACHE_NAMESPACE = "django"
        CELERY_TASKCACHE_DEFAULT_TTL = 5

    app.config_from_object(Django, namespace="CELERY")
    settings = read_settings(app, {})
    assert (settings.namespace, settings.default_ttl) == ("django", 5.0)


def test_django_prefix_unknown(app: Celery) -> None:
    class Django:
        CELERY_TASKCACHE_NAMESPASE = "django"

    app.config_from_object(Django, namespace="CELERY")
    with pytest.raises(ConfigurationError, match="'namespase'; did you mean 'namespace'"):
        read_settings(app, {})


@pytest.mark.parametrize(
    ("backend", "url"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("rediss://h:1/2?ssl_cert_reqs=none", "rediss://h:1/2?ssl_cert_reqs=none"),
        ("redis+socket:///tmp/s?db=1", "unix:///tmp/s?db=1"),
        ("rpc://", None),
        ("db+sqlite:///x", None),
        (None, None),
    ],
)
def test_url_is_the_result_backends(backend: str | None, url: str | None) -> None:
    app = Celery(backend=backend, set_as_current=False)
    assert read_settings(app, {}).url == url
    assert read_settings(app, {"url": "redis://other"}).url == "redis://other"


SENTINELS = "sentinel://:p%40ss@h1:1/3;sentinel://h2"


@pytest.mark.parametrize(
    ("conf", "url"),
    [
        ({}, "redis+sentinel://:p%40ss@h1:1,h2/my%20main/3"),
        ({"result_backend": "sentinel://h"}, "redis+sentinel://h/my%20main/0"),
        ({"result_backend": "sentinel://[::1]:1;"}, "redis+sentinel://[::1]:1/my%20main/0"),
        (
            {
                "result_backend": "sentinel://h",
                "redis_username": "u",
                "redis_password": "p@",
                "redis_db": 4,
            },
            "redis+sentinel://u:p%40@h/my%20main/4",
        ),
        (
            {"redis_backend_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_ca_certs": None}},
            "rediss+sentinel://:p%40ss@h1:1,h2/my%20main/3?sentinel_ssl=False&ssl_cert_reqs=none",
        ),
    ],
)
def test_url_is_that_of_the_result_backends_sentinels(conf: dict[str, Any], url: str) -> None:
    app = sentinel_app(**conf)
    assert read_settings(app, {}).url == url
    assert "p@" not in Link(url, 1.0).place


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"username": "a", "password": "b&c", "socket_timeout": 9, "retry": object()}, ("a", None)),
        ({"ssl": True, "ssl_cert_reqs": ssl.CERT_OPTIONAL}, (None, "optional")),
    ],
)
def test_what_is_for_the_sentinels_is_taken_over(given: dict[str, Any], expected: Any) -> None:
    app = sentinel_app(master_name="m", sentinel_kwargs=given)
    options = read_url(read_settings(app, {}).url or "").sentinel_options
    assert (options.get("username"), options.get("ssl_cert_reqs")) == expected
    assert options.get("password") == given.get("password")
    assert bool(options.get("ssl")) == bool(given.get("ssl"))
    assert not {"socket_timeout", "retry"} & set(options)


def test_sentinels_without_the_name_of_the_master() -> None:
    app = sentinel_app(master_name=None)
    with pytest.raises(ConfigurationError, match="'master_name' is missing") as refused:
        read_settings(app, {})
    assert "p%40ss" not in str(refused.value)
    assert read_settings(app, {"url": "redis://other"}).url == "redis://other"


def sentinel_app(master_name: str | None = "my main", **conf: Any) -> Celery:
    app = Celery(set_as_current=False)
    transport = {"master_name": master_name, "sentinel_kwargs": conf.pop("sentinel_kwargs", {})}
    app.conf.update({"result_backend": SENTINELS, "result_backend_transport_options": transport})
    app.conf.update(conf)
    return app


def test_urls_of_every_layout_are_taken(app: Celery) -> None:
    for scheme in SCHEMES:
        url = f"{scheme}://h/main"
        assert read_settings(app, {"url": url}).url == url


SECONDS = "more than 0 and at most"
COUNT = "whole number, 0 or more"
WRONG = [
    ("url", "http://h", "redis://, rediss:// or unix://"),
    ("url", "redis+socket://h", "redis\\+cluster://, rediss\\+cluster://, redis\\+sentinel://"),
    ("url", "sentinel://h", "rediss\\+sentinel://"),
    ("url", "", "redis://, rediss:// or unix://"),
    ("url", 1, "redis://, rediss:// or unix://"),
    ("namespace", "", "letters, digits"),
    ("namespace", "a:b", "letters, digits"),
    ("namespace", "a*", "letters, digits"),
    ("namespace", "{a}", "letters, digits"),
    ("namespace", "a\n", "letters, digits"),
    ("enabled", 1, "True or False"),
    ("default_ttl", 0, SECONDS),
    ("default_ttl", -1, SECONDS),
    ("default_ttl", "1", "number of seconds"),
    ("l1_max_entries", -1, COUNT),
    ("l1_max_entries", 1.5, COUNT),
    ("l1_max_bytes", True, COUNT),
    ("l1_max_bytes", "64MB", COUNT),
    ("l1_max_staleness", -0.1, SECONDS),
    ("l1_max_staleness", False, "number of seconds"),
    ("timeout", 0, SECONDS),
    ("timeout", float("nan"), SECONDS),
    ("lease_ttl", 0, SECONDS),
    ("lease_ttl", 0.1, "at least 0.5 and at most 60"),
    ("lease_ttl", 61, "at least 0.5 and at most 60"),
    ("max_followers", -1, COUNT),
    ("max_followers", 1.5, COUNT),
    ("wait_replicas", True, COUNT),
    ("metrics_namespace", "my-app", "letters, digits and underscores"),
    ("metrics_namespace", "1st", "a letter first"),
    ("metrics_host", "", "an address"),
    ("metrics_port", 0, "a port"),
    ("metrics_port", 70_000, "a port"),
    ("metrics_port", "9808", "a port"),
    ("shadow", 1, "True or False"),
    ("write_behind", 1, "True or False"),
    ("send_events", 1, "must be True or False"),
    ("observers", "sentry", "must be a list of callables, or of names"),
    ("secret", 1, "at most 64"),
    ("secret", b"x", "at most 64"),
    ("secret", "x" * 65, "at most 64"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_refusal_names_setting_value_and_what_is_allowed(
    app: Celery, name: str, value: Any, allowed: str
) -> None:
    with pytest.raises(ConfigurationError, match=allowed) as refused:
        read_settings(app, {name: value})
    shown = "…" if name in ("secret", "url") else repr(value)
    assert f"taskcache_{name}={shown}: " in str(refused.value)
    app.conf[f"taskcache_{name}"] = value
    with pytest.raises(ConfigurationError, match=f"taskcache_{name}=.*{allowed}"):
        read_settings(app, {})


def test_every_setting_has_a_case_that_is_refused() -> None:
    assert {name for name, _, _ in WRONG} == set(NAMES)


def test_refusal_shows_no_secret(app: Celery) -> None:
    for name, value in (("secret", "hunter2" * 10), ("url", "http://:hunter2@h")):
        with pytest.raises(ConfigurationError) as refused:
            read_settings(app, {name: value})
        assert "hunter2" not in str(refused.value)


def test_unknown_setting_with_a_guess(app: Celery) -> None:
    app.conf.taskcache_namespase = "x"
    with pytest.raises(
        ConfigurationError, match="'namespase'; did you mean 'namespace'"
    ) as refused:
        read_settings(app, {})
    assert all(name in str(refused.value) for name in NAMES)


def test_unknown_keyword_with_a_guess(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="'l1_max_entry'; did you mean 'l1_max_entries'"):
        TaskCache(app, l1_max_entry=1)


@pytest.mark.parametrize("secret", ["", "x" * 64, "ü" * 32], ids=len)
def test_longest_secrets_work(app: Celery, secret: str) -> None:
    key = read_settings(app, {"secret": secret}).secret.encode()
    entry = make_entry("k", Position("i", 0))
    assert unpack("k", pack(entry, key), key) == entry


@pytest.mark.parametrize("secret", ["ü" * 33, "ü" * 64], ids=len)
def test_secret_is_measured_in_bytes(app: Celery, secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"taskcache_secret=…: .*64"):
        read_settings(app, {"secret": secret})


def test_zero_that_means_something(app: Celery) -> None:
    settings = read_settings(
        app, {"l1_max_staleness": 0, "l1_max_entries": 0, "l1_max_bytes": 0, "secret": ""}
    )
    assert (settings.l1_max_staleness, settings.l1_max_entries) == (0.0, 0)
