"""A real RabbitMQ broker, a subprocess with all it needs in a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from amqp.exceptions import NotFound
from kombu.connection import Connection

from tests.support.processes import Process
from tests.support.servers import ServerError, free_port
from tests.support.waiting import wait_until

START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
CTL_TIMEOUT = 60.0

#: Debian's package. What is on PATH there becomes the user `rabbitmq`, who can't read our folder.
SCRIPTS = Path("/usr/lib/rabbitmq/bin")

#: One thread each, and none that spins: the machine has tests to run.
ERLANG_ARGS = "+S 1:1 +SDcpu 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"


def executable() -> Path | None:
    """The script that becomes the broker, None when it isn't installed."""
    server = SCRIPTS / "rabbitmq-server"
    return server if os.access(server, os.X_OK) and shutil.which("epmd") else None


def why_missing() -> str:
    """What a person reads when there is no broker."""
    return f"Debian's package rabbitmq-server isn't installed (no {SCRIPTS}/rabbitmq-server)"


class Rabbit:
    """One broker on 127.0.0.1 only: `with Rabbit() as rabbit: Celery(broker=rabbit.url)`.

    Erlang's port mapper is its own as well, and ends with it.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._epmd_port = free_port()
        self._dist_port = free_port()
        self._processes: list[Process] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __repr__(self) -> str:
        return f"<Rabbit on {self.port}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def log(self) -> str:
        return "".join(process.log for process in self._processes)

    @property
    def running(self) -> bool:
        return bool(self._processes) and all(p.exit_code is None for p in self._processes)

    def start(self) -> Self:
        """Start it, and return when it answers."""
        server, epmd = executable(), shutil.which("epmd")
        if server is None or epmd is None:
            raise ServerError(why_missing())
        self._folder = tempfile.TemporaryDirectory(prefix="tests-rabbit-")
        environment = self._environment(Path(self._folder.name))
        # Started here: the one that Erlang would start is a daemon, which outlives us.
        self._processes = [Process([epmd], env=environment)]
        try:
            wait_until(lambda: self._names(epmd, environment), what="Erlang's port mapper")
            self._processes.append(Process([server], env=environment))
            wait_until(self._answers, timeout=START_TIMEOUT, what=repr(self))
        except BaseException as error:
            self.stop()
            if isinstance(error, TimeoutError):
                raise ServerError(f"{self} didn't start:\n{self.log}") from None
            raise
        return self

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate(STOP_TIMEOUT)
        if self._folder:
            self._folder.cleanup()

    def control(self, *command: str) -> str:
        """What `rabbitmqctl` says. It takes a second: it starts an Erlang of its own."""
        assert self._folder is not None, f"{self} was never started"
        done = subprocess.run(
            [SCRIPTS / "rabbitmqctl", "--quiet", *command],
            env=self._environment(Path(self._folder.name)),
            capture_output=True,
            text=True,
            timeout=CTL_TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"rabbitmqctl {command}: {done.stdout}{done.stderr}")
        return done.stdout

    def close_connections(self) -> None:
        """Close everybody's connection, as an operator does."""
        self.control("close_all_connections", "a test closes them")

    def depth(self, queue: str) -> int:
        """The messages that no consumer has; 0 of a queue that isn't there."""
        with Connection(self.url) as connection, suppress(NotFound):
            return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
        return 0

    def _environment(self, folder: Path) -> Mapping[str, str]:
        settings = folder / "rabbitmq.conf"
        settings.write_text("disk_free_limit.absolute = 1MB\nloopback_users = none\n")
        plugins = folder / "plugins"
        plugins.write_text("[].\n")
        kept = {name: value for name, value in os.environ.items() if "RABBITMQ" not in name}
        return kept | {
            "HOME": str(folder),  # of the cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"tests{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(settings),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{ERLANG_ARGS} {LOOPBACK}",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the broker: no child of it
        }

    def _names(self, epmd: str, environment: Mapping[str, str]) -> bool:
        asked = subprocess.run([epmd, "-names"], env=environment, capture_output=True, check=False)
        return asked.returncode == 0

    def _answers(self) -> bool:
        if not self.running:
            raise ServerError(f"{self} ended:\n{self.log}")
        with suppress(OSError), Connection(self.url, connect_timeout=2) as connection:
            connection.connect()
            return True
        return False
