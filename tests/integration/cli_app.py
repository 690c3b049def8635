"""The application of the tests of the command line; Celery reads its own URLs from the environment.

Its tasks are lazy: they are made when the command finalizes the app.
"""

import os
from functools import partial
from typing import Any

from celery import Celery

from tta_taskcache import CachedTask

app = Celery("tests.integration.cli_app", set_as_current=False)
app.conf.update(
    taskcache_url=os.environ.get("TASKCACHE_URL") or None,
    taskcache_enabled="TASKCACHE_DISABLED" not in os.environ,
    taskcache_l1_max_entries=0,
    taskcache_timeout=5,  # a busy machine isn't a cache that is down
)


# shared=False: by default Celery gives every app of the process the tasks of all others.
cached = partial(app.task, base=CachedTask, shared=False)


@cached(cache_ttl=3600, cache_key="{user}:{city}", cache_tags=("user:{user}", "city:{city}"))
def forecast(user: str, city: str) -> dict[str, Any]:
    return {"user": user, "city": city, "outlook": "Schön ☀"}


@cached(cache_ttl=7200)
def total(numbers: list[int]) -> int:
    return sum(numbers)


@cached(cache_key="{word}")
def labelled(word: str) -> int:
    return len(word)


@app.task(shared=False)
def plain(number: int) -> int:
    return number
