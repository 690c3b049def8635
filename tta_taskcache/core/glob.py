r"""Globs over keys, as Redis matches them: ``*``, ``?``, ``[ab]``, ``[a-c]``, ``[^a]``, ``\x``."""

from __future__ import annotations

import re
from functools import lru_cache

#: A longer one costs every process that matches it more than anybody needs of a pattern.
MAX_PATTERN = 1_000


def check(pattern: str) -> None:
    """Refuse a glob that is too long.

    Raises:
        ValueError: Saying what is allowed.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(
            f"a pattern of {len(pattern):,} characters: at most {MAX_PATTERN:,} are allowed"
        )


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """Return a regular expression whose ``fullmatch`` says what Redis' MATCH would."""
    pieces = [""]  # what stands between the stars
    i = 0
    while i < len(pattern):
        character = pattern[i]
        i += 1
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "."
        elif character == "[":
            form, i = _class(pattern, i)
            pieces[-1] += form
        else:
            if character == "\\" and i < len(pattern):
                character = pattern[i]
                i += 1
            pieces[-1] += re.escape(character)
    first, *others = pieces
    # Where a piece is found first is as good as anywhere: without going back, many stars take no
    # longer than one.
    between = "".join(f"(?>.*?{piece})" for piece in others[:-1] if piece)
    last = f".*{others[-1]}" if others else ""
    return re.compile(first + between + last, re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches the glob. One that is too long is taken to match: it ends more
    than it should, and costs nobody anything.
    """
    if len(pattern) > MAX_PATTERN:
        return True
    return compile_glob(pattern).fullmatch(text) is not None


def _class(pattern: str, start: int) -> tuple[str, int]:
    """A set of characters, from behind its bracket; one that isn't closed ends with the pattern."""
    i = start
    negated = pattern[i : i + 1] == "^"
    i += negated
    ranges: list[tuple[str, str]] = []
    while i < len(pattern) and pattern[i] != "]":
        if pattern[i] == "\\" and i + 1 < len(pattern):
            ranges.append((pattern[i + 1], pattern[i + 1]))
            i += 2
        elif pattern[i + 1 : i + 2] == "-" and i + 2 < len(pattern):
            first, last = sorted((pattern[i], pattern[i + 2]))
            ranges.append((first, last))
            i += 3
        else:
            ranges.append((pattern[i], pattern[i]))
            i += 1
    inside = "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in ranges)
    if not inside:  # nothing is in an empty set, and everything outside of it
        return ("." if negated else "(?!)"), i + 1
    return f"[{'^' if negated else ''}{inside}]", i + 1
