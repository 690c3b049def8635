"""Batches (D5) against a model: lists with overlaps, repetitions and failures, on a fake clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.freshness.one_process import OneProcess
from tta_taskcache import MISSING
from tta_taskcache.errors import BatchResultError

TTL = 10.5

LISTS = st.lists(st.integers(0, 5), max_size=6)
WAYS = st.sampled_from(["call", "delay", "refresh", "no-store"])
STEPS = st.one_of(
    st.tuples(st.just("ask"), LISTS, WAYS),
    st.tuples(st.just("get"), LISTS, st.none()),
    st.tuples(st.just("set"), LISTS, st.none()),
    st.tuples(st.just("end"), LISTS, st.none()),
    st.tuples(st.just("tag"), st.integers(0, 1), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 6), st.none()),
    st.tuples(st.just("body"), st.sampled_from(["list", "dict", "short", "fails"]), st.none()),
)


@dataclass
class Model:
    """What is stored: of each number its result, and when it expires."""

    now: float = 0.0
    number_of_run: int = 0
    body: str = "list"
    stored: dict[int, tuple[Any, float]] = field(default_factory=dict)
    runs: list[list[int]] = field(default_factory=list)

    def held(self, number: int) -> Any:
        value, expires = self.stored.get(number, (MISSING, 0.0))
        return value if self.now < expires else MISSING

    def ask(self, numbers: list[int], way: str) -> Any:
        """Answer, and say what is stored then; an exception's type where the run fails."""
        wanted = list(dict.fromkeys(numbers))
        values = {n: self.held(n) for n in wanted}
        to_run = [n for n in wanted if way == "refresh" or values[n] is MISSING]
        if to_run:
            self.runs.append(to_run)
            self.number_of_run += 1
            if self.body == "fails":
                return ConnectionError
            if self.body == "short":
                return BatchResultError
            new = {n: [n, self.number_of_run] for n in to_run}
            values |= new
            if way != "no-store":
                self.keep(new)
        return [values[n] for n in numbers]

    def keep(self, values: dict[int, Any]) -> None:
        for number, value in values.items():
            self.stored[number] = value, self.now + TTL


class Real(OneProcess):
    """The task, whose body does what the model's does."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.runs: list[list[int]] = []

        def numbered(numbers: list[int]) -> Any:
            self.runs.append(list(numbers))
            results = [[n, len(self.runs)] for n in numbers]
            match model.body:
                case "fails":
                    raise ConnectionError
                case "short":
                    return results[1:]
                case "dict":
                    return dict(zip(numbers, results, strict=True))
            return results

        self.numbered = self.task(
            numbered,
            cache_ttl=TTL,
            cache_each="numbers",
            cache_tags=lambda numbers: [f"odd:{numbers % 2}"],
        )

    def ask(self, numbers: list[int], way: str) -> Any:
        if way == "call":
            return self.numbered.cache.call(numbers)
        mode = {} if way == "delay" else {"cache": way}
        return self.numbered.apply_async((numbers,), **mode).get()


def _ask(model: Model, real: Real, numbers: list[int], way: str) -> None:
    expected = model.ask(numbers, way)
    if isinstance(expected, type):
        with pytest.raises(expected):
            real.ask(numbers, way)
    else:
        assert real.ask(numbers, way) == expected


def _get(model: Model, real: Real, numbers: list[int], _: Any) -> None:
    assert real.numbered.cache.get(numbers) == [model.held(n) for n in numbers]


def _set(model: Model, real: Real, numbers: list[int], _: Any) -> None:
    values = {n: [n, "set"] for n in numbers}
    assert real.numbered.cache.set(values, numbers)
    model.keep(values)


def _end(model: Model, real: Real, numbers: list[int], _: Any) -> None:
    real.numbered.cache.invalidate(numbers)
    for number in numbers:
        model.stored.pop(number, None)


def _tag(model: Model, real: Real, odd: int, _: Any) -> None:
    real.cache.invalidate(tags=[f"odd:{odd}"])
    model.stored = {n: kept for n, kept in model.stored.items() if n % 2 != odd}


def _wait(model: Model, real: Real, seconds: int, _: Any) -> None:
    model.now += seconds
    real.clock.advance(seconds)


def _body(model: Model, _real: Real, body: str, _: Any) -> None:
    model.body = body


ACTS: dict[str, Callable[..., None]] = {
    "ask": _ask, "get": _get, "set": _set, "end": _end, "tag": _tag, "wait": _wait, "body": _body,
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=14))
def test_d5_any_lists_are_answered_as_item_by_item(steps: list[tuple[str, Any, Any]]) -> None:
    model = Model()
    with Real(model) as real:
        for act, what, how in steps:
            ACTS[act](model, real, what, how)
            assert real.runs == model.runs, "the body got exactly what was missing, each once"
