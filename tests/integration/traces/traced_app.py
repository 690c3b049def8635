"""The application whose calls are traced: in this process, and a worker's module.

``TRACES_SDK`` names the SDK, ``TRACES_FOLDER`` is where it is recorded, ``TRACES_REDIS`` is the URL
of a server without a database.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from celery import Celery

from tests.integration.traces.spans import Recording, Sdk
from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache

#: The SDKs, and whose module has their class.
SDKS = {
    "opentelemetry": ("with_opentelemetry", "OpenTelemetry"),
    "sentry": ("with_sentry", "Sentry"),
    "sentry-streaming": ("with_sentry", "StreamingSentry"),
}

folder, redis = Path(os.environ["TRACES_FOLDER"]), os.environ["TRACES_REDIS"]
recording = Recording(folder / "recording")

#: While it exists, runs wait.
shut = folder / "shut"

_module, _name = SDKS[os.environ["TRACES_SDK"]]
sdk: Sdk = getattr(import_module(f"tests.integration.traces.{_module}"), _name)(recording)

app = Celery("traces", set_as_current=False)
app.conf.update(
    broker_url=f"{redis}/0",
    result_backend=f"{redis}/1",
    taskcache_url=f"{redis}/2",
    taskcache_timeout=5,
    broker_connection_retry_on_startup=True,
)
cache = TaskCache(app, observers=[sdk.observer, recording.event])


def double(x: int) -> int:
    wait_until(lambda: not shut.exists(), timeout=30, what="the gate")
    return 2 * x


def _task(name: str, **options: Any) -> Any:
    return app.task(name=name, base=CachedTask, shared=False, **options)(double)


doubling = _task("double", cache_key="user:{x}")
at = {site: _task(site, cache_sites=(site,)) for site in ("consumer", "pool")}
stale = _task("stale", cache_ttl=0.05, cache_stale_while_revalidate=60)


@app.task(name="tenant", base=CachedTask, shared=False, bind=True, cache_vary=("tenant",))
def tenant(self: Any, step: int) -> str:
    return f"{(self.request.headers or {}).get('tenant')} {step}"


app.finalize()
