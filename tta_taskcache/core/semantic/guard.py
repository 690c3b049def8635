"""The guard: what two texts that are near as vectors differ in, and mustn't.

An embedding blurs what a short answer hangs on: ``disable 2FA`` is nearer to ``enable 2FA`` than to
its own paraphrase. So two texts ask for the same only if they agree in their numbers and dates, in
names, and in whether they deny. It knows English words; numbers, names and their order it compares
in any language that is written with spaces and capitals.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from .guard_words import COMMON, CONTRACTED, DATES, NEGATIONS, NUMBERS, OPPOSITES, PREFIXES

#: A number with what is in it, or a word with the apostrophes, dots and hyphens in it.
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['\u2019.&-][^\W\d_]+)*\+*#*|[%$€£]")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"^\d{1,3}(,\d{3})+(\.\d+)?$")
#: What denies nothing: whether or not.
_EITHER = re.compile(r"\bor not\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?:;]\s*[\"'\u201c\u201d\u2018\u2019(]*$")

#: Least letters that two words have in common to be forms of one.
_STEM = 4


@dataclass(frozen=True, slots=True)
class _Features:
    """What of a text is compared."""

    numbers: Counter[str]
    dates: Counter[str]
    names: tuple[str, ...]
    words: frozenset[str]
    negations: int


def differing(asked: str, stored: str) -> str:
    """Return in what two texts differ that no paraphrase would; an empty text for nothing.

    Returns:
        ``"numbers"``, ``"dates"``, ``"names"``, ``"order"`` (of names or numbers), ``"negation"``
        (a denial, or an opposite such as enable and disable), or an empty text.
    """
    one, other = _features(asked), _features(stored)
    if one.numbers != other.numbers:
        return "numbers"
    if one.dates != other.dates:
        return "dates"
    if _lacks(one, other) or _lacks(other, one):
        return "names"
    if _is_reordered(one.names, other.names):
        return "order"
    if one.negations % 2 != other.negations % 2 or _are_opposite(one.words, other.words):
        return "negation"
    return ""


@lru_cache(maxsize=4096)
def _features(text: str) -> _Features:
    numbers: Counter[str] = Counter()
    dates: Counter[str] = Counter()
    names: list[str] = []
    words: set[str] = set()
    negations = 0
    shouts = text.isupper()
    text = _EITHER.sub("", text)
    for found in _TOKEN.finditer(text):
        token = found.group()
        if not token[0].isalpha():
            numbers.update(_numbers(token))
            continue
        word = _plain(token)
        if word in NEGATIONS or word in CONTRACTED or word.endswith("n't"):
            negations += 1
        if word in DATES:
            dates[DATES[word]] += 1
        elif word in NUMBERS:
            numbers[NUMBERS[word]] += 1
        elif _is_name(token, text, found.start(), shouts=shouts):
            names.append(word)
        words.add(word)
    return _Features(numbers, dates, tuple(names), frozenset(words), negations)


def _numbers(token: str) -> list[str]:
    """Read the numbers of a token: ``1,000`` is one, ``2024-03-05`` are three."""
    if not token[0].isdigit():
        return [token]
    if _THOUSANDS.match(token):
        token = token.replace(",", "")
    found = []
    for digits in _DIGITS.findall(token):
        whole, _, rest = digits.replace(",", ".").partition(".")
        rest = rest.rstrip("0")
        found.append((whole.lstrip("0") or "0") + ("." + rest if rest else ""))
    return found


def _plain(token: str) -> str:
    """The token in small letters, without a possessive's end."""
    word = token.replace("\u2019", "'").casefold()
    return word.removesuffix("'s")


def _is_name(token: str, text: str, start: int, *, shouts: bool) -> bool:
    """Whether a word is written as a name: with a capital that its place doesn't explain."""
    if shouts or not any(letter.isupper() for letter in token) or _plain(token) in COMMON:
        return False
    if any(letter.isupper() for letter in token[1:]):
        return True  # an acronym, or a name such as iPhone
    before = text[:start].rstrip(" \t\"'\u201c\u201d\u2018\u2019(")
    begins = not before or _SENTENCE_END.search(before) is not None
    return not begins


def _lacks(one: _Features, other: _Features) -> bool:
    """Whether a text names what the other doesn't even write in small letters."""
    return any(name not in other.words and not _has_form(name, other.words) for name in one.names)


def _has_form(name: str, words: frozenset[str]) -> bool:
    """Whether a form of a name is among words: its plural, its adjective, without its dots."""
    bare = name.replace(".", "").replace("-", "")
    for word in words:
        other = word.replace(".", "").replace("-", "")
        if bare == other or bare + "s" == other or bare == other + "s":
            return True
        if min(len(bare), len(other)) > _STEM and (
            bare.startswith(other) or other.startswith(bare)
        ):
            return True
    return False


def _is_reordered(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two names that both texts have stand in another order: from A to B, from B to A."""
    both = set(one) & set(other)
    first = list(dict.fromkeys(name for name in one if name in both))
    second = list(dict.fromkeys(name for name in other if name in both))
    return first != second


def _are_opposite(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether a word of one text stands for the opposite of a word of the other."""
    for word in one - other:
        for against in other - one:
            if frozenset((word, against)) in OPPOSITES:
                return True
            if _denies(word, against) or _denies(against, word):
                return True
    return False


def _denies(word: str, plain: str) -> bool:
    for prefix, instead in PREFIXES:
        rest = word.removeprefix(prefix)
        if rest != word and any(_same_stem(start + rest, plain) for start in instead):
            return True
    return False


def _same_stem(one: str, other: str) -> bool:
    """Whether two words are forms of one: ``installing`` and ``install``."""
    if one == other:
        return True
    least = min(len(one), len(other))
    is_near = abs(len(one) - len(other)) < _STEM
    return least >= _STEM and is_near and one[: least - 1] == other[: least - 1]
