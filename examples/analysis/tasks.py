"""Cached tasks: what they do is in ``measure``, what is cached and how is said here."""

import platform
from itertools import combinations
from typing import Any

from tta_taskcache import CachedTask

from . import measure
from .app import app

Measures = dict[str, Any]


class Analysis(CachedTask):
    """What all analyses have in common."""

    abstract = True
    cache_ttl = 3600
    cache_jitter = 0.1
    resultrepr_maxsize = 100  # of results in the log
    # Another Python has other sources in its library: its results are others.
    cache_version = f"1-{platform.python_version()}"


@app.task(base=Analysis, cache_key="{module}")
def examine(module: str) -> Measures:
    """Measure a module of the standard library."""
    return measure.measure(module)


# Answered in the pool only, for the demo: by default each of the three sites may.
@app.task(base=Analysis, cache_key="{left}~{right}", cache_sites=("pool",))
def compare(left: str, right: str) -> Measures:
    """Say how alike two modules are."""
    return measure.compare(left, right)


@app.task(base=Analysis, cache_key="{package}")
def measure_package(package: str) -> list[Measures]:
    """Measure all files of a package. First step of a report."""
    return [measure.measure(name) for name in measure.package_files(package)]


@app.task(base=Analysis)
def relate(measures: list[Measures], top: int = 4) -> list[Measures]:
    """Rank files by complexity and compare the first few with each other. Second step."""
    ranked = sorted(measures, key=lambda each: (-each["complexity"], each["name"]))[:top]
    pairs = [measure.compare(a["name"], b["name"]) for a, b in combinations(ranked, 2)]
    return [
        {
            **each,
            "likeness": max(
                (p["likeness"] for p in pairs if each["name"] in (p["left"], p["right"])),
                default=0.0,
            ),
        }
        for each in ranked
    ]


# What a team gets to read is its own business: teams never share an entry.
@app.task(base=Analysis, cache_key="{title}", cache_vary=("team",), cache_ttl=600)
def report(ranking: list[Measures], title: str) -> list[str]:
    """Put a ranking into words. Last step."""
    return [
        f"{title}: {each['name']} has complexity {each['complexity']} in {each['functions']} "
        f"functions, most of it in {each['worst']['function']}"
        for each in ranking
    ]


@app.task(track_started=True)
def survey(modules: list[str]) -> int:
    """Measure many modules, uncached: what keeps a process of the pool busy."""
    return sum(measure.measure(name)["complexity"] for name in modules)
