"""What events mean for the metrics, and what Prometheus is told."""

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tta_taskcache.core import events as e
from tta_taskcache.observability.metrics.metric_families import FAMILIES, MetricKind
from tta_taskcache.observability.metrics.metrics_server import MetricsServer
from tta_taskcache.observability.metrics.prometheus_metrics import Metrics, NativeSink, metrics_of

ROOT = Path(__file__).parents[3]

#: One of each kind at least, and each family is concerned.
EVENTS: list[e.Event] = [
    e.Lookup("t", "k", "pool", "l1", "", 1.5, saved_cost=2.0, seconds=0.001),
    e.Lookup("t", "k", "pool", "l2", "", 1.0, freshness="stale", seconds=9.0),
    e.Lookup("t", "k", "pool", None, "absent", seconds=0.05),
    e.Lookup("t", None, "pool", None, "bypass"),
    e.Coalesced("t", "k", "consumer", 0.3),
    e.Compared("t", "k", "producer", 0.93, "hit", "n"),
    e.Embedded("t", 1, 0.01, 0.5),
    e.Lookup("t", "k", "consumer", "l2", "", 4.0, saved_cost=3.0, coalesced=True),
    e.Ran("t", "k", 2.0, 0.5),
    e.Filled("t", "k", 10),
    e.Filled("t", "k", 0, "too-large"),
    e.Shadowed("t", "k", False),
    e.Shadowed("t", "k", True, 1.0, 7.0),
    e.Verified("t", "k", "different"),
    e.Evicted(3),
    e.Invalidated(("m",), 1),
    e.InvalidationsRead(2, 0.1),
    e.Waiting(5),
    e.Waiting(4),
    e.CircuitChanged(open=True),
    e.Fault("t", "look", ValueError()),
    e.Refused("fill", "full"),
]

TOLD = """
x_hits_total{layer="l1",site="pool",task="t"} 1.0
x_hits_total{layer="l2",site="pool",task="t"} 1.0
x_hits_total{layer="l2",site="consumer",task="t"} 1.0
x_misses_total{reason="absent",site="pool",task="t"} 1.0
x_misses_total{reason="bypass",site="pool",task="t"} 1.0
x_latency_seconds_count{layer="l1",site="pool",task="t"} 1.0
x_latency_seconds_sum{layer="l1",site="pool",task="t"} 0.001
x_latency_seconds_bucket{layer="l1",le="0.0005",site="pool",task="t"} 0.0
x_latency_seconds_bucket{layer="l1",le="0.001",site="pool",task="t"} 1.0
x_latency_seconds_bucket{layer="l1",le="+Inf",site="pool",task="t"} 1.0
x_latency_seconds_bucket{layer="l2",le="1.0",site="pool",task="t"} 0.0
x_latency_seconds_bucket{layer="l2",le="+Inf",site="pool",task="t"} 1.0
x_latency_seconds_count{layer="none",site="pool",task="t"} 1.0
x_stale_served_total{task="t",window="stale"} 1.0
x_coalesced_total{site="consumer",task="t"} 1.0
x_lease_wait_seconds_sum{site="consumer",task="t"} 0.3
x_followers 4.0
x_fills_total{task="t"} 1.0
x_fills_refused_total{reason="too-large",task="t"} 1.0
x_evictions_total 3.0
x_l1_bytes 70.0
x_l1_entries 2.0
x_invalidations_total 1.0
x_invalidation_lag_seconds_count 2.0
x_invalidation_lag_seconds_sum 0.2
x_circuit_open 1.0
x_circuit_opened_total 1.0
x_errors_total{operation="look"} 1.0
x_errors_total{operation="fill"} 1.0
x_run_seconds_count{task="t"} 1.0
x_run_cost_total{task="t"} 0.5
x_saved_seconds_total{task="t"} 2.5
x_saved_cost_total{task="t"} 2.0
x_coalesced_saved_seconds_total{task="t"} 4.0
x_coalesced_saved_cost_total{task="t"} 3.0
x_shadow_hits_total{task="t"} 1.0
x_shadow_misses_total{task="t"} 1.0
x_shadow_saved_seconds_total{task="t"} 1.0
x_shadow_saved_cost_total{task="t"} 7.0
x_verifications_total{outcome="different",task="t"} 1.0
x_semantic_similarity_count{outcome="hit",task="t"} 1.0
x_embed_seconds_sum{task="t"} 0.01
x_embed_cost_total{task="t"} 0.5
"""


class Memory:
    size = 70

    def __len__(self) -> int:
        return 2


def exposition(metrics: Metrics) -> str:
    registry = prometheus_client.CollectorRegistry()
    registry.register(metrics)
    return prometheus_client.generate_latest(registry).decode()


@pytest.fixture
def full() -> Metrics:
    metrics, memory = Metrics("x"), Memory()
    metrics.watch(memory)
    metrics._kept_by_the_test = memory  # type: ignore[attr-defined]
    for event in EVENTS:
        metrics(event)
    return metrics


def test_f2_what_prometheus_is_told(full: Metrics) -> None:
    assert set(TOLD.split("\n")) - {""} <= set(exposition(full).split("\n"))


def test_every_metric_is_told_of(full: Metrics) -> None:
    told = {family.name for family in text_string_to_metric_families(exposition(full))}
    assert told == {f"x_{family.name}" for family in FAMILIES}
    assert all(f"x_{family.name}" in TOLD for family in FAMILIES)


def test_what_has_no_labels_is_there_from_the_start() -> None:
    told = exposition(Metrics("x"))
    for family in FAMILIES:
        if not family.labels:
            name = {
                MetricKind.COUNTER: "_total",
                MetricKind.GAUGE: "",
                MetricKind.HISTOGRAM: "_count",
            }[family.kind]
            assert f"\nx_{family.name}{name} 0.0\n" in told


def test_prometheus_clients_values_say_the_same(
    full: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its multiprocess mode these are used: names, labels, buckets and numbers are equal."""
    prometheus = "tta_taskcache.observability.metrics.prometheus_metrics"
    monkeypatch.setattr(f"{prometheus}.is_multiprocess", lambda: True)
    native, registry = Metrics("x"), prometheus_client.CollectorRegistry()
    native.watch(full._kept_by_the_test)  # type: ignore[attr-defined]
    assert isinstance(native._sink, NativeSink)
    for metric in native._sink._metrics.values():
        registry.register(metric)
    for event in EVENTS:
        native(event)
    told = prometheus_client.generate_latest(registry).decode()
    monkeypatch.undo()
    assert samples(told) == samples(exposition(full))


def samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_promtool_has_nothing_to_say(full: Metrics) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on PATH (Debian: prometheus)")
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(
        command, input=exposition(full), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_documentation_has_each_metric_with_its_labels_and_kind() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| ([a-z]+) \| ([^|]*)\|", text, re.MULTILINE)
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    }
    suffix = {MetricKind.COUNTER: "_total", MetricKind.GAUGE: "", MetricKind.HISTOGRAM: ""}
    assert documented == {
        family.name + suffix[family.kind]: (family.kind.value, family.labels) for family in FAMILIES
    }


def in_child(work: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("shared", [False, True])
def test_f2_a_forked_process_counts_where_its_parent_tells(*, shared: bool) -> None:
    metrics = metrics_of(f"forked_{shared}".lower())
    metrics(e.Evicted(1))
    if shared:
        metrics.share()
        metrics.share()
    for _ in range(2):
        in_child(lambda: metrics(e.Evicted(10)))
    metrics(e.Evicted(1))
    told = samples(exposition(metrics))[f"{metrics.namespace}_evictions_total", "[]"]
    assert told == (22 if shared else 2)


def test_f1_without_room_a_process_goes_on_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    metrics = metrics_of("no_room")
    metrics.share()

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        metrics(e.Evicted(1))
        metrics(e.Evicted(2))
        assert caplog.text.count("what this process does is missing in the metrics") == 1
        assert samples(exposition(metrics))["no_room_evictions_total", "[]"] == 2

    in_child(work)


def test_names_that_are_taken_are_told(caplog: pytest.LogCaptureFixture) -> None:
    prometheus_client.Counter("taken_evictions", "Somebody else's.")
    metrics_of("taken")(e.Evicted(1))
    assert "metrics aren't in the default registry" in caplog.text
    assert metrics_of("taken") is metrics_of("taken")


def test_stopping_frees_the_port(free_port: int) -> None:
    for _ in range(2):
        server = MetricsServer(Metrics("x"), free_port)
        assert server._server is not None
        server.stop()
