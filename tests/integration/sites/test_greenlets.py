"""S1 with greenlets: hits that are completed at once in several of them (`uwsgi --gevent`, say)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_server_kind

ROOT = Path(__file__).parents[3]

#: The package is imported before the patches are made, as it is where a server patches late. The
#: first greenlet's hit waits in a handler while the second's is completed.
PROGRAM = """
import json
from tests.integration.sites.local_apps import local_app
from tta_taskcache import CachedTask
from {library} import {spawning}, event
from {library}{patching}
{patch}
app, _ = local_app()
entered, leave = event.Event(), event.Event()
done = []

class Base(CachedTask):
    abstract = True
    def on_success(self, value, task_id, args, kwargs):
        if args == ["first"]:
            entered.{tell}()
            leave.wait()
        done.append(args[0])

@app.task(base=Base)
def named(name): return name

def ask(name):
    named.delay(name)
    done.append(name + " returned")

for name in ("first", "second"):
    named.cache.set(name, name)
first = {spawn}(ask, "first")
entered.wait()
second = {spawn}(ask, "second")
second.{wait}()
leave.{tell}()
first.{wait}()
print(json.dumps(done))
"""

LIBRARIES = {
    "gevent": {
        "library": "gevent",
        "spawning": "spawn",
        "patching": " import monkey",
        "patch": "monkey.patch_all()",
        "spawn": "spawn",
        "wait": "join",
        "tell": "set",
    },
    "eventlet": {
        "library": "eventlet",
        "spawning": "spawn",
        "patching": " import monkey_patch",
        "patch": "monkey_patch()",
        "spawn": "spawn",
        "wait": "wait",
        "tell": "send",
    },
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_s1_hits_of_two_greenlets_do_not_wait_for_each_other(library: str) -> None:
    program = PROGRAM.format(**LIBRARIES[library])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == ["second", "second returned", "first", "first returned"]
