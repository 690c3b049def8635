"""Apps of one process, without a server."""

from typing import Any

from celery import Celery

from tta_taskcache import TaskCache


def local_app(**conf: Any) -> tuple[Celery, TaskCache]:
    app = Celery("review", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(conf)
    return app, TaskCache(app)
