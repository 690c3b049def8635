"""How long a message may wait for an equal call in flight: well below what the broker bears (C8).

RabbitMQ closes a channel on which a message stays unacknowledged for its ``consumer_timeout``,
which no client can ask for; Redis and SQS deliver it again after their ``visibility_timeout``.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.request import Request
from celery.worker.state import task_ready

logger = logging.getLogger("tta_taskcache")

#: Seconds where the bound isn't known: half of the least ``consumer_timeout`` that RabbitMQ takes.
UNKNOWN = 30.0

#: Seconds where there is no bound.
UNBOUNDED = 900.0

#: This share of a known bound.
SHARE = 0.5

#: What kombu's transports use when nothing is configured (s).
_VISIBILITY = {"redis": 3600.0, "sqs": 1800.0}

#: Transports that keep no watch on what isn't acknowledged.
_PATIENT = frozenset(("memory", "filesystem", "sql"))


def longest_wait(consumer: Any) -> float:
    """Seconds that a message may stay unacknowledged for an equal call, with this broker."""
    driver = _driver(consumer)
    options = consumer.app.conf.broker_transport_options or {}
    bound = options.get("visibility_timeout", _VISIBILITY.get(driver))
    if isinstance(bound, (int, float)) and driver in _VISIBILITY:
        return min(bound * SHARE, UNBOUNDED)
    return UNBOUNDED if driver in _PATIENT else UNKNOWN


def can_give_back(consumer: Any, request: Request) -> bool:
    """Whether the broker may have a message again, so that its bound begins anew.

    A quorum queue counts how often it delivers a message, and drops it in the end: such a one is
    given back once.
    """
    return _driver(consumer) == "amqp" and not request.request_dict.get("x-delivery-count")


def _driver(consumer: Any) -> str:
    connection = consumer.connection
    return connection.transport.driver_type if connection is not None else ""


def give_back(request: Request) -> None:
    """Let the broker deliver a message again, here or elsewhere."""
    request.on_reject(logger, request.connection_errors, True)
    request.acknowledged = True
    task_ready(request)
