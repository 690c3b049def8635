"""Plans side by side: what they do at the same time is one command."""

from collections.abc import Callable
from typing import Any

from tta_taskcache.cache import side_by_side as module
from tta_taskcache.cache.plan import AT_ONCE, Plan, run
from tta_taskcache.cache.side_by_side import side_by_side
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.protocol import (
    BeginRefresh,
    Command,
    Fill,
    Look,
    LookMany,
    Poll,
    Release,
    Reply,
    SetMarks,
    StoreReply,
    Together,
)

HERE = Position("log", 3)


class Noting:
    """A store that notes the commands, and may be down for some."""

    name = "noting"

    def __init__(self, fails: Callable[[Command], bool] = lambda _: False) -> None:
        self.commands: list[Any] = []
        self._fails = fails

    def execute(self, command: Command) -> Reply:
        self.commands.append(command)
        if self._fails(command):
            raise StoreUnavailable("down")
        match command:
            case LookMany(looks):
                return [_reply(look) for look in looks]
            case Look():
                return _reply(command)
            case Together(commands):
                return [len(one.key) > 1 for one in commands]
            case SetMarks() | Poll():
                return HERE
        return True


def _reply(look: Look) -> StoreReply:
    return StoreReply(HERE, look.key.encode(), 1.0, {}, None)


def looking(key: str, times: int) -> Plan[list[bytes | None]]:
    found = []
    for _ in range(times):
        looked: StoreReply = yield Look(key, ())
        found.append(looked.frame)
    return found


def filling(key: str, counts: int = 0, frame: bytes = b"") -> Plan[bool]:
    stored: bool = yield Fill(key, frame, 1.0, {"fill": counts} if counts else {})
    yield SetMarks((f"replaced {key}",))
    return stored


def test_looks_of_the_same_step_are_one() -> None:
    store = Noting()
    plans = [looking("a", 1), looking("b", 3), looking("c", 2)]
    assert run(side_by_side(plans), store) == [[b"a"], [b"b"] * 3, [b"c"] * 2]
    assert [len(getattr(each, "looks", "1")) for each in store.commands] == [3, 2, 1]
    assert run(side_by_side([]), store) == []


def test_fills_and_marks_are_one_each_with_their_counts() -> None:
    store = Noting()
    plans = [filling("a", 1), filling("bb"), filling("cc", 2)]
    assert run(side_by_side(plans), store) == [False, True, True]
    together, marks = store.commands
    assert [one.key for one in together.commands] == ["a", "bb", "cc"]
    assert together.counts == {"fill": 3}
    assert marks.marks == ("replaced a", "replaced bb", "replaced cc")


def test_no_more_than_so_many_and_so_many_bytes_share_a_trip(monkeypatch: Any) -> None:
    store = Noting()
    run(side_by_side([filling(f"k{n}") for n in range(2 * AT_ONCE + 1)]), store)
    fills = [each for each in store.commands if not isinstance(each, SetMarks)]
    assert [len(getattr(each, "commands", "1")) for each in fills] == [AT_ONCE, AT_ONCE, 1]
    store = Noting()
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    run(side_by_side([filling(f"k{n}", frame=b"x" * 4) for n in range(5)]), store)
    fills = [each for each in store.commands if not isinstance(each, SetMarks)]
    assert [len(getattr(each, "commands", "1")) for each in fills] == [2, 2, 1]


def test_a_failure_is_that_of_each_plan_that_shares_the_trip() -> None:
    def safe(plan: Plan[Any]) -> Plan[Any]:
        try:
            return (yield from plan)
        except StoreUnavailable:
            return "down"

    def mixed() -> Plan[str]:
        yield Release("k", "owner")
        yield BeginRefresh("k", 1.0)
        return "done"

    store = Noting(fails=lambda command: isinstance(command, LookMany))
    plans = [safe(looking("a", 1)), safe(mixed()), safe(looking("b", 1))]
    assert run(side_by_side(plans), store) == ["down", "done", "down"]


def test_a_claim_and_a_poll_go_alone() -> None:
    def polling() -> Plan[Any]:
        return (yield Poll(HERE))

    store = Noting()
    assert run(side_by_side([polling(), polling()]), store) == [HERE, HERE]
    assert [type(each) for each in store.commands] == [Poll, Poll]
