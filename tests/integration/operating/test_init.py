"""`cache init`: what it finds in an app, and the settings that it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.operating.command_line import Done
from tests.support.servers import Server
from tests.support.workers import ROOT, clean_environment

pytestmark = pytest.mark.one_server_kind

TASKS = """
from tta_taskcache import CachedTask

@app.task(base=CachedTask, name="proj.report")
def report(year: int) -> int:
    return year

@app.task(name="proj.send")
def send(): ...
"""

APP = """
from celery import Celery
app = Celery("proj", broker={broker!r}, backend={backend!r})
"""

BY_MODULE = """
from celery import Celery
app = Celery("proj")
app.config_from_object("projconfig")
"""


def write(folder: Path, app: str, tasks: str = TASKS, more: str = "") -> None:
    (folder / "proj.py").write_text(app + tasks + more)


def run(folder: Path, *args: str, app: str = "proj", **env: str) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", app, "cache", "init", *args],
        env=clean_environment(os.environ) | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"} | env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def report(folder: Path, *args: str, **options: str) -> dict:
    done = run(folder, "--json", *args, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_an_app_with_results_in_redis_needs_little(redis_server: Server, tmp_path: Path) -> None:
    app = APP.format(broker=redis_server.url(0), backend=redis_server.url(1))
    write(tmp_path, app)
    done = run(tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "app.conf.update(",
        "    # Keeps the entries of other apps apart.",
        '    taskcache_namespace="proj",',
        ")",
    ]
    assert "proj, set up in app.conf" in done.stderr
    assert "1 of 2: proj.report" in done.stderr
    assert "(the result backend's), " in done.stderr
    assert "Missing" not in done.stderr
    # Where entries are stored without it already, it says what becomes of them.
    redis_server.client(1).hset("taskcache:{log}:control", "incarnation", "i")
    assert "starts anew" in run(tmp_path).stdout
    # What it prints is all it wants.
    write(tmp_path, app, more=done.stdout)
    again = run(tmp_path)
    assert (again.returncode, again.stdout) == (0, "")
    assert "Nothing to write" in again.stderr
    assert "taskcache_namespace" in again.stderr


def test_what_is_missing_is_said_and_written(redis_server: Server, tmp_path: Path) -> None:
    write(tmp_path, APP.format(broker=redis_server.url(3), backend=None), "@app.task\ndef f(): ...")
    found = report(tmp_path)
    host = redis_server.url(4)
    assert found["settings"] == {"taskcache_url": host, "taskcache_namespace": "proj"}
    assert [line.split(":")[0] for line in found["missing"]] == [
        "a cached task",
        "a result backend (result_backend)",
        "a Redis for the cache",
    ]
    assert found["found"]["result_backend"] == "none"


def test_no_tasks_at_all(tmp_path: Path) -> None:
    write(tmp_path, APP.format(broker="memory://", backend=None), "")
    missing = report(tmp_path)["missing"]
    assert missing[0].startswith("tasks: none was found. Is it the right app")


def test_a_configuration_module_gets_lines_of_its_own(redis_server: Server, tmp_path: Path) -> None:
    write(tmp_path, BY_MODULE)
    config = tmp_path / "projconfig.py"
    config.write_text('broker_url = "amqp://u:hush@localhost"\nresult_backend = "rpc://"\n')
    done = run(tmp_path)
    assert "a configuration module (projconfig)" in done.stderr
    assert "hush" not in done.stdout + done.stderr
    with config.open("a") as opened:
        opened.write(done.stdout.replace("localhost:6379/0", redis_server.url(2)[8:]))
    found = report(tmp_path)
    assert (found["settings"], found["missing"]) == ({}, [])
    assert found["found"]["settings"] == ["url", "namespace"]


def test_django_has_its_own_names() -> None:
    found = report(
        ROOT, app="examples.shop.celery_app", DJANGO_SETTINGS_MODULE="examples.shop.settings"
    )
    assert found["found"]["app"] == "shop, set up in Django's settings (examples.shop.settings)"
    assert [line for line in found["lines"] if not line.startswith("#")] == [
        'CELERY_TASKCACHE_URL = "redis://localhost:6379/0"',
        'CELERY_TASKCACHE_NAMESPACE = "shop"',
    ]
    assert found["missing"] == [
        "a Redis for the cache: the settings below name redis://localhost:6379/0"
    ]


def test_a_file_is_written_once_and_the_app_can_read_it(
    redis_server: Server, tmp_path: Path
) -> None:
    app = APP.format(broker=redis_server.url(0), backend=redis_server.url(1))
    write(tmp_path, app)
    path = tmp_path / "cachesettings.py"
    done = run(tmp_path, "--output", path.name)
    assert (done.returncode, done.stdout) == (0, "")
    assert "app.config_from_object('cachesettings')" in done.stderr
    written = path.read_text()
    assert run(tmp_path, "--output", path.name).returncode == 2
    assert path.read_text() == written
    write(tmp_path, app, more="app.config_from_object('cachesettings')\n")
    found = report(tmp_path)
    assert found["settings"] == {}
    assert found["found"]["broker"] == redis_server.url(0), "what the app says itself still holds"


@pytest.mark.parametrize("path", ["no/such/folder.py", "."])
def test_a_file_that_cannot_be_written(tmp_path: Path, path: str) -> None:
    write(tmp_path, APP.format(broker="memory://", backend="cache+memory://"))
    done = run(tmp_path, "--output", path)
    assert done.returncode == 2
    assert path in done.stderr.splitlines()[-1]


def test_a_redis_that_does_not_answer_is_said(tmp_path: Path) -> None:
    write(tmp_path, APP.format(broker="memory://", backend="redis://:hush@localhost:1/1"))
    done = run(tmp_path)
    assert done.returncode == 0
    assert "a Redis that answers at redis localhost:1/1" in done.stderr
    assert "hush" not in done.stderr
