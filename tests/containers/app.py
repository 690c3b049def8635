"""The application of the container tests: in the worker's container, and in the tests' process.

What a run returns is new each time: an equal value is a stored one.
"""

import os
from uuid import uuid4

from celery import Celery

from tta_taskcache import CachedTask


def make_app() -> Celery:
    app = Celery("taskcache_containers", set_as_current=False)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        taskcache_timeout=2.0,  # a container may be slow
        taskcache_l1_max_staleness=0,  # what is cleared here has ended in the worker, too
    )

    def fresh(tag: str) -> str:
        return f"{tag}-{uuid4().hex}"

    def after(before: str | list[str], tag: str) -> str:
        return f"{before}>{tag}-{uuid4().hex}"

    for function in (fresh, after):
        app.task(name=function.__name__, base=CachedTask, shared=False)(function)
    app.task(name="at_consumer", base=CachedTask, shared=False, cache_sites=("consumer",))(fresh)
    app.finalize()
    return app


if "CELERY_BROKER_URL" in os.environ:
    app = make_app()
