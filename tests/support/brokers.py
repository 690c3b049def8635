"""Celery's settings for each broker that tests use besides Redis."""

from pathlib import Path
from typing import Any

from tests.support.rabbitmq import Rabbit

#: Often enough that no test waits for a poll.
POLLING = 0.05

QUORUM = {
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",  # its delayed delivery wants that
    "worker_detect_quorum_queues": True,
    "broker_transport_options": {"confirm_publish": True},
    "broker_native_delayed_delivery_queue_type": "classic",  # 28 of them
}


def with_rabbit(rabbit: Rabbit, *, quorum: bool = False) -> dict[str, Any]:
    """RabbitMQ, with classic queues or quorum queues."""
    return {"broker_url": rabbit.url, **(QUORUM if quorum else {})}


def with_folder(folder: Path) -> dict[str, Any]:
    """A broker of files; its messages are in `folder/messages`."""
    control, messages = folder / "control", folder / "messages"
    messages.mkdir(exist_ok=True)
    return {
        "broker_url": "folder://",
        # Celery has no event loop for it: by default it would wait for the pool in its main thread.
        "worker_pool_putlocks": False,
        "broker_transport_options": {
            "data_folder_in": str(messages),
            "data_folder_out": str(messages),
            "control_folder": str(control),
            "polling_interval": POLLING,
        },
    }
