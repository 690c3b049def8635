"""No password is shown, however it is written and whatever fails (X1)."""

import os
import subprocess
import sys

import psutil
import pytest

from tests.integration.operating.command_line import MODULE, run_celery
from tests.support.servers import free_port
from tests.support.workers import ROOT, clean_environment
from tta_taskcache.observability.metrics.metrics_server import MetricsServer
from tta_taskcache.observability.metrics.prometheus_metrics import Metrics

pytestmark = pytest.mark.one_server_kind

PASSWORD, SECRET = "hunter2pw", "topsecretkey"

#: Nothing answers there.
URLS = {
    "single": f"redis://u:{PASSWORD}@127.0.0.1:1/0",
    "query": f"redis://127.0.0.1:1/0?password={PASSWORD}",
    "encoded": f"redis://u:{PASSWORD}%40x@127.0.0.1:1/0",
    "tls": f"rediss://u:{PASSWORD}@127.0.0.1:1/0",
    "cluster": f"redis+cluster://u:{PASSWORD}@127.0.0.1:1,127.0.0.1:2",
    "sentinel": f"redis+sentinel://u:{PASSWORD}@127.0.0.1:1/main/0?sentinel_password={PASSWORD}",
    "socket": f"unix://u:{PASSWORD}@/no/such.sock?db=2",
    "no number": f"redis://u:{PASSWORD}@127.0.0.1:port/0",
    "no option": f"redis://u:{PASSWORD}@127.0.0.1:1/0?nosuch=1&password={PASSWORD}",
    "no scheme": f"mysql://u:{PASSWORD}@127.0.0.1/0",
    "not encoded": f"redis://u:{PASSWORD}/x#y@127.0.0.1:1/0",
    "no host": f"redis+sentinel://u:{PASSWORD}@/main",
    "no address": f"redis://u:{PASSWORD}@[::1/0",
}

EVERYTHING = """
import logging, os, sys, traceback
logging.basicConfig(stream=sys.stdout, level=0)
from celery import Celery
from tta_taskcache import CachedTask, TaskCache
app = Celery("exposed", broker="memory://", backend="cache+memory://", set_as_current=False)
try:
    cache = TaskCache(app, url=os.environ["URL"], secret=os.environ["SECRET"], timeout=0.2)
    task = app.task(base=CachedTask, name="t", shared=False)(lambda x: x)
    runtime = cache.runtime
    for shown in (cache, cache.settings, runtime, runtime.engine, runtime.store, task, task.cache):
        print(repr(shown))
    for act in (
        lambda: task.cache.get(1), lambda: task.delay(1), lambda: cache.invalidate(task="t"),
        cache.keys, cache.stats, lambda: task.cache.explain(1),
    ):
        try:
            print(repr(act()))
        except Exception:
            traceback.print_exc(file=sys.stdout)
except Exception:
    traceback.print_exc(file=sys.stdout)
print("done")
"""


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_x1_no_repr_log_or_error_shows_a_password(url: str) -> None:
    env = clean_environment(os.environ) | {"URL": url, "SECRET": SECRET}
    command = [sys.executable, "-c", EVERYTHING]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    shown = done.stdout + done.stderr
    assert "done" in done.stdout.splitlines()
    assert PASSWORD not in shown
    assert SECRET not in shown


@pytest.mark.parametrize("args", [("report",), ("cache", "doctor", "--json"), ("cache", "ls")])
@pytest.mark.parametrize("kind", ["single", "cluster", "sentinel"])
def test_x1_no_command_shows_a_password_when_nothing_answers(
    kind: str, args: tuple[str, ...]
) -> None:
    broker = URLS["single"] if kind == "single" else f"amqp://u:{PASSWORD}@127.0.0.1:1//"
    env = {"CELERY_BROKER_URL": broker, "CELERY_RESULT_BACKEND": URLS["single"]}
    done = run_celery(MODULE, env | {"TASKCACHE_URL": URLS[kind]}, *args)
    assert PASSWORD not in done.stdout + done.stderr
    assert done.stdout or done.stderr


def test_x2_metrics_are_served_to_this_machine_only() -> None:
    port = free_port()
    server = MetricsServer(Metrics("exposed"), port)
    try:
        listening = [
            each.laddr
            for each in psutil.Process().net_connections("inet")
            if each.status == psutil.CONN_LISTEN and each.laddr.port == port
        ]
        assert [each.ip for each in listening] == ["127.0.0.1"]
    finally:
        server.stop()
