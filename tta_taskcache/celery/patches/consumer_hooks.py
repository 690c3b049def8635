"""The worker's consumer: what its strategies hand requests to, and its token buckets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.request import Request
from kombu.utils.limits import TokenBucket

#: Takes a request on its way to the pool.
Handle = Callable[[Request], None]

#: Takes a request of a rate-limited task, with its bucket and the tokens that it needs.
Limit = Callable[[Request, TokenBucket, int], None]


def intercept_requests(consumer: Any, handle: Handle) -> Handle:
    """Let requests pass ``handle`` first; returns what sends one to the pool.

    Each of the consumer's strategies keeps a reference: to be called before they are made.
    """
    to_pool: Handle = consumer.on_task_request
    consumer.on_task_request = handle
    return to_pool


def intercept_rate_limits(consumer: Any, limit: Limit, limit_post_eta: Limit) -> Limit:
    """Stand between strategies and token buckets.

    Args:
        consumer: The consumer.
        limit: A request of a rate-limited task has come.
        limit_post_eta: The same, when the request's time has come.

    Returns:
        The consumer's own ``limit``.
    """
    own_limit: Limit = consumer._limit_task
    consumer._limit_task = limit
    consumer._limit_post_eta = limit_post_eta
    return own_limit


def intercept_tokens(consumer: Any, leave: Handle) -> Handle:
    """Stand between token buckets and the pool.

    Args:
        consumer: The consumer.
        leave: A token was taken for a request.

    Returns:
        The consumer's own ``leave``.
    """
    own_leave: Handle = consumer._limit_move_to_pool
    consumer._limit_move_to_pool = leave
    return own_leave


def give_back_token(bucket: TokenBucket) -> None:
    """Put a token back that wasn't needed."""
    bucket._tokens = min(bucket.capacity, bucket._tokens + 1)


def wrap_callbacks(request: Request, wrappers: dict[str, Callable[..., Any]]) -> None:
    """Wrap callbacks of one request, by name: Celery makes a class of ``Request`` for each task."""
    for name, wrap in wrappers.items():
        setattr(request, name, wrap(getattr(request, name)))


def unwrap_callbacks(request: Request, names: tuple[str, ...]) -> None:
    """Let a request have the callbacks of its class again."""
    for name in names:
        request.__dict__.pop(name, None)
