"""Dashboard and alerts on a real Prometheus that scrapes a real worker."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import redis
import yaml

from tests.support.processes import Process
from tests.support.prometheus import BINARY, MISSING, Prometheus
from tests.support.servers import Server, ServerKind, free_port
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, Worker, clean_environment

pytestmark = pytest.mark.skipif(BINARY is None, reason=MISSING)

MODULE = "tests.integration.monitoring.metered"
DASHBOARDS = ROOT / "tta_taskcache" / "observability" / "dashboards"
RULES = DASHBOARDS / "alerts.yml"
DASHBOARD = DASHBOARDS / "taskcache.json"
PATIENCE = 60

#: What provokes an alert: traffic of all kinds does, or what a test does then.
BY_TRAFFIC = {
    "TaskcacheErrors",
    "TaskcacheHitRatioLow",
    "TaskcacheResultsNotStored",
    "TaskcacheServesOldForFailing",
    "TaskcacheResultsDiffer",
}
BY_TESTS = {
    "TaskcacheLookupsSlow",
    "TaskcacheManyFollowers",
    "TaskcacheUnavailable",
    "TaskcacheMetricsMissing",
}


@dataclass
class MonitoringHarness:
    """A worker and its Prometheus, with traffic."""

    broker: Server
    cache: Server
    env: dict[str, str]
    worker: Worker
    prometheus: Prometheus

    def wait_for(self, alert: str, happens: Callable[[], object] = lambda: None) -> Any:
        def fires() -> Any:
            happens()
            return self.prometheus.firing().get(alert)

        return wait_until(fires, timeout=PATIENCE, what=alert)

    def python(self, code: str) -> None:
        env = clean_environment(os.environ) | self.env
        subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=ROOT, check=True, timeout=PATIENCE
        )


@pytest.fixture(scope="module")
def harness(redis_kind: ServerKind) -> Iterator[MonitoringHarness]:
    port = free_port()
    with ExitStack() as stack:
        broker, cache = (stack.enter_context(Server(redis_kind)) for _ in range(2))
        env = broker.environment | {"TASKCACHE_URL": cache.url()}
        env["APP_CONF"] = json.dumps({"taskcache_metrics_port": port})
        worker = stack.enter_context(Worker(MODULE, env=env))
        prometheus = stack.enter_context(Prometheus([port], RULES))
        wait_until(lambda: prometheus.query("taskcache_circuit_open"), timeout=PATIENCE)
        # Nothing has happened yet, so nothing is wrong.
        wait_until(lambda: not prometheus.firing(), timeout=PATIENCE, what="no alert")
        traffic = Process(
            [sys.executable, "-m", MODULE, "traffic"],
            env=clean_environment(os.environ) | env,
            cwd=ROOT,
        )
        stack.callback(traffic.terminate, 5)
        yield MonitoringHarness(broker, cache, env, worker, prometheus)


def panels() -> list[Any]:
    found = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def variables() -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(DASHBOARD.read_text())["templating"]["list"]}


def queries() -> dict[str, str]:
    """The dashboard's queries as Grafana sends them, for all jobs and tasks."""
    found = {}
    for name, variable in variables().items():
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked, name
            found[f"variable {name}"] = f"count by ({asked[2]}) ({asked[1].replace('$job', '.+')})"
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "5s").replace("$__range", "30s")
            query = query.replace("$job", ".+").replace("$task", ".+")
            found[f"{panel['title']} {target['refId']}"] = query
    return found


def test_each_query_of_the_dashboard_returns_data(harness: MonitoringHarness) -> None:
    missing = queries()
    assert missing
    assert not [query for query in missing.values() if "$" in query]

    def all_answered() -> bool:
        for name, query in list(missing.items()):
            values = [float(series["value"][1]) for series in harness.prometheus.query(query)]
            if any(not math.isnan(value) for value in values):
                del missing[name]
        return not missing

    try:
        wait_until(all_answered, timeout=PATIENCE)
    except TimeoutError:
        pytest.fail(f"no data for {missing}")


@pytest.mark.parametrize("alert", sorted(BY_TRAFFIC))
def test_an_alert_fires(harness: MonitoringHarness, alert: str) -> None:
    harness.wait_for(alert)
    tasks = {found.get("task") for found in harness.prometheus.firing()[alert]}
    expected = {
        "TaskcacheErrors": {None},
        # Each call differs; others run as often for another reason.
        "TaskcacheHitRatioLow": tasks & {"large"},
        "TaskcacheResultsNotStored": {"large"},
        "TaskcacheServesOldForFailing": {"failing"},
        "TaskcacheResultsDiffer": {"impure"},
    }[alert]
    assert expected
    assert expected <= tasks
    assert alert == "TaskcacheHitRatioLow" or expected == tasks


def test_an_alert_fires_when_many_messages_wait(harness: MonitoringHarness) -> None:
    """They do for a leader that doesn't end."""
    module = "tests.integration.monitoring.metered"
    calls = f"import {module} as m; [m.leading.delay('many') for _ in range(510)]"
    harness.python(calls)
    harness.wait_for("TaskcacheManyFollowers")
    harness.cache.client().rpush("go:many", "go")


def test_an_alert_fires_when_lookups_are_slow(harness: MonitoringHarness) -> None:
    client = harness.cache.client(socket_timeout=10)
    harness.wait_for("TaskcacheLookupsSlow", lambda: client.client_pause(250))


def test_an_alert_fires_when_the_cache_is_gone(harness: MonitoringHarness) -> None:
    harness.cache.kill()
    with pytest.raises(redis.RedisError):
        harness.cache.client().ping()
    harness.wait_for("TaskcacheUnavailable")


def test_an_alert_fires_when_nobody_tells_metrics(harness: MonitoringHarness) -> None:
    """The last: the worker is gone."""
    harness.worker.stop()
    harness.wait_for("TaskcacheMetricsMissing")


def test_each_alert_has_a_test() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    assert {rule["alert"] for rule in group["rules"]} == BY_TRAFFIC | BY_TESTS
    assert all(rule["annotations"]["description"] for rule in group["rules"])
