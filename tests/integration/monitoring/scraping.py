"""What an endpoint tells: the numbers behind names and labels, histograms by their counts."""

from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, tuple[tuple[str, str], ...]]


def fetch(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
        text: str = reply.read().decode()
    return text


def parse(text: str, prefix: str = "taskcache_") -> dict[Series, float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(prefix) and not sample.name.endswith("_bucket")
    }


def scrape(port: int) -> dict[Series, float]:
    return parse(fetch(port))


def series(name: str, **labels: str) -> Series:
    return f"taskcache_{name}", tuple(sorted(labels.items()))
