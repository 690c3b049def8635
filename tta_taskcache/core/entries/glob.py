r"""Globs over keys, as Redis matches them: ``*``, ``?``, ``[ab]``, ``[a-c]``, ``[^a]``, ``\x``."""

from __future__ import annotations

import re
from functools import lru_cache

#: Most characters of a glob: every process matches keys with it.
MAX_PATTERN = 1_000


def check(pattern: str) -> None:
    """Check the length of a glob.

    Raises:
        ValueError: It is too long; the message says what is allowed.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(
            f"a pattern of {len(pattern):,} characters: at most {MAX_PATTERN:,} are allowed"
        )


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob to a regular expression whose ``fullmatch`` equals Redis' MATCH."""
    pieces = [""]  # the text between the stars
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
    # The first place of a piece is as good as any: without backtracking, many stars take no longer
    # than one.
    between = "".join(f"(?>.*?{piece})" for piece in others[:-1] if piece)
    last = f".*{others[-1]}" if others else ""
    return re.compile(first + between + last, re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches the glob.

    A glob that is too long matches everything: it ends more than it should, at no cost to readers.
    """
    if len(pattern) > MAX_PATTERN:
        return True
    return compile_glob(pattern).fullmatch(text) is not None


def _class(pattern: str, start: int) -> tuple[str, int]:
    """Read a set of characters from behind its bracket; an unclosed one ends with the pattern."""
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
    if not inside:  # an empty set matches no character, its negation every one
        return ("." if negated else "(?!)"), i + 1
    return f"[{'^' if negated else ''}{inside}]", i + 1
