"""Each example runs, on a server of its own, and does what it says."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.browser import BINARY, MISSING, Browser
from tests.support.servers import available
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]

Get = Callable[..., str]

pytestmark = pytest.mark.skipif(not available(), reason="there is no server")


def run(name: str, *args: str) -> str:
    """What an example prints."""
    command = [sys.executable, "-m", f"examples.{name}", *args]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_example_is_in_the_readme_and_here() -> None:
    """With the command that runs it."""
    readme, here = (ROOT / "README.md").read_text(), Path(__file__).read_text()
    names = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"embedded"}
    assert {name for name in names if f"`python -m examples.{name}`" not in readme} == set()
    assert {name for name in names if f'("{name}"' not in here} == set()


def test_quickstart() -> None:
    printed = run("quickstart")
    assert "1,000 equal calls at once: 1 run" in printed
    assert "after an invalidation: run 3" in printed


def test_cached_llm() -> None:
    printed = run("cached_llm")
    assert printed.count("'You asked: What is a cache? It depends.'") == 3
    assert "4 prompts, 2 sent; saved $0.00072" in printed


def test_cached_llm_by_semantic_keys() -> None:
    printed = run("cached_llm", "--semantic").splitlines()
    assert "(as 'How do I enable two-factor authentication?', 0.9" in printed[1]
    assert "'You asked: How do I disable two-factor authentication?" in printed[2]
    assert "(as" not in printed[3]  # by its exact key
    assert printed[4].startswith("4 prompts, 2 sent; saved $")


def test_embeddings() -> None:
    printed = run("embeddings")
    assert re.findall("the model gets (.*) texts", printed) == ["1,000", "100"]
    assert "1,900 hits, 1,100 misses, 2 runs" in printed


def test_rag() -> None:
    printed = run("rag")
    assert "csv: " in printed
    assert "runs: {'retrieve': 3, 'rerank': 3, 'answer': 3}" in printed
    assert "after an invalidation of the library: []" in printed


def test_tenants() -> None:
    printed = run("tenants")
    assert "settings of acme: plan Enterprise\nsettings of globex: plan Free" in printed
    assert "runs: ['acme', 'globex']\nsettings of acme: plan Free" in printed
    assert printed.endswith("runs: ['acme', 'globex', 'acme']\n")


def test_warming() -> None:
    assert "runs while serving: 0" in run("warming")


def test_dashboard() -> None:
    printed = run("dashboard")
    versions = re.findall(r"\d+", printed.splitlines()[0])
    assert len(versions) == 40
    assert versions == sorted(versions, key=int), "never back to an older one"
    assert len(set(versions)) > 1, "it was refreshed"


@pytest.fixture
def serve(free_port: int) -> Iterator[Callable[[str], Get]]:
    """Start an example that serves; what is returned asks it, once it answers."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> Get:
        command = [sys.executable, "-m", f"examples.{name}", "--port", str(free_port)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)

        def get(path: str, method: str = "GET") -> str:
            url = f"http://127.0.0.1:{free_port}{path}"
            request = urllib.request.Request(url, method=method)
            with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - likewise
                text: str = reply.read().decode()
                return text

        def answers() -> bool:
            assert process.poll() is None, process.stdout and process.stdout.read()
            try:
                get("/")
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False
            return True

        wait_until(answers, timeout=60, what="the example")
        return get

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_web(serve: Callable[[str], Get]) -> None:
    get = serve("web")
    assert "<h1>Reports</h1>" in get("/")
    first = json.loads(get("/reports/north"))
    assert first["total"] == 555_000
    assert json.loads(get("/reports/north")) == first, "stored"
    get("/reports/north", "DELETE")
    assert json.loads(get("/reports/north"))["computed_at"] > first["computed_at"]


@pytest.mark.skipif(BINARY is None, reason=MISSING)
def test_web_in_a_browser(serve: Callable[[str], Get], free_port: int, tmp_path: Path) -> None:
    get = serve("web")
    with Browser(tmp_path) as browser:
        browser.open(f"http://127.0.0.1:{free_port}/")
        wait_until(lambda: browser.evaluate("document.readyState") == "complete")
        assert browser.evaluate("document.title") == "Reports"

        def show() -> list[str]:
            """Press the first button; return the cells of the row that comes."""
            count = browser.evaluate("rows.rows.length")
            browser.evaluate("form.querySelector('button').click()")
            wait_until(lambda: browser.evaluate("rows.rows.length") == count + 1, timeout=60)
            cells: list[str] = browser.evaluate("[...rows.rows[0].cells].map(c => c.textContent)")
            return cells

        first = show()
        assert first[:2] == ["north", "555000"]
        assert int(first[2].removesuffix(" ms")) >= 1_000, "a report takes a second"
        stored = json.loads(get("/reports/north"))
        assert show()[:2] == ["north", "555000"]
        assert json.loads(get("/reports/north")) == stored
        browser.evaluate("form.region.value = 'a/b ü'")
        assert show()[0] == "a/b ü"
        browser.evaluate("form.region.value = 'north'; document.querySelector('#end').click()")
        wait_until(lambda: json.loads(get("/reports/north")) != stored, timeout=60)


def test_django_site(serve: Callable[[str], Get]) -> None:
    get = serve("django_site")
    first, second = (json.loads(get("/quotes/ACME")) for _ in range(2))
    assert (first["hit"], second["hit"]) == (False, True)
    assert second["computed_at"] == first["computed_at"]
    get("/quotes/ACME/changed")
    assert json.loads(get("/quotes/ACME"))["hit"] is False


def test_cost_tracking(tmp_path: Path) -> None:
    plot = tmp_path / "cost.svg"
    printed = run("cost_tracking", str(plot))
    assert "600 requests, 113 runs" in printed
    assert "saved $6.04 (78%)" in printed
    assert plot.read_text() == (ROOT / "docs" / "images" / "cost.svg").read_text()
    lines = ET.parse(plot).iter("{http://www.w3.org/2000/svg}polyline")  # noqa: S314 - our own
    assert [len(line.attrib["points"].split()) for line in lines] == [600, 600]
