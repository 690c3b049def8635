"""A Django project, in one file: its settings, its task and its views.

`python -m examples.django_site` starts a worker and the site, and says where it is (`--port`). The
cache's settings are Django's, as Celery's are: `CELERY_TASKCACHE_…`.
"""

import argparse
import os
import sys
import time
from typing import Any

import django
from celery import Celery
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest, JsonResponse
from django.urls import path

from examples.analysis.demo.processes import running
from examples.embedded import redis
from tta_taskcache import CachedTask, TaskCache

if not settings.configured:
    settings.configure(
        SECRET_KEY="an example",  # noqa: S106 - nothing is signed with it
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="examples.django_site",
        CELERY_BROKER_URL=os.environ.get("CELERY_BROKER_URL", "memory://"),
        CELERY_RESULT_BACKEND=os.environ.get("CELERY_RESULT_BACKEND", "cache+memory://"),
        CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP=True,
        CELERY_TASKCACHE_URL=os.environ.get("TASKCACHE_URL"),
        CELERY_TASKCACHE_DEFAULT_TTL=600,
        CELERY_TASKCACHE_L1_MAX_STALENESS=0,
    )
    django.setup()

app = Celery("django_site")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(base=CachedTask, name="django_site.quote", cache_tags=("symbol:{symbol}",))
def quote(symbol: str) -> dict[str, Any]:
    """A price, which takes a second."""
    time.sleep(1.0)
    return {"symbol": symbol, "price": len(symbol) * 10, "computed_at": time.time()}


def show(request: HttpRequest, symbol: str) -> JsonResponse:
    """A price: stored, or computed by a worker."""
    result = quote.delay(symbol)
    return JsonResponse({**result.get(timeout=30), "hit": result.cache_status.hit})


def change(request: HttpRequest, symbol: str) -> JsonResponse:
    """The price of a symbol has changed."""
    TaskCache(app).invalidate(tags=[f"symbol:{symbol}"])
    return JsonResponse({"ended": symbol})


urlpatterns = [path("quotes/<symbol>", show), path("quotes/<symbol>/changed", change)]


def main() -> None:
    """Start a server, if none is named, a worker, and the site once that is there."""
    parser = argparse.ArgumentParser(prog="examples.django_site")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    with (
        redis() as (folder, env),
        running(
            [sys.executable, "-m", "celery", "-A", "examples.django_site", "worker", "-c", "2"],
            folder / "worker.log",
            {**os.environ, **env},
        ),
    ):
        # This process was started before there were URLs.
        app.conf.update(
            broker_url=env["CELERY_BROKER_URL"],
            result_backend=env["CELERY_RESULT_BACKEND"],
            taskcache_url=env["TASKCACHE_URL"],
        )
        print(f"http://127.0.0.1:{port}/quotes/ACME", flush=True)
        call_command("runserver", f"127.0.0.1:{port}", "--noreload")


if __name__ == "__main__":
    # Under its name: the worker imports this module, and both mean the same tasks.
    from examples import django_site as module

    module.main()
