"""A real Prometheus, scraping what a test serves; minutes of its rules are seconds."""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.support.processes import Process
from tests.support.servers import free_port
from tests.support.waiting import wait_until

BINARY = shutil.which("prometheus")

#: What a test says when it is skipped.
MISSING = "no prometheus on PATH (Debian: prometheus)"


def hurried(text: str) -> str:
    """Durations of rules and queries, a minute as a quarter of a second and at least 5 s."""

    def shorter(found: re.Match[str]) -> str:
        minutes = int(found[1]) * {"m": 1, "h": 60}[found[2]]
        return f"{max(5, minutes // 4)}s"

    text = re.sub(r"(?<=\[)(\d+)([mh])(?=\])", shorter, text)
    text = re.sub(r"(?<=offset )(\d+)([mh])\b", shorter, text)
    return re.sub(r"for: \d+[mh]", "for: 0s", text)


class Prometheus:
    """`with Prometheus([port, …], rules) as prometheus: prometheus.query(…)`."""

    def __init__(self, targets: Sequence[int], rules: Path) -> None:
        self._port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="tests-prometheus-")
        folder = Path(self._folder.name)
        (folder / "rules.yml").write_text(hurried(rules.read_text()))
        config = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {
                    "job_name": "taskcache",
                    "scrape_timeout": "500ms",
                    "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in targets]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        assert BINARY is not None
        self._process = Process(
            [
                BINARY,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ]
        )
        try:
            wait_until(self._is_ready, timeout=30, what=f"Prometheus:\n{self._process.log}")
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.terminate(10)
        self._folder.cleanup()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: a list of series, each with its value."""
        found = self._get("query", query=expression)
        result: list[dict[str, Any]] = found["result"]
        return result

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """The alerts that fire, by name: the labels of each."""
        alerts: dict[str, list[dict[str, str]]] = {}
        for alert in self._get("alerts")["alerts"]:
            if alert["state"] == "firing":
                alerts.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return alerts

    def _get(self, what: str, **arguments: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{what}?{urlencode(arguments)}"
        with urlopen(url, timeout=30) as reply:
            return json.load(reply)["data"]

    def _is_ready(self) -> bool:
        with suppress(URLError, ConnectionError):
            url = f"http://127.0.0.1:{self._port}/-/ready"
            with urlopen(url, timeout=5) as reply:
                return bool(reply.status == 200)
        return False
