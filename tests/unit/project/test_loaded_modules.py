"""What a process that only calls tasks loads: nothing that it has no use for."""

import os
import subprocess
import sys
import textwrap

from tests.support.workers import clean_environment

CALLS = """
    import sys
    from celery import Celery
    {imports}
    app = Celery("web", broker="memory://", backend="cache+memory://")
    @app.task({options})
    def double(x):
        return 2 * x
    {more}
    double.delay(1)
    print(*sorted(sys.modules))
"""

USED = """
    double.cache.set(4, 2)
    assert double.delay(2).get() == 4
    double.cache.explain(2), double.cache.invalidate(2), app.tasks
    TaskCache(app).stats()
"""


def loaded(imports: str = "", options: str = "", more: str = "") -> set[str]:
    """The modules of a new process that calls a task, and more."""
    script = textwrap.dedent(CALLS).format(
        imports=imports, options=options, more=textwrap.dedent(more)
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def of(package: str, modules: set[str]) -> set[str]:
    return {name for name in modules if name == package or name.startswith(f"{package}.")}


def test_a_process_that_calls_tasks_loads_no_terminal_metrics_or_worker() -> None:
    plain = loaded("import redis, celery.app.trace")  # a hit is completed by Celery's tracer
    cached = loaded(
        "from tta_taskcache import CachedTask, TaskCache",
        "base=CachedTask, cache_ttl=60",
        USED,
    )
    for package in ("rich", "prometheus_client", "celery.bin", "celery.apps"):
        assert not of(package, cached), package
    assert of("celery.worker", cached) <= of("celery.worker", plain), "but for what Celery loads"


def test_the_command_line_is_loaded_by_its_own_commands_only() -> None:
    modules = loaded("import tta_taskcache.celery.cli")
    assert not of("rich", modules)
    assert not [name for name in modules if name.startswith("tta_taskcache.celery.cli.")]
