"""Hooks of the worker's consumer: the handlers of its strategies, and its token buckets."""

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
    """Let requests pass ``handle`` first; return the function that sends one to the pool.

    The consumer's strategies keep references, so this comes before they are made.
    """
    to_pool: Handle = consumer.on_task_request
    consumer.on_task_request = handle
    return to_pool


def intercept_rate_limits(consumer: Any, limit: Limit, limit_post_eta: Limit) -> Limit:
    """Replace the handlers between strategies and token buckets.

    Args:
        consumer: The consumer.
        limit: Handles a request of a rate-limited task.
        limit_post_eta: Handles such a request whose ETA has come.

    Returns:
        The consumer's own ``limit``.
    """
    own_limit: Limit = consumer._limit_task
    consumer._limit_task = limit
    consumer._limit_post_eta = limit_post_eta
    return own_limit


def intercept_tokens(consumer: Any, leave: Handle) -> Handle:
    """Replace the handler between token buckets and the pool.

    Args:
        consumer: The consumer.
        leave: Handles a request that has got a token.

    Returns:
        The consumer's own ``leave``.
    """
    own_leave: Handle = consumer._limit_move_to_pool
    consumer._limit_move_to_pool = leave
    return own_leave


def give_back_token(bucket: TokenBucket) -> None:
    """Put a token back into its bucket."""
    bucket._tokens = min(bucket.capacity, bucket._tokens + 1)


def wrap_callbacks(request: Request, wrappers: dict[str, Callable[..., Any]]) -> None:
    """Wrap callbacks of one request, by name: Celery makes a class of ``Request`` for each task."""
    for name, wrap in wrappers.items():
        setattr(request, name, wrap(getattr(request, name)))


def unwrap_callbacks(request: Request, names: tuple[str, ...]) -> None:
    """Restore the callbacks of a request's class."""
    for name in names:
        request.__dict__.pop(name, None)
