"""The guard compares sets by their beginnings, and not each word with each."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache.core.semantic import guard

WORDS = st.frozensets(st.text("abs", min_size=1, max_size=9), max_size=6)


def are_forms(one: str, other: str) -> bool:
    """Whether two words are forms of one: they agree but for the shorter one's last letter."""
    least = min(len(one), len(other))
    is_near = abs(len(one) - len(other)) < 4
    return least >= 4 and is_near and one[: least - 1] == other[: least - 1]


def has_form(name: str, word: str) -> bool:
    if word in (name, name + "s") or name == word + "s":
        return True
    return min(len(name), len(word)) > 4 and (name.startswith(word) or word.startswith(name))


@given(WORDS, WORDS)
def test_forms_of_words_are_found(some: frozenset[str], others: frozenset[str]) -> None:
    expected = any(are_forms(one, other) for one, other in product(some, others))
    assert guard._share_stem(set(some), others) == expected


@given(WORDS, WORDS)
def test_forms_of_names_are_found(names: frozenset[str], words: frozenset[str]) -> None:
    lacks = any(not any(has_form(name, word) for word in words) for name in names)
    one = guard._Features({}, {}, tuple(names), names, 0, ())  # type: ignore[arg-type]  # no numbers
    other = guard._Features({}, {}, (), words, 0, ())  # type: ignore[arg-type]  # likewise
    assert guard._lacks(one, other) == lacks


def test_long_texts_are_not_remembered() -> None:
    before = guard._remembered.cache_info().currsize
    text = "Which of these Cities lies in Peru, and which in Chile? " * 200
    assert guard.differing(text, text + "Or in Lima?") == "names"
    assert guard._remembered.cache_info().currsize == before
