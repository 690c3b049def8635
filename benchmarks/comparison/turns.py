"""Measuring by turns: what is compared runs one after another in each round."""

import gc
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.show import percentile
from tests.support.counting import commands, round_trips
from tests.support.servers import Server


@dataclass(slots=True)
class Row:
    """What was measured of one thing.

    Attributes:
        section: Part of the comparison.
        name: The thing.
        base: Name of the row that it is compared with.
        wall: Seconds a call, of each call or round.
        cpu: CPU seconds a call in this process, of each round.
        ratios: Wall time to the base's in the same round.
        extra: Other figures.
    """

    section: str
    name: str
    base: str = ""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    extra: dict[str, float] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The row as JSON has it."""
        figures: dict[str, Any] = {"section": self.section, "name": self.name, "base": self.base}
        if self.wall:
            figures |= {
                "p50_us": median(self.wall) * 1e6,
                "p99_us": percentile(self.wall, 0.99) * 1e6,
                "per_second": 1 / median(self.wall),
            }
        if self.cpu:
            figures["cpu_us"] = median(self.cpu) * 1e6
        if self.ratios:
            figures |= {
                "ratio": median(self.ratios),
                "ratio_low": min(self.ratios),
                "ratio_high": max(self.ratios),
            }
        return figures | self.extra


@dataclass(frozen=True, slots=True)
class Case:
    """A call to measure.

    Attributes:
        name: Its name in the table.
        call: The call.
        base: Name of the case that it is compared with; empty for none.
        calls: Calls a round.
    """

    name: str
    call: Callable[[], Any]
    base: str = ""
    calls: int = 100


def by_turns(section: str, cases: list[Case], rounds: int) -> list[Row]:
    """Measure cases by turns; a first round that warms up doesn't count."""
    rows = {case.name: Row(section, case.name, case.base) for case in cases}
    for number in range(-1, rounds):
        taken: dict[str, float] = {}
        for case in cases:
            samples, cpu = _round(case.call, case.calls)
            taken[case.name] = median(samples)
            if number >= 0:
                rows[case.name].wall += samples
                rows[case.name].cpu.append(cpu)
        if number >= 0:
            for case in cases:
                if case.base:
                    rows[case.name].ratios.append(taken[case.name] / taken[case.base])
    return list(rows.values())


def _round(call: Callable[[], Any], calls: int) -> tuple[list[float], float]:
    samples = []
    gc.collect()
    gc.disable()
    try:
        cpu = time.process_time()
        for _ in range(calls):
            started = time.perf_counter()
            call()
            samples.append(time.perf_counter() - started)
        cpu = time.process_time() - cpu
    finally:
        gc.enable()
    return samples, cpu / calls


def cost(server: Server, call: Callable[[], Any], calls: int = 20) -> dict[str, float]:
    """What a call costs the server: round trips, commands, bytes in and out."""
    call()
    with round_trips(server) as trips:
        for _ in range(calls):
            call()
    nothing, before = _bytes(server), _bytes(server)
    for _ in range(calls):
        call()
    after = _bytes(server)
    done: Counter[str]
    with commands(server) as done:
        for _ in range(calls):
            call()
    # What lies between two readings with nothing between them is the reading itself.
    received, sent = (
        max(0, c - b - (b - a)) / calls for a, b, c in zip(nothing, before, after, strict=True)
    )
    return {
        "round_trips": round(trips.count / calls, 1),
        "commands": round(done.total() / calls, 1),
        "bytes_to_server": round(received),
        "bytes_from_server": round(sent),
    }


def _bytes(server: Server) -> tuple[int, int]:
    with server.client(single_connection_client=True) as admin:
        stats: Any = admin.info("stats")
    return int(stats["total_net_input_bytes"]), int(stats["total_net_output_bytes"])
