"""The smallest Celery application: what a worker runs in the tests of the test support."""

import os
import time

from celery import Celery

app = Celery("tests.support.app", set_as_current=False)


@app.task
def pid() -> int:
    return os.getpid()


@app.task
def sleep(seconds: float) -> None:
    time.sleep(seconds)
