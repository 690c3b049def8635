"""Labels of keys (K2)."""

# ruff: noqa: ARG005 - signatures are what it is about

import string
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.core.keyers import VALUES, Mixed, Text, key_of, keyer, one, received

# Labels


@given(VALUES)
@example((1, 2))
@example({"b": 1, "a": 2})
@example({1: 2})
@example(Mixed.RED)
@example(Text("x"))
def test_k1_labels_are_the_same_on_producer_and_worker(value: Any) -> None:
    key = keyer(one, key="{value}").key
    assert key((value,), {}, {}) == key((received(value),), {}, {})


def test_k1_labels_do_not_know_the_order_of_a_dict() -> None:
    key = keyer(one, key="{value}").key
    assert key(({"a": 1, "b": 2},), {}, {}) == key(({"b": 2, "a": 1},), {}, {})


def test_k1_labels_of_a_callable_are_the_same_for_every_spelling() -> None:
    def f(x: int, y: int = 2) -> None: ...

    def label(*args: Any, **kwargs: Any) -> str:
        return f"{args}-{kwargs}"

    key = keyer(f, key=label).key
    assert key((1,), {}, {}) == key((), {"x": 1}, {}) == key((1, 2), {}, {})


ALLOWED = set(string.ascii_letters + string.digits + "_.-~@+=,%")


@given(st.text(st.characters()), st.text(), VALUES)
@example("{log}", "*", "a:b")
@example("\ud800", "[^]", "\\")
def test_k2_user_data_in_a_label_is_escaped(task: str, user: str, value: Any) -> None:
    by_template = keyer(lambda user, value: 0, task, key="u:{user}:{value}:x")
    by_callable = keyer(lambda user, value: user, task, key=lambda user, value: (user, value))
    for key, parts in ((by_template, 6), (by_callable, 4)):
        pieces = key.key((user, value), {}, {}).split(":")
        assert len(pieces) <= parts, "user data holds no separator"
        assert all(set(piece) <= ALLOWED for piece in pieces)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_k2_short_labels_tell_values_apart(first: str, second: str) -> None:
    key = keyer(one, key="{value}").key
    labels = [key((value,), {}, {}).split(":")[1] for value in (first, second)]
    assert (labels[0] == labels[1]) == (first == second)


def test_k2_digest_has_128_bits() -> None:
    *_, digest = key_of("x").split(":")
    assert len(digest) == 32
    assert set(digest) <= set("0123456789abcdef")


def test_k2_reads_task_label_digest() -> None:
    key = keyer(lambda user_id, model: 0, "proj.tasks.sum", key="u-{user_id}:{model}")
    task, user, model, digest = key.key(("42", "small"), {}, {}).split(":")
    assert (task, user, model, len(digest)) == ("proj.tasks.sum", "u-42", "small", 32)
    assert len(key_of(1).split(":")) == 2, "without cache_key there is no label"


def test_k2_labels_may_hold_vary_headers_and_bound_defaults() -> None:
    key = keyer(lambda user="u": 0, key="{tenant}/{user}", vary=("tenant",)).key
    assert key((), {}, {"tenant": "acme"}).split(":")[1] == "acme/u"


def test_k2_long_values_are_cut_in_the_label_only() -> None:
    key = keyer(one, key="{value}").key
    first, second = (key(("x" * 1_000 + end,), {}, {}) for end in "ab")
    assert first != second
    assert first.split(":")[1] == second.split(":")[1]
    assert len(first) < 300


def test_k2_the_label_never_replaces_an_argument() -> None:
    key = keyer(lambda user, text: 0, key="{user}").key
    assert key(("u", "1"), {}, {}) != key(("u", "2"), {}, {})
