"""``cache_semantic``: what is allowed, and what makes two calls neighbours."""

# ruff: noqa: ARG005 - the signatures are what users write

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.core.keyers import keyer
from tta_taskcache.core.semantic.partition import MAX_TEXT
from tta_taskcache.core.semantic.semantic_policy import Semantic, read_threshold
from tta_taskcache.errors import ConfigurationError


def embed(texts: list[str]) -> list[list[float]]:
    return [[1.0] for _ in texts]


def semantic(**options: Any) -> Semantic:
    return Semantic(**{"on": "prompt", "embed": embed, "threshold": 0.9, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": ""}, "on=''): must be the name of the argument"),
        ({"threshold": 0}, "threshold=0): must be a similarity"),
        ({"threshold": 1.5}, "threshold=1.5"),
        ({"threshold": True}, "threshold=True"),
        ({"embed": "model"}, "embed='model'): must be a callable"),
        ({"equal": 1}, "equal=1): must be a callable or None"),
        ({"max_entries": 0}, "max_entries=0): must be a number from 1"),
        ({"max_age": -1}, "max_age=-1): must be seconds"),
        ({"max_age": timedelta(0)}, "max_age="),
        ({"cost": -1}, "cost=-1"),
        ({"embed": lambda texts: texts}, "give embedder="),
        ({"embedder": ""}, "embedder=''): must be a name"),
    ],
)
def test_wrong_fields_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        semantic(**options)
    assert message in str(raised.value)


def test_there_is_no_default_threshold() -> None:
    with pytest.raises(TypeError, match="threshold"):
        Semantic(on="prompt", embed=embed)  # type: ignore[call-arg]  # that is the point


def test_an_option_of_another_type_or_argument_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"cache_semantic=0.9: must be a Semantic"):
        keyer(lambda prompt: prompt, semantic=0.9)
    with pytest.raises(ConfigurationError, match=r"on='prompt' is no argument"):
        keyer(lambda text: text, semantic=semantic())
    with pytest.raises(ConfigurationError, match=r"on='prompt' is no argument"):
        keyer(lambda prompt: prompt, semantic=semantic(), ignore=("prompt",))


def test_a_call_may_raise_the_threshold_and_never_lower_it() -> None:
    assert read_threshold(None, 0.9) == 0.9
    assert read_threshold(False, 0.9) is None
    assert read_threshold(0.97, 0.9) == 0.97
    for wrong in (0.5, 1.1, "0.95", 0):
        with pytest.raises(ValueError, match=r"may raise it, and never lower it"):
            read_threshold(wrong, 0.9)


def answer(prompt: str, model: str = "small", *, debug: bool = False) -> str:
    return prompt + model


def about(
    *args: Any, headers: Any = None, options: Any = None, secret: bytes = b"", **kwargs: Any
) -> Any:
    options = {"semantic": semantic(), "vary": ("tenant",), "ignore": ("debug",), **(options or {})}
    of = keyer(answer, **options)
    return of.semantic_call(args, kwargs, headers or {"tenant": "a"}, secret, of.json)


def test_neighbours_agree_in_all_but_the_text() -> None:
    one = about("what is a cat?")
    assert one.text == "what is a cat?"
    same = [about(prompt="a dog?"), about("a dog?", "small"), about("a dog?", debug=True)]
    assert {each.partition for each in same} == {one.partition}
    others = [
        about("what is a cat?", "large"),
        about("what is a cat?", headers={"tenant": "b"}),
        about("what is a cat?", options={"version": "2"}),
        about("what is a cat?", options={"semantic": semantic(embedder="another")}),
        about("what is a cat?", options={"semantic": semantic(on="model")}),
        about("what is a cat?", secret=b"secret"),
        about("what is a cat?", options={"key": lambda prompt, model, debug: debug}),
    ]
    assert len({one.partition, *(each.partition for each in others)}) == 8


def test_a_label_that_shows_what_is_ignored_is_part_of_the_partition() -> None:
    options = {"key": lambda prompt, model, debug: f"{len(prompt)}{debug}"}
    plain = about("cat", options=options)
    assert about("a longer text", options=options) == type(plain)(plain.partition, "a longer text")
    assert about("cat", options=options, debug=True).partition != plain.partition


def test_what_is_no_text_has_only_its_exact_key() -> None:
    assert [about(value) for value in (1, None, ["a"], "", "x" * (MAX_TEXT + 1))] == [None] * 5
