"""The guard: what two texts that are near as vectors differ in, and mustn't.

An embedding blurs what a short answer hangs on: ``disable 2FA`` is nearer to ``enable 2FA`` than to
its own paraphrase. So two texts ask for the same only if they agree in their numbers and dates, in
names, and in whether they deny. It knows English words; numbers, names and their order it compares
in any language that is written with spaces and capitals.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from ..record import record
from .guard_words import COMMON, CONTRACTED, DATES, NEGATIONS, NUMBERS, OPPOSITES, PREFIXES

#: A number with what is in it, or a word with the apostrophes, dots and hyphens in it.
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['\u2019.&-][^\W\d_]+)*\+*#*|[%$€£]")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"^\d{1,3}(,\d{3})+(\.\d+)?$")
#: A number with others behind it, such as a date's; and a digit.
_PARTS = re.compile(r"\d[:/-]\d")
_DIGIT = re.compile(r"\d")
#: What denies nothing: whether or not.
_EITHER = re.compile(r"\bor not\b", re.IGNORECASE)
_QUOTES = " \t\"'\u201c\u201d\u2018\u2019("
_SENTENCE_ENDS = ".!?:;"

#: Most characters before a word that are looked at to find out whether it begins a sentence.
_BEFORE = 16

#: Longer texts are read anew each time: what is remembered of them would take too much memory.
_MAX_REMEMBERED = 2_000

#: Least letters that two words have in common to be forms of one.
_STEM = 4


@record
class _Features:
    """What of a text is compared.

    Attributes:
        numbers: Its numbers.
        dates: Its words of dates and times.
        names: Its names, in their order.
        words: Its words.
        negations: Number of its words that deny.
        tokens: Its words and numbers, in their order.
    """

    numbers: Counter[str]
    dates: Counter[str]
    names: tuple[str, ...]
    words: frozenset[str]
    negations: int
    tokens: tuple[str, ...]


def differing(asked: str, stored: str) -> str:
    """Return in what two texts differ that no paraphrase would; an empty text for nothing.

    Returns:
        ``"numbers"``, ``"dates"``, ``"names"``, ``"order"`` (of names, or of all their words),
        ``"negation"`` (a denial, or an opposite such as enable and disable), or an empty text.
    """
    one, other = _features(asked), _features(stored)
    if one.numbers != other.numbers:
        return "numbers"
    if one.dates != other.dates or _are_rewritten(one.tokens, other.tokens):
        return "dates"
    if _lacks(one, other) or _lacks(other, one):
        return "names"
    if _is_reordered(one.names, other.names) or _have_same_words(one, other):
        return "order"
    if one.negations % 2 != other.negations % 2 or _are_opposite(one.words, other.words):
        return "negation"
    return ""


def _features(text: str) -> _Features:
    return _remembered(text) if len(text) <= _MAX_REMEMBERED else _read(text)


def _read(text: str) -> _Features:
    numbers: Counter[str] = Counter()
    dates: Counter[str] = Counter()
    names: list[str] = []
    words: set[str] = set()
    tokens: list[str] = []
    negations = 0
    shouts = text.isupper()
    text = _EITHER.sub("", text)
    for found in _TOKEN.finditer(text):
        token = found.group()
        if not token[0].isalpha():
            numbers.update(_numbers(token))
            tokens.append(token)
            continue
        word = _plain(token)
        tokens.append(word)
        if word in NEGATIONS or word in CONTRACTED or word.endswith("n't"):
            negations += 1
        if word in DATES:
            dates[DATES[word]] += 1
        elif word in NUMBERS:
            numbers[NUMBERS[word]] += 1
        elif _is_name(token, text, found.start(), shouts=shouts):
            names.append(word)
        words.add(word)
    return _Features(numbers, dates, tuple(names), frozenset(words), negations, tuple(tokens))


_remembered = lru_cache(maxsize=1024)(_read)


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
    before = text[max(0, start - _BEFORE) : start].rstrip().rstrip(_QUOTES)
    return before != "" and before[-1] not in _SENTENCE_ENDS


def _lacks(one: _Features, other: _Features) -> bool:
    """Whether a text names what the other doesn't even write in small letters."""
    missing = {name for name in one.names if name not in other.words}
    if not missing:
        return False
    bare = {_bare(word) for word in other.words}
    starts = {word[:end] for word in bare for end in range(_STEM + 1, len(word) + 1)}
    return not all(_has_form(_bare(name), bare, starts) for name in missing)


def _bare(word: str) -> str:
    return word.replace(".", "").replace("-", "")


def _has_form(name: str, words: set[str], starts: set[str]) -> bool:
    """Whether a form of a name is among words: its plural, its adjective, without its dots.

    Args:
        name: The name.
        words: The words.
        starts: Their beginnings of more than ``_STEM`` letters.
    """
    if name in words or name + "s" in words or (name.endswith("s") and name[:-1] in words):
        return True
    if len(name) <= _STEM:
        return False
    return name in starts or any(name[:end] in words for end in range(_STEM + 1, len(name)))


def _is_reordered(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two names that both texts have stand in another order: from A to B, from B to A."""
    both = set(one) & set(other)
    first = list(dict.fromkeys(name for name in one if name in both))
    second = list(dict.fromkeys(name for name in other if name in both))
    return first != second


def _have_same_words(one: _Features, other: _Features) -> bool:
    """Whether two texts are of the same words in another order: from here to there, and back."""
    return one.tokens != other.tokens and Counter(one.tokens) == Counter(other.tokens)


def _are_rewritten(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether dates of one form differ that are of the same numbers: ``03-05`` and ``05-03``."""
    here, there = (Counter(t for t in tokens if _PARTS.search(t)) for tokens in (one, other))
    return here != there and Counter(map(_form, here.elements())) == Counter(
        map(_form, there.elements())
    )


def _form(token: str) -> str:
    return _DIGIT.sub("9", token)


def _are_opposite(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether a word of one text stands for the opposite of a word of the other."""
    here, there = one - other, other - one
    if any(_OPPOSITES_OF.get(word, _NONE) & there for word in here):
        return True
    return _denies(here, there) or _denies(there, here)


def _denies(words: frozenset[str], plain: frozenset[str]) -> bool:
    """Whether a word denies a plain one by a prefix: ``uninstalling`` and ``install``."""
    denied = {
        start + word[len(prefix) :]
        for word in words
        for prefix, instead in PREFIXES
        if word.startswith(prefix)
        for start in instead
    }
    return bool(denied) and (not denied.isdisjoint(plain) or _share_stem(denied, plain))


def _share_stem(some: set[str], others: frozenset[str]) -> bool:
    """Whether words of two sets are forms of one: ``installing`` and ``install``.

    Their lengths differ by less than ``_STEM``, and they agree but for the shorter one's last
    letter and what is behind it. So of each word some lengths and beginnings are compared, not
    each word with each.
    """
    stems = {
        (len(word), word[: shorter - 1])
        for word in others
        for shorter in range(max(_STEM, len(word) - _STEM + 1), len(word) + 1)
    }
    return any(
        (length, word[: min(len(word), length) - 1]) in stems
        for word in some
        for length in range(max(_STEM, len(word) - _STEM + 1), len(word) + _STEM)
        if len(word) >= _STEM
    )


_NONE: frozenset[str] = frozenset()

#: Each word's opposites.
_OPPOSITES_OF: dict[str, frozenset[str]] = {
    word: frozenset().union(*(pair for pair in OPPOSITES if word in pair)) - {word}
    for word in frozenset().union(*OPPOSITES)
}
