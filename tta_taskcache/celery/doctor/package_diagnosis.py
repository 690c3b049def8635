"""Which versions of Celery, kombu and redis-py don't go together, with or without a cache."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import Finding, Level
from .package_facts import PackageFacts

#: kombu from this version on refuses a redis-py older than that.
KOMBU_REFUSES, REDIS_WANTED = (5, 7), (6, 1)

#: Of Celery, from this version on and before that one, lost connections of results can't be opened
#: again with redis-py older than this.
RECONNECTS_FROM, RECONNECTS_BEFORE, RECONNECTS_WITH = (5, 6), (5, 7), (5, 3)


def judge_packages(packages: PackageFacts) -> Iterator[Finding]:
    """Name what makes Celery itself fail or hang."""
    celery, kombu, client = map(_numbers, (packages.celery, packages.kombu, packages.redis))
    here = f"Celery {packages.celery}, kombu {packages.kombu}, redis-py {packages.redis}"
    faults = []
    if packages.redis_broker and kombu >= KOMBU_REFUSES and client < REDIS_WANTED:
        remedy = "pin kombu==5.4.2 beside Celery 5.4, or install redis-py 6.1 or newer (Celery 5.6)"
        message = f"{here}: kombu refuses this redis-py, so nothing connects to a broker on Redis"
        faults.append(Finding("Packages", Level.WRONG, message, remedy))
    if packages.redis_results and not packages.pubsub_lock_is_reentrant:
        message = (
            f"{here}: redis-py 5.3 to 6.2 can deadlock a process that waits for results, when a "
            "result is garbage collected while its subscriptions change"
        )
        remedy = "install redis-py 5.2.1, or 6.4 or newer"
        faults.append(Finding("Packages", Level.ADVICE, message, remedy))
    if packages.redis_results and (
        RECONNECTS_FROM <= celery < RECONNECTS_BEFORE and client < RECONNECTS_WITH
    ):
        message = f"{here}: who waits for results fails when the connection to them is lost"
        remedy = "install redis-py 6.4 or newer"
        faults.append(Finding("Packages", Level.ADVICE, message, remedy))
    yield from faults or [Finding("Packages", Level.OK, here)]


def _numbers(text: str) -> tuple[int, ...]:
    """Major and minor number of a version."""
    return tuple(int(part) for part in text.split(".")[:2])
