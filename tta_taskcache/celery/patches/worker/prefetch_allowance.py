"""What a worker holds beyond its prefetch count: messages that take no pool slot (promise C2)."""

from __future__ import annotations

from typing import Any

from celery.worker import state
from celery.worker.request import Request
from kombu.common import PREFETCH_COUNT_MAX

#: In how many steps the broker is told up to twice the prefetch count: RabbitMQ replies to each.
STEPS = 4


class PrefetchAllowance:
    """Lets the broker deliver one more message for each that waits here.

    Celery's own count stays as it is: it is set anew after a lost connection, cut off at
    ``worker_eta_task_limit`` and never below one, so what is added to it can't be taken off again.
    The broker is told the sum.

    Args:
        consumer: The worker's consumer.
        most: How many may be held so.
        in_steps: Whether the broker is told in steps, and not with each message.
    """

    def __init__(self, consumer: Any, most: int, *, in_steps: bool = False) -> None:
        conf = consumer.app.conf
        self._consumer = consumer
        self._most = most
        self._in_steps = in_steps
        # The limit is what its user wants in memory at most: there, no more is fetched.
        self._raises = not conf.get("worker_eta_task_limit")
        # Celery fetches only while less than the pool's slots are reserved: these take none.
        self._unreserves = bool(conf.get("worker_disable_prefetch"))
        self._held = 0
        self._qos: Any = None

    def hold(self, request: Request) -> bool:
        """Let one more message come for this request; False when there are enough."""
        if self._held >= self._most:
            return False
        if self._unreserves:
            state.reserved_requests.discard(request)
        self._change(1)
        return True

    def release(self, request: Request) -> None:
        """Count a request as any other: it is on its way."""
        if self._unreserves:
            state.task_reserved(request)
        self._change(-1)

    def forget(self) -> None:
        """The connection is gone, and its count with it."""
        self._held = 0

    @property
    def unreserved(self) -> int:
        """How many of them Celery doesn't count as reserved."""
        return self._held if self._unreserves else 0

    def _change(self, by: int) -> None:
        qos = self._consumer.qos
        with qos._mutex:
            if self._raises and qos is not self._qos:  # each connection has its own
                self._qos, qos.callback = qos, self._adding(qos.callback)
            before = self._added(qos.value)
            self._held += by
            if self._raises and self._added(qos.value) != before:
                qos.prev = None  # the worker's loop tells the broker with its next turn

    def _added(self, prefetch_count: int) -> int:
        """What is added to Celery's count."""
        step = max(1, prefetch_count // STEPS) if self._in_steps else 1
        return self._held // step * step

    def _adding(self, tell_broker: Any) -> Any:
        def tell(prefetch_count: int) -> None:
            # 0 is no limit.
            total = prefetch_count and prefetch_count + self._added(prefetch_count)
            tell_broker(prefetch_count=min(total, PREFETCH_COUNT_MAX))

        return tell
