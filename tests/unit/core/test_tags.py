"""Tags of a call (I3)."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.unit.core.keyers import keyer, order, received
from tta_taskcache.core.arguments.labels import tags_of_callable
from tta_taskcache.errors import ConfigurationError

# Tags


def tags(function: Callable[..., Any], *args: Any, headers: Any = None, **options: Any) -> Any:
    one = keyer(function, **options)
    return one.identify(args, {}, headers or {}, one.json).tags


def test_i3_a_call_has_no_tags_unless_asked() -> None:
    assert tags(order, 1) == ()


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        (("orders",), ("orders",)),
        (("user:{user}",), ("user:7",)),
        (("user:{user}", "item:{item}"), ("user:7", "item:1")),
        (("{user}-{item}-{user}",), ("7-1-7",)),
    ],
)
def test_i3_templates_show_arguments_and_defaults(
    templates: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert set(tags(order, 7, tags=templates)) == set(expected)


def test_i3_templates_show_vary_headers() -> None:
    found = tags(order, 7, tags=("of:{tenant}",), vary=("tenant",), headers={"tenant": "a"})
    assert found == ("of:a",)


@pytest.mark.parametrize("value", ["a:b", "a*b", "{x}", "é/ü", "", "x" * 500, "%", "[a]\\"])
def test_i3_values_in_tags_are_not_escaped(value: str) -> None:
    """A tag matches whole: whoever invalidates writes the value as it is."""
    assert tags(order, value, tags=("user:{user}",)) == (f"user:{value}",)


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.5, "a", (1, 2), {"a": 1}, Decimal("1.5"), date(2026, 1, 2), UUID(int=1)],
)
def test_k1_tags_are_the_same_on_both_sides_of_a_message(value: Any) -> None:
    assert tags(order, value, tags=("user:{user}",)) == tags(
        order, received(value), tags=("user:{user}",)
    )


def test_i3_tags_are_no_part_of_the_key() -> None:
    keys = {
        keyer(order, **options).key((7,), {}, {})
        for options in ({}, {"tags": ("a",)}, {"tags": ("user:{user}",)})
    }
    assert len(keys) == 1


def test_i3_a_callable_gets_the_arguments_as_the_task_does() -> None:
    def of(user: Any, item: Any, debug: bool) -> Any:
        return [f"user:{user}", f"item:{item}", str(debug)]

    assert tags(order, 7, tags=of) == ("user:7", "item:1", "False")


@pytest.mark.parametrize(
    "produced",
    [[], (), {"a"}, ["a", "b"], iter(())],
    ids=["list", "tuple", "set", "two", "iterator"],
)
def test_i3_a_callable_may_return_any_collection_of_strings(produced: Any) -> None:
    found = tags(order, 7, tags=lambda *_: produced)
    assert isinstance(found, tuple)


@pytest.mark.parametrize("produced", ["user:7", [1], [None], [b"a"], None, 7, ["a", 1]], ids=repr)
def test_i3_a_callable_that_returns_anything_else_is_said_so(produced: Any) -> None:
    with pytest.raises(TypeError):
        tags(order, 7, tags=lambda *_: produced)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("user:{nobody}", "nobody"),
        ("{debug}", "debug"),  # ignored: equal calls would have unequal tags
        ("{0}", "0"),
        ("{}", "neither"),
        ("{user.name}", "user.name"),
        ("{user[0]}", "user"),
        ("{user!r}", "conversions"),
        ("{user:>9}", "formats"),
        ("{user", "cache_tags"),
        ("user}", "cache_tags"),
        ("{{user}}", "brace"),
    ],
)
def test_i3_a_template_that_cant_be_right_is_refused_at_the_definition(
    template: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        keyer(order, tags=(template,), ignore=("debug",))
    assert "proj.task" in str(caught.value)
    assert "cache_tags" in str(caught.value)


def test_i1_tags_of_a_generator_are_all_there() -> None:
    def tags(x: int) -> Iterator[str]:
        yield f"x:{x}"
        yield "all"

    def body(x: int) -> None: ...

    assert keyer(body, tags=tags).identify((1,), {}, {}).tags == ("x:1", "all")


@pytest.mark.parametrize("produced", ["text", b"bytes", [1], iter([None]), None])
def test_i1_what_is_no_collection_of_strings_is_refused(produced: object) -> None:
    with pytest.raises(TypeError):
        tags_of_callable(produced)


def test_k1_halves_of_a_character_are_one_on_both_sides() -> None:
    def body(x: str) -> None: ...

    task = keyer(body, key="{x}", tags=("x:{x}",))
    halves, whole = "\ud83d\ude00", "\U0001f600"
    assert task.identify((halves,), {}, {}, task.json) == task.identify((whole,), {}, {})
    assert task.identify((halves,), {}, {}).key != task.identify((whole,), {}, {}).key
