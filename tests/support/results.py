"""Celery's results, which may outlive the test that asked for them."""

import gc

from celery import Celery


def take_leave(app: Celery) -> None:
    """Let results take leave of their server while it is there.

    Otherwise a garbage collection in another test tries to reach it, for twenty seconds. A chord's
    results wait to be told of, until their process waits for any result.
    """
    for waiting in getattr(app.backend, "_pending_results", ()):
        waiting.clear()
    gc.collect()
    # What is collected later, with a test's traceback, has nothing to unsubscribe from: up to
    # Celery 5.6 it would try to for twenty seconds, and then say so.
    consumer = getattr(app.backend, "result_consumer", None)
    if consumer is not None:
        consumer._pubsub = None
