"""The trees in docs/traces.md, which are those of a run."""

import json
import re
import subprocess
import sys
from typing import Any

from tests.support.workers import ROOT, clean_environment

PAGE = ROOT / "docs" / "traces.md"

#: The SDKs whose trees are on the page.
DOCUMENTED = ("opentelemetry", "sentry")


def played(name: str, pool: str) -> dict[str, Any]:
    """What comes of all scenes with an SDK: their trees, and figures."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.traces", name, pool],
        env=clean_environment({"PATH": ""}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _section(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)


def documented(name: str) -> dict[str, list[str]]:
    """The trees on the page, by scene."""
    section = _section(name).search(PAGE.read_text())
    assert section is not None
    blocks = re.findall(r"\*\*(.*?)\*\*\n\n```text\n(.*?)\n```", section[0], re.DOTALL)
    return {title: text.split("\n") for title, text in blocks}


def certain(trees: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without looks that only a slow machine makes: a worker looks again for what was missed."""

    def is_certain(title: str, line: str) -> bool:
        expected = "site=producer" in line or title.startswith("A miss at") or "in the" in title
        return "cache.hit=False" not in line or expected

    return {
        title: [line for line in lines if is_certain(title, line)] for title, lines in trees.items()
    }


def write(name: str) -> None:
    """Put the trees of a run into the page."""
    trees = certain(played(name, "prefork")["trees"])
    text = "\n".join(
        f"**{title}**\n\n```text\n" + "\n".join(lines) + "\n```\n" for title, lines in trees.items()
    )
    page = PAGE.read_text()
    PAGE.write_text(_section(name).sub(lambda m: f"{m[1]}\n{text}\n{m[2]}", page))
