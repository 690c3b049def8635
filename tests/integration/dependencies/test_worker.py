"""Dependencies, and what a run decides, on a real worker (D1)."""

from typing import Any

import pytest

from tests.integration.harness import Harness
from tests.support.waiting import wait_until
from tta_taskcache import MISSING, CacheMiss

pytestmark = [pytest.mark.one_server_kind, pytest.mark.usefixtures("worker")]


def ask(harness: Harness, how: str, **options: Any) -> Any:
    args = (harness.tag, how)
    return harness.task("made.report").apply_async(args, **options).get(timeout=60)


def is_stored(harness: Harness) -> bool:
    return harness.task("made.report").cache.get(harness.tag, "") is not MISSING


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("how", ["call", "get", "thread", "join", "group"])
def test_d1_in_a_prefork_worker(harness: Harness, how: str, is_warm: bool) -> None:
    tag, summary = harness.tag, harness.task("made.summary")
    if is_warm:
        assert summary.apply_async((tag, how)).get(timeout=60) == "summary of 1"
        wait_until(lambda: summary.cache.get(tag, how) is not MISSING, what="the summary")
    for number, ends in enumerate(
        [{"tags": [f"user:{tag}"]}, {"tags": [f"row:{tag}"]}, {"pattern": f"made.user:{tag}*"}], 1
    ):
        expected = f"report of summary of {number}"
        # The worker's memory may answer with what ended less than Δ ago; that makes no entry.
        wait_until(lambda text=expected: ask(harness, how) == text, what=expected)
        wait_until(lambda: is_stored(harness), what="the report")
        assert ask(harness, how, cache="only") == expected
        made_from = harness.task("made.report").cache.explain(tag, how).made_from
        assert {key.split(":")[0] for key in made_from} == {"made.summary", "made.user"}
        harness.cache.invalidate(**ends)  # type: ignore[arg-type]  # one of its arguments
        with pytest.raises(CacheMiss):
            ask(harness, how, cache="only")


@pytest.mark.parametrize("site", ["producer", "consumer", "pool"])
def test_callables_of_the_result_count_at_each_site(harness: Harness, site: str) -> None:
    """The worker stores by them, and each site answers and ends by what was stored."""
    token = harness.task("made.token")
    token.cache_sites = (site,)

    def run(expires_in: float, **options: Any) -> int:
        result = token.apply_async((harness.tag, expires_in), **options)
        return int(result.get(timeout=60)["run"])

    assert run(600) == 1
    wait_until(lambda: token.cache.get(harness.tag, 600) is not MISSING, what="the token")
    assert 590 < (token.cache.explain(harness.tag, 600).remaining or 0) <= 600
    assert run(600, headers={"site": site}) == 1
    harness.cache.invalidate(tags=[f"account:{harness.tag}"])
    assert run(600) == 2
    assert run(-1) == 3
    assert run(-1) == 4, "a ttl of less than 0 isn't stored"
