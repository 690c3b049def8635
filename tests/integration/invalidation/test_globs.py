"""Globs match as Redis has it: what a pattern lists is what it ends (promise I3)."""

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.servers import Server
from tta_taskcache.core.entries import glob

#: What keys are made of, and all that means something in a pattern.
CHARACTERS = "abc-:%^]["
PATTERNS = st.text(st.sampled_from("ab-:%^][*?\\c"), max_size=10)
#: Keys are never empty, which servers take for a special case.
TEXT = st.text(st.sampled_from(CHARACTERS + "\\"), min_size=1, max_size=6)
TEXTS = st.lists(TEXT, min_size=1, max_size=20)


@pytest.fixture
def client(redis_server: Server) -> redis.Redis:
    return redis_server.client(db=3)


def test_i3_globs_match_what_redis_matches(client: redis.Redis) -> None:
    @settings(max_examples=300)
    @given(pattern=PATTERNS, texts=TEXTS)
    @example(pattern="[", texts=["[", "a"])
    @example(pattern="[^", texts=["^", "a", "ab"])
    @example(pattern="[]a]", texts=["a", "]", "]a]", "a]"])
    @example(pattern="[^]a", texts=["a", "ba", "]a", "^a"])
    @example(pattern="[a-", texts=["a", "-", "b"])
    @example(pattern="[a-]", texts=["a", "-", "b", "]", "a]"])
    @example(pattern="[c-a]", texts=["a", "b", "c", "-"])
    @example(pattern="[\\", texts=["\\", "a"])
    @example(pattern="[\\]", texts=["\\", "]", "a"])
    @example(pattern="[\\]]a", texts=["]a", "\\a"])
    @example(pattern="a\\", texts=["a", "a\\"])
    @example(pattern="\\*", texts=["*", "\\*", "a"])
    @example(pattern="**", texts=["a", "ab"])
    @example(pattern="*a*a", texts=["aa", "aaa", "a", "aba", "abab"])
    @example(pattern="?*?", texts=["a", "ab", "abc"])
    def check(pattern: str, texts: list[str]) -> None:
        client.flushdb()
        client.mset(dict.fromkeys(texts, b""))
        found = {name.decode() for name in client.scan_iter(match=pattern, count=1_000)}
        assert {text for text in texts if glob.matches(pattern, text)} == found

    check()
