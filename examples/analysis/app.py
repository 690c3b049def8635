"""The Celery app: ``celery -A examples.analysis.app worker`` (or ``beat``, or ``flower``)."""

import os

from celery import Celery

from tta_taskcache import TaskCache

app = Celery(
    "analysis",
    broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost/0"),
    backend=os.environ.get("CELERY_RESULT_BACKEND", "redis://localhost/1"),
    include=["examples.analysis.tasks"],
)
app.conf.broker_connection_retry_on_startup = True
app.conf.result_expires = 3600
if "TASKCACHE_METRICS_PORT" in os.environ:
    app.conf.taskcache_metrics_host = os.environ.get("TASKCACHE_METRICS_HOST", "127.0.0.1")
    app.conf.taskcache_metrics_port = int(os.environ["TASKCACHE_METRICS_PORT"])
app.conf.beat_schedule = {
    # Analysed anew every minute, so that nobody who asks for it ever finds it expired.
    "keep-the-popular-one-warm": {
        "task": "examples.analysis.tasks.examine",
        "schedule": 60.0,
        "args": ("inspect.py",),
        "options": {"cache": "refresh", "expires": 60},
    },
    # Asked for every ten seconds, run once an hour: beat finds the answer itself and sends nothing.
    "watch-a-package": {
        "task": "examples.analysis.tasks.measure_package",
        "schedule": 10.0,
        "args": ("email",),
        "options": {"expires": 10},
    },
}

# These tasks are dear: an answer is worth waiting for longer than by default, on a busy machine.
cache = TaskCache(app, url=os.environ.get("TASKCACHE_URL", "redis://localhost/2"), timeout=1.0)
