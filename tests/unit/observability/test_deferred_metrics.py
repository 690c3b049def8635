"""Metrics in processes that serve none, or not yet: counted without prometheus_client."""

import os
import subprocess
import sys
import textwrap

import pytest

from tests.support.workers import clean_environment

ONE = (
    "from tta_taskcache.core.events import Evicted\n"
    "from tta_taskcache.observability.metrics.deferred_metrics import deferred_metrics_of\n"
    "from tta_taskcache.observability.metrics.process_counts import counts_of\n"
    "metrics = deferred_metrics_of('x')\n"
    "metrics(Evicted(1))\n"
)

TOTAL = """
def total():
    text = prometheus_client.generate_latest().decode()
    return [line for line in text.splitlines() if line.startswith("x_evictions_total")]
"""


def run(script: str, **environment: str) -> list[str]:
    """What a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", ONE + textwrap.dedent(TOTAL) + textwrap.dedent(script)],
        env=clean_environment(os.environ) | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_prometheus_client_is_not_loaded_to_count() -> None:
    loaded = "import sys\nprint([name for name in sys.modules if 'prometheus_client' in name])"
    assert run(loaded) == ["[]"]


def test_f2_what_was_counted_before_it_was_loaded_is_told() -> None:
    told = run("""
        import prometheus_client
        metrics(Evicted(2))
        metrics(Evicted(4))
        print(*total())
    """)
    assert told == ["x_evictions_total 7.0"]


def test_f2_memory_that_was_watched_before_is_measured() -> None:
    told = run("""
        class Held:
            size = 11
            def __len__(self): return 3
        before, after = Held(), Held()
        metrics.watch(before)
        import prometheus_client
        metrics(Evicted(1))
        metrics.watch(after)
        print(prometheus_client.REGISTRY.get_sample_value("x_l1_bytes"))
    """)
    assert told == ["22"]


@pytest.mark.parametrize("loaded", ["before", "after"])
def test_f2_a_forked_process_does_not_tell_its_parents_counts(loaded: str) -> None:
    late = "import prometheus_client"
    told = run(f"""
        import os
        {late if loaded == "before" else ""}
        metrics(Evicted(1))
        if not os.fork():
            {late}
            metrics(Evicted(10))
            print("child", *total(), flush=True)
            os._exit(0)
        os.wait()
        {late}
        metrics(Evicted(1))
        print("parent", *total())
    """)
    assert told == ["child x_evictions_total 10.0", "parent x_evictions_total 3.0"]


@pytest.mark.parametrize("installed", [True, False])
def test_multiprocess_mode_loads_it_at_once_where_it_is(
    tmp_path: object, *, installed: bool
) -> None:
    told = run(
        f"""
        import sys
        {"" if installed else "sys.modules['prometheus_client'] = None"}
        deferred_metrics_of("y")(Evicted(1))
        print(sys.modules.get("prometheus_client") is not None)
        """,
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
    )
    assert told == [str(installed)]


def test_workers_that_are_to_serve_metrics_say_what_is_missing() -> None:
    told = run("""
        import sys
        sys.modules["prometheus_client"] = None
        from celery import Celery
        from tta_taskcache import ConfigurationError, TaskCache
        from tta_taskcache.celery.worker.metrics_step import MetricsStep
        app = Celery("x", broker="memory://", backend="cache+memory://")
        TaskCache(app)
        class Worker:
            pass
        worker = Worker()
        worker.app, worker.steps = app, []
        MetricsStep(worker)
        other = Celery("y", broker="memory://", backend="cache+memory://")
        other.conf.taskcache_metrics_port = 9
        TaskCache(other)
        worker.app = other
        try:
            MetricsStep(worker)
        except ConfigurationError as error:
            print(error)
    """)
    assert told == [
        "taskcache_metrics_port needs prometheus-client: pip install 'tta-taskcache[prometheus]'"
    ]


def test_f1_a_package_that_cant_be_used_ends_nothing() -> None:
    told = run("""
        import sys, types
        sys.modules["prometheus_client"] = types.ModuleType("prometheus_client")  # one of old
        metrics(Evicted(2))
        metrics(Evicted(4))
        print(counts_of("x").cells.read())
    """)
    assert told == ["{('evictions',): 7.0}"]
