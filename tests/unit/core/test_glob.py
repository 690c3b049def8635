"""Globs: the whole key, one pattern after another, in a time that nobody can blow up (I3, F1).

That they match what Redis matches is seen in ``tests/integration/invalidation/test_globs.py``.
"""

from time import perf_counter

import pytest

from tta_taskcache.core.entries import glob


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("a", "a", True),
        ("a", "ab", False),
        ("a", "ba", False),
        ("a", "A", False),
        ("*", "", True),
        ("*", "a:b\n", True),
        ("a*", "a\nb", True),
        ("?", "\n", True),
        ("?", "é", True),
        ("?", "", False),
        ("a.c", "abc", False),
        ("(a|b)+$", "a", False),
        ("t:{x}:*", "t:{x}:1", True),
        ("*:1", "t:1:1", True),
        ("*ab*ab", "ab", False),
        ("*ab*ab", "abab", True),
        ("*ab", "abab", True),
        ("a*a", "a", False),
        ("[a-c]", "b", True),
        ("[^a-c]", "b", False),
        ("[^a-c]", "\n", True),
        ("[a\\-c]", "b", False),
        ("[a\\-c]", "-", True),
        ("[\\d]", "1", False),
        ("[[]", "[", True),
        ("[&&a]", "&", True),
        ("\\?", "?", True),
        ("\\?", "a", False),
    ],
)
def test_i3_a_glob_matches_the_whole_text(pattern: str, text: str, *, expected: bool) -> None:
    assert glob.matches(pattern, text) is expected


@pytest.mark.parametrize(
    "pattern", ["*a" * 30 + "b", "*" * 200 + "b", "*?" * 30 + "b", "*[a]" * 30]
)
def test_f1_no_pattern_takes_long(pattern: str) -> None:
    """Every reader matches all bans: one that went back for each star would never return."""
    started = perf_counter()
    glob.matches(pattern, "a" * 500 + "c")
    assert perf_counter() - started < 1.0


def test_i3_odd_patterns_cause_no_warning_and_no_error(recwarn: pytest.WarningsRecorder) -> None:
    for pattern in ("[", "[^", "[]", "[^]", "[a-", "[--a]", "[a||b]", "[a~~b]", "[[:a:]]", "a\\"):
        glob.matches(pattern, "a")
    assert not recwarn.list
