"""URLs of Redis: what they say, what is said about wrong ones, and that no password is shown."""

import inspect
from typing import Any

import pytest
import redis
from redis.connection import AbstractConnection

from tests.support.servers import free_port
from tta_taskcache.errors import ConfigurationError
from tta_taskcache.stores.connections.address import ALLOWED, SCHEMES, Topology, read_url
from tta_taskcache.stores.connections.connection import Link

PLACES = [
    ("redis://h", "h:6379/0"),
    ("redis://h:1/2", "h:1/2"),
    ("redis://user:hunter2@h:1?db=3", "h:1/3"),
    ("rediss://[::1]:1", "[::1]:1/0"),
    ("unix:///tmp/redis.sock?db=4", "/tmp/redis.sock/4"),  # noqa: S108 - never opened
    ("redis+cluster://h", "cluster h:6379"),
    ("redis+cluster://user:hunter2@h1:1,h2:2/0", "cluster h1:1,h2:2"),
    ("rediss+cluster://[::1]:1,h/", "cluster [::1]:1,h:6379"),
    ("redis+sentinel://h/main", "sentinel main at h:26379"),
    ("redis+sentinel://:hunter2@h1:1,h2/my%20main/5", "sentinel my main at h1:1,h2:26379"),
    ("rediss+sentinel://h/main?sentinel_password=hunter2", "sentinel main at h:26379"),
]


@pytest.mark.parametrize(("url", "place"), PLACES)
def test_f3_place_says_where_and_no_password(url: str, place: str) -> None:
    link = Link(url, 1.0)
    assert link.place == place
    assert link.is_cluster == ("cluster" in url)
    assert "hunter2" not in repr(link._address)


def test_every_scheme_can_be_read() -> None:
    assert {url.partition("://")[0] for url, _ in PLACES} == set(SCHEMES)
    assert all(f"{scheme}://" in ALLOWED for scheme in SCHEMES)


@pytest.mark.parametrize("where", ["h:1", "/s?", "h:1,h:2"])
@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ("", (None, None)),
        (":p%40%2F%3F%23%3A", (None, "p@/?#:")),
        ("us%40er:hunter2", ("us@er", "hunter2")),
    ],
)
def test_credentials_are_percent_decoded(
    login: str, expected: tuple[str | None, str | None], where: str
) -> None:
    at = f"{login}@" if login else ""
    urls = {
        "h:1": [f"redis://{at}h:1", f"rediss://{at}h:1/2?ssl_cert_reqs=none"],
        "/s?": [f"unix://{at}/s"],
        "h:1,h:2": [f"redis+cluster://{at}h:1,h:2", f"redis+sentinel://{at}h:1,h:2/main"],
    }
    for url in urls[where]:
        options = read_url(url).options
        assert (options.get("username"), options.get("password")) == expected


def test_hosts_database_and_service() -> None:
    address = read_url("redis+sentinel://a:1,b/main/3")
    assert (address.kind, address.hosts) == (Topology.SENTINEL, (("a", 1), ("b", 26379)))
    assert (address.service, address.options["db"]) == ("main", 3)
    assert read_url("redis+sentinel://a/main?db=4").options["db"] == 4


def test_options_get_their_types() -> None:
    query = "socket_timeout=3&ssl_check_hostname=no&ssl_ca_certs=%2Fca.pem"
    for url in ("rediss://h", "rediss+cluster://h", "rediss+sentinel://h/main"):
        options = read_url(f"{url}?{query}").options
        assert options["ssl"] is True
        assert (options["socket_timeout"], options["ssl_check_hostname"]) == (3.0, False)
        assert options["ssl_ca_certs"] == "/ca.pem"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+sentinel://u:p@h/m", {}),
        ("redis+sentinel://u:p@h/m?sentinel_username=a&sentinel_password=b%26", ("a", "b&")),
        ("rediss+sentinel://h/m?ssl_ca_certs=/c", {"ssl": True, "ssl_ca_certs": "/c"}),
        (
            "rediss+sentinel://h/m?ssl_ca_certs=/c&sentinel_ssl_ca_certs=/s",
            {"ssl": True, "ssl_ca_certs": "/s"},
        ),
        ("rediss+sentinel://h/m?ssl_ca_certs=/c&sentinel_ssl=False", {}),
        ("redis+sentinel://h/m?sentinel_ssl=true", {"ssl": True}),
    ],
)
def test_sentinels_have_options_of_their_own(url: str, expected: Any) -> None:
    if isinstance(expected, tuple):
        expected = dict(zip(("username", "password"), expected, strict=True))
    assert read_url(url).sentinel_options == expected


WRONG = [
    ("", "not a URL of Redis"),
    ("hunter2", "not a URL of Redis"),
    ("http://:hunter2@h", "not a URL of Redis"),
    ("redis+socket://:hunter2@h", "not a URL of Redis"),
    ("unix+cluster:///hunter2", "not a URL of Redis"),
    ("redis://h:hunter2", "can't read"),
    ("redis://:hun[ter2@h", "can't read"),
    ("redis+cluster://:hunter2@h:x", "can't read"),
    ("redis+cluster://:hun/ter2@h:1", "can't read"),
    ("redis+cluster://", "a host is missing"),
    ("redis+cluster://:hunter2@h1,,h2", "a host is missing"),
    ("redis+cluster://h/1", "no database but 0"),
    ("redis+cluster://h?db=1", "no database but 0"),
    ("redis+cluster://h?sentinel_password=hunter2", "no Sentinels"),
    ("redis+sentinel://:hunter2@h", "the name that the Sentinels know"),
    ("redis+sentinel://:hunter2@h/", "the name that the Sentinels know"),
    ("redis+sentinel://h/main/hunter2", "the database must be a number"),
    ("redis://h?hunter2=1", "doesn't take its options"),
    ("redis+cluster://h?hunter2=1", "doesn't take its options"),
    ("redis+cluster://h?health_check_interval=1", "doesn't take its options"),
    ("redis+sentinel://h/m?hunter2=1", "doesn't take its options"),
    ("redis+sentinel://h/m?sentinel_hunter2=1", "doesn't take its options"),
    ("rediss://h?ssl_cert_reqs=hunter2", "doesn't take its options"),
    ("rediss+cluster://h?ssl_cert_reqs=hunter2", "doesn't take its options"),
    ("rediss+sentinel://h/m?ssl_cert_reqs=hunter2", "doesn't take its options"),
    ("redis://h?socket_timeout=hunter2", "can't read"),
]


@pytest.mark.parametrize(("url", "reason"), WRONG)
def test_refusal_names_setting_and_what_is_allowed(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match="taskcache_url") as refused:
        Link(url, 1.0)
    assert reason in str(refused.value)
    assert ALLOWED in str(refused.value)
    assert "percent-encoded" in str(refused.value)
    for secret in ("hunter2", "ter2"):
        assert secret not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    "url", ["redis://h", "unix:///s", "redis+sentinel://h/main", "rediss+sentinel://h/main"]
)
def test_f1_connections_give_up_and_speak_what_we_read(url: str) -> None:
    speaks = "protocol" in inspect.signature(AbstractConnection).parameters  # since redis-py 5
    link = Link(f"{url}?{'protocol=3&' * speaks}decode_responses=True", 0.125)
    pool = link.client.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (0.125, 0.125)
    assert getattr(connection, "protocol", 2) == 2
    assert connection.encoder.decode_responses is False
    assert connection.retry._retries == 1
    assert connection.retry._supported_errors == (redis.ConnectionError,)


def test_timeouts_of_the_url_go_before() -> None:
    link = Link("redis://h?socket_timeout=3", 0.125)
    connection = link.client.connection_pool.make_connection()
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (3.0, 0.125)


@pytest.mark.parametrize(
    "url", ["redis://{}", "unix:///nowhere/s", "redis+cluster://{}", "redis+sentinel://{}/m"]
)
def test_f1_nothing_is_asked_before_the_first_command(url: str) -> None:
    link = Link(url.format(f"127.0.0.1:{free_port()}"), 0.5)
    assert link._client is None
    for _ in range(2):
        with pytest.raises((redis.RedisError, OSError)):
            link.client.get("k")


def test_f1_a_name_that_is_not_found_is_an_error_of_the_command() -> None:
    for url in ("redis://{}", "redis+cluster://{}", "redis+sentinel://{}/m"):
        link = Link(url.format("nowhere.invalid"), 0.5)
        with pytest.raises((redis.RedisError, OSError)):
            link.client.get("k")


@pytest.mark.parametrize("url", ["redis://h", "redis+sentinel://h/m"])
def test_f3_renewed_links_have_a_new_client(url: str) -> None:
    link = Link(url, 0.5)
    client = link.client
    assert link.client is client
    link.renew()
    assert link.client is not client
    assert link.client.connection_pool is not client.connection_pool
