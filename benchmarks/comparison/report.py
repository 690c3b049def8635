"""What was measured, as JSON, a Markdown table and plots."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "results"
PACKAGES = ("celery", "kombu", "redis", "dogpile.cache", "cashews", "aiocache", "theine", "moka-py")

_COLUMNS = {
    "p50_us": ("p50", "{:,.1f} µs"),
    "p99_us": ("p99", "{:,.1f} µs"),
    "per_second": ("a second", "{:,.0f}"),
    "ratio": ("time to base", "{:.2f}"),
    "ratio_low": ("least", "{:.2f}"),
    "ratio_high": ("most", "{:.2f}"),
    "cpu_us": ("CPU here", "{:,.0f} µs"),
    "main_cpu_us": ("CPU main", "{:,.0f} µs"),
    "pool_cpu_us": ("CPU pool", "{:,.0f} µs"),
    "bytes_to_server": ("bytes to", "{:,.0f}"),
    "bytes_from_server": ("bytes from", "{:,.0f}"),
}


def about() -> dict[str, Any]:
    """The machine, and the versions of what is compared."""

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "versions": {package: of(package) for package in PACKAGES},
    }


def write(runs: list[list[dict[str, Any]]], missing: list[str]) -> None:
    """Write all of it; where the same was run several times, the median run by ratio is shown."""
    FOLDER.mkdir(exist_ok=True)
    rows = _medians(runs)
    facts = about() | {"runs": len(runs), "missing": sorted(set(missing))}
    whole = {"about": facts, "rows": rows, "runs": runs}
    (FOLDER / "comparison.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / "comparison.md").write_text(markdown(facts, rows))
    try:
        plot(rows)
    except ImportError as error:
        facts["missing"].append(f"plots: {error}")


def _medians(runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Each row of the median run, by ratio; with the spread of all runs."""
    rows = []
    for same in zip(*runs, strict=True):
        ordered = sorted(same, key=lambda row: row.get("ratio", row.get("p50_us", 0)))
        row = dict(ordered[len(ordered) // 2])
        if "ratio" in row and len(same) > 1:
            ratios = [each["ratio"] for each in same]
            row |= {"ratio_low": min(ratios), "ratio_high": max(ratios)}
        rows.append(row)
    return rows


def markdown(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """A table for each section."""
    named = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = [
        "# What was measured",
        "",
        f"{facts['when']}; {facts['machine']}, load {facts['load']:.1f}; runs: {facts['runs']}.",
        f"Python {facts['python']}; {named}. Made by `make bench`.",
    ]
    for section in dict.fromkeys(row["section"] for row in rows):
        own = [row for row in rows if row["section"] == section]
        skipped = {"section", "name", "base"}
        columns = [c for c in dict.fromkeys(k for row in own for k in row) if c not in skipped]
        heads = [_COLUMNS.get(c, (c.replace("_", " "), ""))[0] for c in columns]
        base = next((row["base"] for row in own if row["base"]), "")
        lines += ["", f"## {section.capitalize()}", ""]
        lines += [f"Base: {base}." if len({r["base"] for r in own} - {""}) == 1 else "", ""]
        lines += [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(columns)]
        for row in own:
            cells = " | ".join(_cell(column, row.get(column)) for column in columns)
            lines.append(f"| {row['name']} | {cells} |")
    if facts["missing"]:
        lines += ["", "Left out:", "", *(f"- {reason}" for reason in facts["missing"])]
    return "\n".join(lines) + "\n"


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    return _COLUMNS.get(column, ("", "{:,.1f}"))[1].format(value)


def plot(rows: list[dict[str, Any]]) -> None:
    """Draw each section's times."""
    import matplotlib as mpl  # noqa: PLC0415 - of the bench group only

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - likewise

    for section in dict.fromkeys(row["section"] for row in rows):
        own = [row for row in rows if row["section"] == section]
        key = (
            "p50_us"
            if any("p50_us" in row for row in own)
            else next(iter(own[0].keys() - {"section", "name", "base"}))
        )
        own = [row for row in own if key in row]
        figure, axes = plt.subplots(figsize=(8, 0.4 * len(own) + 1.2), layout="constrained")
        axes.barh([row["name"] for row in own], [row[key] for row in own])
        axes.invert_yaxis()
        axes.set_xlabel("µs, median" if key == "p50_us" else key)
        if key == "p50_us":
            axes.set_xscale("log")
        axes.set_title(section)
        name = "".join(c if c.isalnum() else "-" for c in section)
        for kind in ("png", "svg"):
            figure.savefig(FOLDER / f"{name}.{kind}")
        plt.close(figure)
