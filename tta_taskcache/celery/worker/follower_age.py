"""The age of followers: a message waits for less than its broker's bound (promise C8).

RabbitMQ closes a channel on which a message stays unacknowledged for its ``consumer_timeout``,
which no client can ask for; Redis and SQS deliver it again after their ``visibility_timeout``.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.request import Request
from celery.worker.state import task_ready

logger = logging.getLogger("tta_taskcache")

#: Seconds for an unknown bound: half of RabbitMQ's least ``consumer_timeout``.
UNKNOWN = 30.0

#: Seconds for brokers without a bound.
UNBOUNDED = 900.0

#: Share of a known bound.
SHARE = 0.5

#: Default bounds of kombu's transports (s).
_VISIBILITY = {"redis": 3600.0, "sqs": 1800.0}

#: Transports without a bound on unacknowledged messages.
_PATIENT = frozenset(("memory", "filesystem", "sql"))


def longest_wait(consumer: Any) -> float:
    """Return the seconds that a message may wait for an equal call, with this broker."""
    driver = _driver(consumer)
    options = consumer.app.conf.broker_transport_options or {}
    bound = options.get("visibility_timeout", _VISIBILITY.get(driver))
    if isinstance(bound, (int, float)) and driver in _VISIBILITY:
        return min(bound * SHARE, UNBOUNDED)
    return UNBOUNDED if driver in _PATIENT else UNKNOWN


def can_give_back(consumer: Any, request: Request) -> bool:
    """Whether a message may go back to the broker, so that its bound begins anew.

    A quorum queue counts how often it delivers a message, and drops it in the end: such a one is
    given back once.
    """
    return _driver(consumer) == "amqp" and not request.request_dict.get("x-delivery-count")


def _driver(consumer: Any) -> str:
    connection = consumer.connection
    return connection.transport.driver_type if connection is not None else ""


def give_back(request: Request) -> None:
    """Send a message back to the broker, to be delivered again here or elsewhere."""
    request.on_reject(logger, request.connection_errors, True)
    request.acknowledged = True
    task_ready(request)
