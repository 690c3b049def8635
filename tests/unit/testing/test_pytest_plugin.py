"""The pytest plugin, in projects of its own: with Celery's fixtures, its markers, and xdist."""

import pytest

from tests.support.servers import Server

pytest_plugins = ["pytester"]

PROJECT = """
    from celery import Celery, shared_task
    from tta_taskcache import CachedTask

    runs = []

    @shared_task(base=CachedTask, name="double", cache_ttl=60, cache_stale_while_revalidate=60)
    def double(x):
        runs.append(x)
        return 2 * x

    @shared_task(base=CachedTask, name="bag")
    def bag(x):
        return {x}

    app = Celery("proj", broker="memory://", backend="cache+memory://")
    app.conf.update(task_always_eager=True)
    app.set_default()
"""

QUIET = ("-q", "-pno:cacheprovider", "-pno:valkey")


def run(pytester: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(proj=PROJECT, test_it=tests)
    return pytester.runpytest_subprocess(*QUIET, *arguments)


def test_a_test_has_a_cache_of_its_own(pytester: pytest.Pytester) -> None:
    """What another has stored isn't there, and what was there before is there afterwards."""
    done = run(
        pytester,
        """
        import pytest
        from proj import double

        def test_before():
            double.delay(1).get()

        @pytest.mark.parametrize("turn", [1, 2])
        def test_own(taskcache, turn):
            assert [double.delay(1).get() for _ in range(3)] == [2, 2, 2]
            assert (taskcache.runs("double"), taskcache.hits(double)) == (1, 2)

        def test_after():
            assert double.delay(1).cache_status.hit

        def test_the_cache_itself(taskcache):
            double.delay(1).get()
            taskcache.cache.clear()
            assert not double.delay(1).cache_status.hit
        """,
    )
    done.assert_outcomes(passed=5)


def test_time_passes_when_a_test_says_so(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest
        from proj import double

        def test_travel(taskcache):
            double.delay(1).get()
            taskcache.travel(59)
            assert double.delay(1).cache_status.hit
            taskcache.travel(2)
            assert double.cache.explain(1).stale
            taskcache.travel(60)
            assert not double.delay(1).cache_status.hit
            assert taskcache.runs(double) == 2

        @pytest.mark.parametrize("wrong", [-1, "a minute", 0])
        def test_not_back(taskcache, wrong):
            with pytest.raises(ValueError, match="seconds"):
                taskcache.travel(wrong)

        def test_a_task_that_is_none(taskcache):
            with pytest.raises(LookupError, match="'proj' has no task 'triple'"):
                taskcache.hits("triple")
        """,
    )
    done.assert_outcomes(passed=5)


def test_markers(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest
        import proj
        from proj import bag, double

        @pytest.mark.taskcache("off")
        def test_off():
            proj.runs.clear()
            assert [double.delay(1).get() for _ in range(2)] == [2, 2]
            assert proj.runs == [1, 1]

        @pytest.mark.taskcache("shadow")
        def test_shadow(taskcache):
            assert [double.delay(1).get() for _ in range(2)] == [2, 2]
            assert (taskcache.runs(double), taskcache.hits(double)) == (2, 0)
            assert taskcache.cache.stats().tasks["double"].shadow == {"hit": 1, "miss": 1}

        @pytest.mark.taskcache("strict")
        def test_strict_and_well():
            double.delay(1).get()

        @pytest.mark.taskcache("strict")
        def test_strict_and_not():
            bag.delay(1).get()

        def test_not_strict(taskcache):
            bag.delay(1).get()

        @pytest.mark.taskcache("of")
        def test_unknown():
            pass
        """,
        "--strict-markers",
    )
    done.assert_outcomes(passed=5, errors=2)
    done.stdout.fnmatch_lines(
        [
            "*the cache complains: bag: unserializable*",
            "*unknown 'of' (allowed: 'off', 'shadow', 'strict', shared=True)*",
        ]
    )


def test_with_celery_s_fixtures(pytester: pytest.Pytester) -> None:
    """A worker in a thread, whose app the test's cache is of."""
    done = run(
        pytester,
        """
        import pytest
        from celery.contrib.pytest import celery_worker
        from proj import double

        @pytest.fixture(scope="session")
        def celery_config():
            return {"broker_transport_options": {"polling_interval": 0.01}}

        def test_app(celery_app, taskcache):
            assert taskcache.cache.app is celery_app

        @pytest.mark.parametrize("turn", [1, 2])
        def test_session_worker(celery_session_worker, taskcache, turn):
            assert [double.delay(2).get(timeout=20) for _ in range(2)] == [4, 4]
            assert (taskcache.runs(double), taskcache.hits(double)) == (1, 1)
        """,
    )
    done.assert_outcomes(passed=3)


def test_a_shared_cache_is_cleared_and_has_its_own_clock(
    pytester: pytest.Pytester, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: the second time, what the first has stored and counted is there."""
    monkeypatch.setenv("SHARED_URL", redis_server.url(4))
    tests = """
        import os
        import pytest
        import proj
        from proj import double

        proj.app.conf.taskcache_url = os.environ["SHARED_URL"]
        proj.app.conf.taskcache_timeout = 2.0

        @pytest.mark.taskcache(shared=True)
        def test_shared(taskcache):
            assert [double.delay(1).get() for _ in range(2)] == [2, 2]
            assert (taskcache.runs(double), taskcache.hits(double)) == (1, 1)
            assert taskcache.cache.runtime.is_shared
            with pytest.raises(RuntimeError, match="and not Redis'"):
                taskcache.travel(60)

        def test_own(taskcache):
            assert not taskcache.cache.runtime.is_shared
            assert not double.delay(1).cache_status.hit
        """
    for _ in range(2):
        run(pytester, tests).assert_outcomes(passed=2)


def test_with_xdist(pytester: pytest.Pytester) -> None:
    done = run(
        pytester,
        """
        import pytest
        from proj import double

        @pytest.mark.parametrize("turn", range(8))
        def test_own(taskcache, turn):
            assert [double.delay(1).get() for _ in range(2)] == [2, 2]
            assert (taskcache.runs(double), taskcache.hits(double)) == (1, 1)
        """,
        "-n2",
    )
    done.assert_outcomes(passed=8)


def test_nothing_is_imported_for_tests_that_do_not_ask(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_other():
            ours = [name for name in sys.modules if name.startswith("tta_taskcache.")]
            assert set(ours) == {"tta_taskcache.testing", "tta_taskcache.testing.pytest_plugin"}
        """
    )
    done = pytester.runpytest_subprocess(*QUIET)
    done.assert_outcomes(passed=1)
