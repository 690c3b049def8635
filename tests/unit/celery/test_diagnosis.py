"""What the doctor makes of facts: each thing that can be wrong is found, with a remedy."""

from dataclasses import replace
from typing import Any

import pytest

from tta_taskcache.celery.config.settings import Settings
from tta_taskcache.celery.doctor.diagnosis import diagnose, first_to_do
from tta_taskcache.celery.doctor.facts import Facts, Finding, Level
from tta_taskcache.celery.doctor.package_facts import PackageFacts
from tta_taskcache.core.options.policy import Policy
from tta_taskcache.stores.redis.health import Health, LogHealth, ServerHealth

SERVER = ServerHealth(
    name="",
    product="Redis",
    version="7.2.4",
    redis_version=(7, 2),
    run_id="cache",
    role="master",
    replicas=0,
    max_memory=10**9,
    used_memory=10**6,
    policy="volatile-lru",
    evicted=0,
    aof="",
    snapshots="",
)
LOG = LogHealth(
    incarnation="i",
    sequence=3,
    newest=3,
    marks=2,
    size=1_536,
    bans=0,
    expires=False,
    is_bound=True,
)
HEALTH = Health(
    servers=(SERVER,), refused="", latency=0.001, slowest=0.002, clock_offset=0.0, log=LOG
)
LIBRARY = {"version": "1.0", "entry_format": 4}
WORKER: dict[str, Any] = {
    **LIBRARY,
    "store": "redis r:6379/2",
    "settings": {"namespace": "taskcache"},
    "circuit": "closed",
    "disabled": False,
}
FACTS = Facts(
    settings=Settings(),
    store="redis r:6379/2",
    health=HEALTH,
    broker_run_ids=frozenset(("broker",)),
    broker_fault="",
    policies={"t": Policy(ttl=1.0)},
    codecs=frozenset(("json", "pickle")),
    result_serializer="json",
    versions=LIBRARY,
    workers={"w": WORKER},
    packages=PackageFacts(
        celery="5.7.0",
        kombu="5.7.0",
        redis="8.1.0",
        pubsub_lock_is_reentrant=True,
        redis_broker=True,
        redis_results=True,
    ),
)
SIGNED = Settings(secret="s")  # noqa: S106 - of nobody
SHARED = frozenset(("cache",))
PICKLE = {"t": Policy(ttl=1.0, serializer="pickle")}


def on(**server: Any) -> Facts:
    return replace(FACTS, health=replace(HEALTH, servers=(replace(SERVER, **server),)))


def log(**fields: Any) -> Facts:
    return replace(FACTS, health=replace(HEALTH, log=replace(LOG, **fields)))


def health(**fields: Any) -> Facts:
    return replace(FACTS, health=replace(HEALTH, **fields))


def worker(**fields: Any) -> Facts:
    return replace(FACTS, workers={"w": WORKER | fields})


def settings(**fields: Any) -> Facts:
    return replace(FACTS, settings=Settings(**fields))


def test_a_well_cache_is_well() -> None:
    findings = diagnose(FACTS)
    assert {finding.level for finding in findings} == {Level.OK}
    areas = ["Server", "Eviction", "Persistence", "Latency", "Clock", "Log"]
    areas += ["Packages", "Broker", "Serializer"]
    assert [finding.about for finding in findings] == [*areas, "Worker w"]


WRONG, ADVICE = Level.WRONG, Level.ADVICE


@pytest.mark.parametrize(
    ("facts", "about", "level", "told"),
    [
        (settings(enabled=False), "Settings", WRONG, "off"),
        (on(redis_version=(6, 0)), "Server", WRONG, "7.2.4"),
        (health(servers=(), refused="NOPERM"), "Server", ADVICE, "NOPERM"),
        (on(max_memory=0), "Eviction", ADVICE, "no bound"),
        (on(policy="noeviction"), "Eviction", WRONG, "aren't stored"),
        (on(policy="allkeys-lru"), "Eviction", ADVICE, "log"),
        (
            replace(on(policy="allkeys-lfu"), broker_run_ids=SHARED),
            "Eviction",
            WRONG,
            "messages",
        ),
        (on(snapshots="3600 1"), "Persistence", ADVICE, "snapshots"),
        (on(snapshots=None), "Persistence", ADVICE, "doesn't tell"),
        (on(aof="everysec"), "Persistence", ADVICE, "everysec: after a restart every entry misses"),
        (on(role="slave"), "Replication", WRONG, "replica"),
        (on(replicas=2), "Replication", ADVICE, "2 replicas, and nobody waits for them"),
        (settings(wait_replicas=1), "Replication", WRONG, "they fail"),
        (health(latency=0.2), "Latency", WRONG, "200.00ms"),
        (health(latency=0.05), "Latency", ADVICE, "50.00ms"),
        (health(slowest=0.2), "Latency", ADVICE, "200.00ms"),
        (health(clock_offset=-60.0), "Clock", ADVICE, "60.0s behind"),
        (log(expires=True), "Log", WRONG, "expiry"),
        (log(newest=1), "Log", WRONG, "ends at 1"),
        (log(is_bound=False), "Log", ADVICE, "know its server"),
        (log(bans=250), "Log", ADVICE, "250 patterns"),
        (replace(FACTS, broker_run_ids=SHARED), "Broker", ADVICE, "share"),
        (replace(FACTS, broker_fault="refused", workers={}), "Broker", WRONG, "refused"),
        (replace(FACTS, policies=PICKLE), "Serializer", WRONG, "pickle, unsigned"),
        (
            replace(FACTS, policies={"t": Policy(ttl=1.0, compression="zstd")}),
            "Serializer",
            WRONG,
            "zstd isn't there",
        ),
        (replace(FACTS, result_serializer="pickle"), "Serializer", ADVICE, "results are pickle"),
        (replace(FACTS, workers={}), "Workers", ADVICE, "none"),
        (replace(FACTS, workers={"w": None}), "Worker w", WRONG, "doesn't know"),
        (worker(version="0.9"), "Worker w", WRONG, "version 0.9 (here 1.0)"),
        (worker(store="redis other"), "Worker w", WRONG, "redis other"),
        (worker(settings={"namespace": "x"}), "Worker w", WRONG, "namespace x"),
        (worker(circuit="open"), "Worker w", WRONG, "uncached"),
        (worker(disabled=True), "Worker w", ADVICE, "alone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_is_found(facts: Facts, about: str, level: Level, told: str) -> None:
    found = {each.about: each for each in diagnose(facts) if each.level is not Level.OK}
    finding = found.pop(about)
    assert finding.level is level
    assert found.keys() <= {"Broker"}  # that it shares a server is told by itself, too
    assert told in finding.message
    assert finding.remedy


@pytest.mark.parametrize(
    "facts",
    [
        on(aof="always", snapshots="3600 1"),
        on(product="Valkey", version="9.1", redis_version=(7, 2)),
        replace(on(replicas=1), settings=Settings(wait_replicas=1)),
        replace(FACTS, policies=PICKLE, settings=SIGNED),
        log(incarnation="", sequence=0, newest=0),
    ],
)
def test_what_is_well_has_no_remedy(facts: Facts) -> None:
    assert {(f.level, f.remedy) for f in diagnose(facts)} == {(Level.OK, "")}


def test_a_broken_server_of_a_cluster_is_named() -> None:
    servers = (replace(SERVER, name="a:1"), replace(SERVER, name="b:1", policy="noeviction"))
    found = [each for each in diagnose(health(servers=servers)) if each.level is WRONG]
    assert [(each.about, type(each)) for each in found] == [("Eviction (b:1)", Finding)]


def test_what_is_wrong_comes_first_then_advice_in_the_order_of_the_findings() -> None:
    advice = Finding("A", Level.ADVICE, "a risk", "see to it")
    wrong = [Finding(name, Level.WRONG, "wrong", "mend it") for name in ("B", "C")]
    assert first_to_do([Finding("O", Level.OK, "well")]) is None
    assert first_to_do([advice, Finding("O", Level.OK, "well")]) is advice
    assert first_to_do([advice, *wrong]) is wrong[0]


def test_an_app_without_cached_tasks_is_told_so() -> None:
    found = {each.about: each for each in diagnose(replace(FACTS, policies={}))}
    assert found["Tasks"].level is Level.ADVICE
    assert "Tasks" not in {each.about for each in diagnose(FACTS)}
