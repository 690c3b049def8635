"""A task that tells with what timeouts the result backend of its process connects."""

import os

from celery import Celery

from tta_taskcache import TaskCache

app = Celery("timeouts", set_as_current=False)
app.conf.update(redis_socket_timeout=30.0, redis_socket_connect_timeout=20.0)
TaskCache(app, url=os.environ["TASKCACHE_URL"])


@app.task(name="timeouts", shared=False)
def timeouts() -> list[float]:
    parameters = app.backend.connparams
    return [parameters["socket_timeout"], parameters["socket_connect_timeout"]]
