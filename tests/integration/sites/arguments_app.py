"""Tasks that tell what their bodies get; one takes a type that is registered with kombu."""

import os
from typing import Any

from celery import Celery
from kombu.utils.json import register_type

from tta_taskcache import CachedTask, TaskCache


class Money:
    """What JSON carries by what its encoder says."""

    def __init__(self, cents: int) -> None:
        self.cents = cents


register_type(Money, "tests.Money", lambda money: (money.cents, "EUR"), lambda of: Money(of[0]))


def make_app(broker: str, backend: str, cache: str) -> Celery:
    app = Celery("arguments", broker=broker, backend=backend, set_as_current=False)
    app.conf.worker_prefetch_multiplier = 1
    TaskCache(app, url=cache, timeout=2.0)

    @app.task(base=CachedTask, name="kind", shared=False)
    def kind(x: Any = (1, 2)) -> str:
        return type(x).__name__

    @app.task(base=CachedTask, name="cents", shared=False)
    def cents(money: Money) -> int:
        return money.cents

    return app


if "ARGUMENTS_CACHE" in os.environ:
    app = make_app(
        *(
            os.environ[name]
            for name in ("CELERY_BROKER_URL", "ARGUMENTS_BACKEND", "ARGUMENTS_CACHE")
        )
    )
