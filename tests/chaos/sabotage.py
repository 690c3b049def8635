"""What the scheme is made of, taken out: a check that finds nothing then would prove nothing."""

from collections.abc import Callable
from typing import Any

from tta_taskcache import TaskCache
from tta_taskcache.cache.engine.writer import Writer
from tta_taskcache.cache.outcome import Call
from tta_taskcache.cache.plan import Plan
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.stores.exchanges import log_state
from tta_taskcache.stores.exchanges.scripts import script
from tta_taskcache.stores.redis import redis_store


def without_fence(_: TaskCache) -> None:
    """Results are stored with the log's position from after the run, whoever leads by then."""
    fill = Writer.fill

    def unfenced(
        self: Writer, call: Call, position: Position | None, value: Any, **about: Any
    ) -> Plan[bool]:
        now = yield from self.position(call)
        return (yield from fill(self, call, now, value, **{**about, "owner": ""}))

    Writer.fill = unfenced  # type: ignore[method-assign]


def with_del(cache: TaskCache) -> None:
    """Invalidations delete entries, as caches without a log do."""

    def end(_: tuple[str, ...], keys: tuple[str, ...]) -> None:
        for key in keys or cache.keys():
            cache.runtime.store.store.client.unlink(f"chaos:e:{{{key}}}")  # type: ignore[attr-defined]

    cache.end = end  # type: ignore[method-assign]


def with_counter(_: TaskCache | None) -> None:
    """Positions are bare numbers, as up to 0.1: a log that lost its end gives them again."""
    for module in OF_LOG_SCRIPTS:
        module.script = counting


#: The modules with scripts that give numbers.
OF_LOG_SCRIPTS: tuple[Any, ...] = (log_state, redis_store)


def counting(*names: str) -> str:
    """A script; one of the log as it would be with bare numbers."""
    text = script(*names)
    for part, other in _COUNTER.items() if "log" in names else ():
        assert part in text
        text = text.replace(part, other)
    return text


#: What the log's scripts have, and what they had.
_COUNTER = {
    "redis.pcall('INFO', 'replication')": "nil",
    "time[1] * 10000 + math.floor(time[2] / 100)": "0",
}


SABOTAGE: dict[str, Callable[[TaskCache], None]] = {
    "fence": without_fence,
    "del": with_del,
    "counter": with_counter,
}
