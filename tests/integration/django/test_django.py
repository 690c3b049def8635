"""A Django project: examples/shop, in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.workers import ROOT, clean_environment

pytestmark = pytest.mark.one_server_kind

SETUP = """
import django
django.setup()
from contextlib import suppress
from django.core.management import call_command
from django.db import transaction
call_command("migrate", run_syncdb=True, verbosity=0)
from celery.result import AsyncResult
from examples.shop import app
from examples.shop.models import Product
from examples.shop.tasks import describe
from tta_taskcache import MISSING, TaskCache
product = Product.objects.create(name="Tea", price=3)
pk = product.pk
"""


@pytest.fixture
def django(tmp_path: Path) -> dict[str, str]:
    return clean_environment(os.environ) | {
        "DJANGO_SETTINGS_MODULE": "examples.shop.settings",
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def check(environment: dict[str, str], script: str) -> None:
    done = run(environment, "-c", SETUP + script)
    assert done.returncode == 0, done.stderr


def test_signals_invalidate_when_their_transaction_is_committed(django: dict[str, str]) -> None:
    check(
        django,
        """
assert describe.cache.call(pk) == "Tea: 3.00"
product.price = 4
with transaction.atomic():
    product.save()
    assert describe.cache.get(pk) == "Tea: 3.00"  # as others read it
assert describe.cache.get(pk) is MISSING
assert describe.cache.call(pk) == "Tea: 4.00"
with suppress(KeyError), transaction.atomic():
    product.price = 5
    product.save()
    raise KeyError
assert describe.cache.get(pk) == "Tea: 4.00"  # rolled back
product.delete()
assert describe.cache.get(pk) is MISSING  # without a transaction: at once
""",
    )


def test_a_queued_invalidation_is_sent_after_the_commit(django: dict[str, str]) -> None:
    check(
        django,
        """
from celery.signals import before_task_publish
sent = []
before_task_publish.connect(lambda sender, **_: sent.append(sender), weak=False)
with transaction.atomic():
    assert TaskCache(app).invalidate(tags=["x"], on_commit=True, queue=True) is None
    assert sent == []
assert sent == ["tta_taskcache.invalidate"]
""",
    )


def test_results_of_hits_are_in_django_celery_results(django: dict[str, str]) -> None:
    check(
        django,
        """
from django_celery_results.models import TaskResult
describe.cache.call(pk)
hit = describe.delay(pk)
assert hit.cache_status.hit
assert AsyncResult(hit.id, app=app).get() == "Tea: 3.00"
assert TaskResult.objects.get(task_id=hit.id).status == "SUCCESS"
""",
    )


def test_a_cached_task_waits_for_the_commit_as_others_do(django: dict[str, str]) -> None:
    check(
        django,
        """
from celery.signals import before_task_publish
from celery.contrib.django.task import DjangoTask
sent = []
before_task_publish.connect(lambda sender, **_: sent.append(sender), weak=False)
assert isinstance(app.tasks[describe.name], DjangoTask)
with transaction.atomic():
    describe.delay_on_commit(pk)
    assert sent == []
assert sent == [describe.name]
""",
    )


def test_beat_keeps_tasks_warm_with_its_schedule_in_the_database(django: dict[str, str]) -> None:
    check(
        django,
        """
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler
from tta_taskcache import Invalidate
TaskCache(app).schedule(Invalidate(tags=["daily"], every=3600))
app.finalize()
DatabaseScheduler(app=app)
assert PeriodicTask.objects.filter(task="tta_taskcache.invalidate").count() == 1
""",
    )


def manage_check(environment: dict[str, str], *arguments: str) -> str:
    done = run(environment, "-m", "django", "check", "--tag=taskcache", *arguments)
    return f"{done.returncode}: {done.stdout}{done.stderr}"


def test_manage_py_check_runs_what_the_doctor_can_say_without_a_server(
    django: dict[str, str],
) -> None:
    said = manage_check(django, "--fail-level=WARNING")
    assert said.startswith("0: ")
    assert "taskcache.I001) Server: there is none" in said
    assert manage_check(django | {"TASKCACHE_URL": "redis://127.0.0.1:1/0"}) == (
        "0: System check identified no issues (0 silenced).\n"
    )


@pytest.mark.parametrize(
    ("code", "said", "fails"),
    [
        ("settings.CELERY_TASKCACHE_DEFAULT_TTL = -1", "taskcache_default_ttl=-1: must be", True),
        ("settings.CELERY_TASKCACHE_ENABLED = False", "W001) Settings: caching is off", False),
        (
            "import tta_taskcache as t\ndef f(): ...\nt.cached_task(cache_serializer='pickle')(f)",
            "W001) Serializer: shop.f: pickle, unsigned",
            False,
        ),
    ],
)
def test_what_manage_py_check_finds(
    django: dict[str, str], code: str, said: str, fails: bool
) -> None:
    script = (
        "import django\ndjango.setup()\nfrom django.conf import settings\n"
        f"from django.core.management import call_command\n{code}\n"
        "call_command('check', tags=['taskcache'])"
    )
    done = run(django, "-c", script)
    assert said in done.stderr + done.stdout
    assert (done.returncode != 0) == fails


def test_without_django_it_says_so() -> None:
    script = (
        "import sys; sys.modules['django'] = None\n"
        "from celery import Celery\nfrom tta_taskcache import TaskCache\n"
        "TaskCache(Celery(set_as_current=False)).invalidate(tags=['x'], on_commit=True)"
    )
    done = run(clean_environment(os.environ), "-c", script)
    assert "ConfigurationError: on_commit=True: there is no Django" in done.stderr
