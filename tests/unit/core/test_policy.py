"""Task options become a policy, or an error that says what is wrong and what is allowed."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.core.options.option_values import ALL_SITES, MAX_TTL, Choices, Site
from tta_taskcache.core.options.policy import OPTIONS, Policy, read_policy
from tta_taskcache.errors import ConfigurationError

CHOICES = Choices(("user", "trace"), ("json", "pickle"), ("zlib",))


def read(**options: Any) -> Policy:
    return read_policy("proj.task", options, CHOICES, default_ttl=60)


def test_defaults() -> None:
    assert read() == Policy(ttl=60)
    assert read(**dict.fromkeys(OPTIONS)) == Policy(ttl=60), "None is as good as not given"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("ttl", 5, 5.0),
        ("ttl", 0.001, 0.001),
        ("ttl", timedelta(minutes=2), 120.0),
        ("ttl", MAX_TTL, MAX_TTL),
        ("jitter", 0, 0.0),
        ("jitter", 0.5, 0.5),
        ("key", "{user}", "{user}"),
        ("key", str, str),
        ("ignore", ["trace"], frozenset({"trace"})),
        ("ignore", {"trace", "user"}, frozenset({"trace", "user"})),
        ("vary", ("b", "a", "b"), ("a", "b")),
        ("vary", (), ()),
        ("version", 2, "2"),
        ("version", "source", "source"),
        ("serializer", "pickle", "pickle"),
        ("compression", "zlib", "zlib"),
        ("sites", ("pool",), frozenset({Site.POOL})),
        ("sites", [Site.PRODUCER, "consumer"], frozenset({Site.PRODUCER, Site.CONSUMER})),
        ("sites", ALL_SITES, ALL_SITES),
        ("enabled", False, False),
    ],
)
def test_accepts(option: str, value: Any, expected: Any) -> None:
    found = getattr(read(**{option: value}), option)
    assert found == expected
    assert type(found) is type(expected)


TTL = r"0 and at most 31622400 seconds"
WRONG = [
    ("ttl", 0, TTL),
    ("ttl", -1, TTL),
    ("ttl", MAX_TTL + 1, TTL),
    ("ttl", float("nan"), TTL),
    ("ttl", float("inf"), TTL),
    ("ttl", timedelta(0), TTL),
    ("ttl", "60", "number of seconds or a timedelta"),
    ("ttl", True, "number of seconds or a timedelta"),
    ("jitter", 1, "0 or more and less than 1"),
    ("jitter", -0.1, "0 or more and less than 1"),
    ("jitter", float("nan"), "0 or more and less than 1"),
    ("jitter", True, "0 or more and less than 1"),
    ("jitter", "0.1", "0 or more and less than 1"),
    ("key", "", r"\{user_id\}:\{model\}.*callable"),
    ("key", 1, "callable"),
    ("ignore", "trace", r"write \('trace',\)"),
    ("ignore", ("nobody",), "'nobody' is no argument.*allowed: user, trace"),
    ("ignore", (1,), "tuple of argument names"),
    ("ignore", {"trace": 1}, "tuple of argument names"),
    ("vary", "tenant", r"write \('tenant',\)"),
    ("vary", (None,), "tuple of header names"),
    ("vary", ("",), "tuple of header names"),
    ("vary", 1, "tuple of header names"),
    ("tags", "user:{user}", r"write \('user:\{user\}',\)"),
    ("tags", (1,), "tuple of templates"),
    ("depends", 1, "True or False"),
    ("coalesce", 1, "True or False"),
    ("version", 1.5, "string, or 'source'"),
    ("version", True, "string, or 'source'"),
    ("serializer", "jsom", "one of: json, pickle"),
    ("serializer", 1, "one of: json, pickle"),
    ("serializer", [], "one of: json, pickle"),
    ("compression", "zip", "one of: zlib"),
    ("compression", True, "one of: zlib"),
    ("warm", 60, r"must be a Warm\(every="),
    ("sites", "pool", r"write \('pool',\)"),
    ("sites", ("worker",), "'worker' is no site; allowed: consumer, pool, producer"),
    ("sites", True, "tuple of sites"),
    ("stale_while_revalidate", -1, "more than 0"),
    ("stale_while_revalidate", False, "number of seconds"),
    ("stale_if_error", "1", "number of seconds"),
    ("refresh_queue", "", "name of a queue"),
    ("errors", KeyError, "map exceptions to seconds"),
    ("errors", {"KeyError": 1}, "no exception class"),
    ("errors", {BaseException: 1}, "no exception class"),
    ("errors", {KeyError: 0}, "more than 0"),
    ("if", True, "callable"),
    ("validate", "yes", "callable"),
    ("min_run", -1, TTL),
    ("max_bytes", 0, "number of bytes"),
    ("max_bytes", True, "number of bytes"),
    ("cost", -1, "number, 0 or more"),
    ("cost", float("nan"), "number, 0 or more"),
    ("cost", "1 EUR", "number, 0 or more"),
    ("each", ("ids",), "name of an argument"),
    ("each", "nothing", "allowed: user, trace"),
    ("verify", 1.1, "from 0 to 1"),
    ("verify", True, "from 0 to 1"),
    ("semantic", 0.9, "a Semantic"),
    ("shadow", "yes", "True or False"),
    ("enabled", 0, "True or False"),
    ("enabled", "yes", "True or False"),
]


@pytest.mark.parametrize(("option", "value", "allowed"), WRONG)
def test_refusal_names_task_option_value_and_what_is_allowed(
    option: str, value: Any, allowed: str
) -> None:
    with pytest.raises(ConfigurationError, match=allowed) as refused:
        read(**{option: value})
    assert f"task 'proj.task': cache_{option}={value!r}: " in str(refused.value)


def test_every_option_has_a_case_that_is_refused() -> None:
    assert {option for option, _, _ in WRONG} == set(OPTIONS)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tll", "cache_ttl"), ("serialiser", "cache_serializer"), ("ignores", "cache_ignore")],
)
def test_unknown_option_with_a_guess(name: str, hint: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"cache_{name}; did you mean {hint}\?"
    ) as refused:
        read(**{name: 1})
    assert "'proj.task'" in str(refused.value)
    assert all(f"cache_{option}" in str(refused.value) for option in OPTIONS)


def test_unknown_option_without_a_guess() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown option cache_xyzzy \(allowed: "):
        read(xyzzy=1)


def test_what_is_not_known_yet_is_not_checked() -> None:
    policy = read_policy("t", {"ignore": ("x",), "serializer": "later"}, Choices(), default_ttl=1)
    assert (policy.ignore, policy.serializer) == (frozenset({"x"}), "later")


@given(
    ttl=st.floats(0.001, MAX_TTL),
    jitter=st.floats(0, 1, exclude_max=True),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_r5_jitter_only_shortens(ttl: float, jitter: float, draw: float) -> None:
    fresh_for = Policy(ttl=ttl, jitter=jitter).fresh_for(draw)
    assert ttl * (1 - jitter) - 1e-6 <= fresh_for <= ttl
    assert fresh_for > 0
    assert Policy(ttl=ttl).fresh_for(draw) == ttl
