"""A store for leases, and a lease keeper without a thread, for tests of the lease keeper."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tta_taskcache.cache.leases.lease_keeper import LeaseKeeper
from tta_taskcache.cache.plan import run
from tta_taskcache.core.entries.lease import Holding, Stage
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.protocol import Command, Release, Renew, Reply, Together
from tta_taskcache.testing import FakeClock


def running() -> Stage:
    return Stage.RUNNING


@dataclass
class Server:
    """Notes what it is asked, and is down when told so."""

    clock: FakeClock
    down: bool = False
    lost: set[str] = field(default_factory=set)
    renewed: list[tuple[float, tuple[Holding, ...]]] = field(default_factory=list)
    released: list[tuple[str, str]] = field(default_factory=list)
    asked: int = 0

    def renew(self, holdings: tuple[Holding, ...]) -> list[bool]:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("down")
        self.renewed.append((self.clock(), holdings))
        return [holding.owner not in self.lost for holding in holdings]

    def release(self, key: str, owner: str, _: float) -> None:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("down")
        self.released.append((key, owner))

    def owners(self) -> list[str]:
        """Who was renewed last."""
        return [holding.owner for holding in self.renewed[-1][1]] if self.renewed else []


@dataclass
class Leasing:
    """A store that does with leases what it is given."""

    renew: Callable[[tuple[Holding, ...]], list[bool]]
    release: Callable[[str, str, float], object]
    name = "leasing"

    def execute(self, command: Command) -> Reply:
        if isinstance(command, Renew):
            return self.renew(command.holdings)
        if isinstance(command, Together):
            return [bool(self.execute(each)) for each in command.commands]
        assert isinstance(command, Release)
        self.release(command.key, command.owner, command.unshared)
        return True


class ByHand(LeaseKeeper):
    """Without a thread: the test does the work when it is due."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._started = True

    def work_due(self) -> None:
        run(self.do_what_is_due(), self._store)

    def run_until(self, clock: FakeClock, end: float) -> None:
        """What the thread would do until then, at the moments at which it would."""
        while True:
            due = min((held.due for held in self._held.values()), default=end)
            if due >= end:
                break
            clock.advance(max(0.0, due - clock()))
            self.work_due()
        clock.advance(end - clock())
