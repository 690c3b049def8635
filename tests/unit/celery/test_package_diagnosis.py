"""Packages that don't go together are named, with what to install; others are left in peace."""

import pytest
from celery import Celery

from tta_taskcache.celery.doctor.facts import Level
from tta_taskcache.celery.doctor.package_diagnosis import judge_packages
from tta_taskcache.celery.doctor.package_facts import PackageFacts, read_packages

OK, ADVICE, WRONG = Level.OK, Level.ADVICE, Level.WRONG


@pytest.mark.parametrize(
    ("celery", "kombu", "client", "level", "told"),
    [
        ("5.7.0", "5.7.0", "8.1.0", OK, "redis-py 8.1.0"),
        ("5.4.0", "5.4.2", "4.6.0", OK, "redis-py 4.6.0"),
        ("5.5.3", "5.5.4", "5.2.1", OK, "redis-py 5.2.1"),
        ("5.6.3", "5.6.2", "6.4.0", OK, "redis-py 6.4.0"),
        ("5.4.0", "5.7.0", "5.2.1", WRONG, "kombu refuses this redis-py"),
        ("5.6.3", "5.6.2", "5.2.1", ADVICE, "fails when the connection"),
    ],
)
def test_packages_that_do_not_go_together_are_named(
    celery: str, kombu: str, client: str, level: Level, told: str
) -> None:
    packages = PackageFacts(
        celery=celery,
        kombu=kombu,
        redis=client,
        pubsub_lock_is_reentrant=True,
        redis_broker=True,
        redis_results=True,
    )
    (finding,) = judge_packages(packages)
    assert (finding.about, finding.level) == ("Packages", level)
    assert told in finding.message
    assert bool(finding.remedy) is (level is not OK)


@pytest.mark.parametrize(("results", "level"), [(True, ADVICE), (False, OK)])
def test_the_deadlock_of_pubsub_is_named_where_results_are_in_redis(
    *, results: bool, level: Level
) -> None:
    packages = PackageFacts(
        celery="5.6.3",
        kombu="5.6.2",
        redis="5.3.1",
        pubsub_lock_is_reentrant=False,
        redis_broker=True,
        redis_results=results,
    )
    (finding,) = judge_packages(packages)
    assert finding.level is level
    assert ("deadlock" in finding.message) is results


def test_other_brokers_take_any_redis_py() -> None:
    packages = PackageFacts(
        celery="5.4.0",
        kombu="5.7.0",
        redis="5.2.1",
        pubsub_lock_is_reentrant=True,
        redis_broker=False,
        redis_results=True,
    )
    assert [finding.level for finding in judge_packages(packages)] == [OK]


@pytest.mark.parametrize(
    ("broker", "backend", "used"),
    [
        ("redis://h", "redis://h", (True, True)),
        ("rediss://h", "rediss://h?ssl_cert_reqs=none", (True, True)),
        ("sentinel://h", "sentinel://h", (True, True)),
        ("memory://", "cache+memory://", (False, False)),
        ("amqp://h", "rpc://", (False, False)),
    ],
)
def test_what_the_app_uses_redis_for_is_seen(
    broker: str, backend: str, used: tuple[bool, bool]
) -> None:
    app = Celery("packages", broker=broker, backend=backend, set_as_current=False)
    facts = read_packages(app)
    assert (facts.redis_broker, facts.redis_results) == used
    assert facts.celery.startswith("5.")
