"""Exceptions that are remembered come back exactly as they were, or not at all."""

import errno
import json
from typing import Any

import pytest

from tta_taskcache.core.options.policy import Policy
from tta_taskcache.core.results.remembered_errors import decode_error, encode_error
from tta_taskcache.errors import EntryError, UnserializableResult

POLICY = Policy(ttl=1.0, errors={Exception: 60.0})


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Wrapping(Exception):
    made = 0

    def __init__(self, text: str) -> None:
        Wrapping.made += 1
        super().__init__(f"wrapped: {text}")


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class WrongText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("text", 1, None),
        KeyError("name"),
        KeywordOnly(code=5),
        Wrapping("a"),
        OSError(errno.ENOENT, "no such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        StopIteration(3),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_remembered_comes_back_as_it_was(error: Exception) -> None:
    found = decode_error(encode_error(error, POLICY), POLICY)
    assert type(found) is type(error)
    assert (found.args, str(found), found.__dict__) == (error.args, str(error), error.__dict__)
    for name in ("errno", "filename", "code", "start", "reason", "value"):
        assert getattr(found, name, None) == getattr(error, name, None)


def test_no_constructor_of_users_runs_again() -> None:
    text = encode_error(Wrapping("a"), POLICY)
    before = Wrapping.made
    assert str(decode_error(text, POLICY)) == "wrapped: a"
    assert Wrapping.made == before


@pytest.mark.parametrize(
    "error",
    [
        ValueError((1, 2)),
        ValueError(object()),
        ValueError({1: 2}),
        Slotted("text", 3),
        WrongText("x"),
        ValueError(float("nan")),
        type("Local", (ValueError,), {"__qualname__": "ValueError", "__module__": "builtins"})(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_change_is_not_remembered(error: Exception) -> None:
    with pytest.raises(UnserializableResult):
        encode_error(error, POLICY)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        3,
        {"type": "builtins:ValueError", "args": []},
        "",
        "[]",
        json.dumps({"type": "os:system", "args": ["true"], "state": {}}),
        json.dumps({"type": "builtins:ValueError", "args": 3, "state": {}}),
        json.dumps({"type": "builtins:ValueError", "args": [], "state": [1]}),
        "é",
    ],
)
def test_what_is_stored_may_be_anything(stored: Any) -> None:
    with pytest.raises(EntryError):
        decode_error(stored, POLICY)


def test_a_class_that_the_policy_lacks_is_none() -> None:
    text = encode_error(ValueError("x"), POLICY)
    with pytest.raises(EntryError):
        decode_error(text, Policy(ttl=1.0, errors={OSError: 60.0}))
