"""What a scenario can do harm to: servers, the network between, and the processes that work."""

import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import redis

from tests.chaos.workload import MODULE, NAMESPACE, Job
from tests.support.clocks import skewed
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.servers import Server, ServerKind
from tests.support.topologies import ClusterServers, SentinelServers
from tests.support.waiting import wait_until
from tests.support.workers import ROOT
from tta_taskcache.testing import History
from tta_taskcache.testing.history import Note

Layout = ClusterServers | SentinelServers

START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
LOG_TAIL = 8_000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How to run a scenario.

    Attributes:
        seed: Of all dice. What the operating system does is not in them, so a run doesn't repeat
            itself exactly.
        seconds: How long things go wrong.
        staleness: Δ that is promised (s).
        trusted: Δ that the processes are configured with, when it is another: to see whether the
            check finds that.
        sabotage: What of the scheme the processes take out: likewise.
        timeout: Socket timeout of the processes (s).
        processes: How many work at a time.
        kind: Kind of server.
        in_loops: Whether they work in event loops.
    """

    seed: int
    seconds: float = 2.0
    staleness: float = 0.05
    trusted: float | None = None
    sabotage: str = ""
    timeout: float = 0.25
    processes: int = 3
    kind: ServerKind
    in_loops: bool = False


@dataclass(eq=False)
class Member:
    """A process that works."""

    process: Process
    history: Path
    writes: bool

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def has_begun(self) -> bool:
        return _is_over(self) or self.history.stat().st_size > 0


@dataclass
class World:
    """A run's servers and processes.

    Attributes:
        setting: How to run.
        folder: Where the processes record.
        server: The cache's.
        source: The one with the counters. No harm is done to it.
        proxy: The network between the processes and `server`.
        members: The processes that work.
        layout: What the cache is on instead of `server`, if it is.
        failures: What mustn't happen, as text.
        notes: What was done.
    """

    setting: Setting
    folder: Path
    server: Server
    source: Server
    proxy: Proxy
    members: list[Member] = field(default_factory=list)
    layout: Layout | None = None
    failures: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    _files: list[Path] = field(default_factory=list)

    @property
    def started(self) -> int:
        """How many processes there were."""
        return len(self._files)

    @property
    def stream(self) -> str:
        """The log's stream in Redis."""
        return f"{NAMESPACE}:{{log}}:stream"

    @property
    def control(self) -> str:
        """The log's hash: sequence, incarnation and marks."""
        return f"{NAMESPACE}:{{log}}:control"

    def admin(self) -> redis.Redis:
        """A client of the cache's server that nothing gets between."""
        return self.server.client()

    def note(self, text: str) -> None:
        self.notes.append(Note(time.monotonic(), text))

    def join(self, clock: float = 0.0) -> Member:
        """Start one more process, its wall clock `clock` seconds off. One in three invalidates."""
        setting, number = self.setting, self.started
        writes = 3 * sum(member.writes for member in self.members) <= len(self.members)
        file = self.folder / f"{number}.jsonl"
        file.touch()
        job = Job(
            cache=self.layout.url if self.layout is not None else self.proxy.url(),
            # An asynchronous failover may lose what one server alone has acknowledged.
            replicas=0 if self.layout is None else 1,
            source=self.source.url(),
            history=str(file),
            staleness=setting.staleness if setting.trusted is None else setting.trusted,
            timeout=setting.timeout,
            seed=f"{setting.seed}:{number}",
            writes=writes,
            sabotage=setting.sabotage,
            in_loops=setting.in_loops,
        )
        command = [sys.executable, "-m", MODULE] if not clock else skewed(clock, MODULE)
        member = Member(Process([*command, job.dump()], cwd=ROOT), file, writes)
        self._files.append(file)
        self.members.append(member)
        return member

    def wait_until_all_work(self) -> None:
        wait_until(
            lambda: all(member.has_begun for member in self.members),
            timeout=START_TIMEOUT,
            what="processes at work",
        )

    def pick(self, dice: random.Random) -> Member:
        return dice.choice(self.members)

    def kill(self, member: Member) -> None:
        """SIGKILL it. What it stored and recorded stays."""
        self.look_after()
        if member in self.members:
            member.process.kill()
            self.members.remove(member)

    def look_after(self) -> None:
        """Note processes that ended by themselves: a task of theirs, or the cache, failed."""
        for member in list(self.members):
            if member.process.exit_code is not None:
                self._lose(member, f"ended with {member.process.exit_code}")

    def dismiss(self) -> None:
        """Ask all to end, and see that they do."""
        self.look_after()
        for member in self.members:
            member.process.signal(signal.SIGCONT)
            member.process.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            wait_until(lambda: all(map(_is_over, self.members)), timeout=STOP_TIMEOUT)
        for member in [member for member in self.members if not _is_over(member)]:
            member.process.signal(signal.SIGABRT)  # it writes down where it hangs
            wait_until(partial(_is_over, member))
            self._lose(member, "hangs")
        for member in [member for member in self.members if member.process.exit_code]:
            self._lose(member, f"ended with {member.process.exit_code}")
        self.members.clear()

    def history(self) -> History:
        """What was recorded, by all processes there were."""
        history = History.load(*self._files)
        return History.merge(history, History(notes=self.notes))

    def _lose(self, member: Member, how: str) -> None:
        self.members.remove(member)
        self.failures.append(f"process {member.pid} {how}:\n{member.process.log[-LOG_TAIL:]}")


def _is_over(member: Member) -> bool:
    return member.process.exit_code is not None


@contextmanager
def new_world(
    setting: Setting, folder: Path, layout: type[Layout] | None = None
) -> Iterator[World]:
    """Servers and a network; nobody works yet. All of it ends with the block."""
    with (
        Server(setting.kind) as server,
        Server(setting.kind) as source,
        Proxy(server.port) as proxy,
        nullcontext() if layout is None else layout(setting.kind) as servers,
    ):
        world = World(setting, folder, server, source, proxy, layout=servers)
        try:
            yield world
        finally:
            for member in world.members:
                member.process.kill()
