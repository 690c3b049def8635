"""What a cache saves, as it adds up: cumulative cost with and without it.

`python -m examples.cost_tracking` writes the plot to `cost.svg`, or where its argument says.
"""

import asyncio
import random
import sys
from itertools import accumulate
from pathlib import Path

from examples.embedded import redis_url
from tta_taskcache import CachePrimitive, WorkflowContext

REQUESTS = 600

#: Different questions, asked as questions are: few very often, most of them once.
QUESTIONS = 150

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 360, 60, 40


def asked() -> list[int]:
    """The questions, in the order in which they are asked."""
    weights = list(accumulate(1 / (rank + 1) for rank in range(QUESTIONS)))
    return random.Random(7).choices(range(QUESTIONS), cum_weights=weights, k=REQUESTS)  # noqa: S311 - no secret


def plot(series: dict[str, tuple[str, list[float]]], path: Path) -> None:
    """Draw lines, each with its colour, over the number of requests."""
    top = max(max(costs) for _, costs in series.values())

    def at(i: int, cost: float) -> str:
        x = LEFT + i / (REQUESTS - 1) * (WIDTH - LEFT - 20)
        y = HEIGHT - BOTTOM - cost / top * (HEIGHT - BOTTOM - 20)
        return f"{x:.1f},{y:.1f}"

    text = 'font-family="sans-serif" font-size="12"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = at(0, top * share).split(",")
        parts.append(f'<path d="M{x} {y}H{WIDTH - 20}" stroke="#ddd"/>')
        label = f"${top * share:.2f}"
        parts.append(f'<text x="{LEFT - 8}" y="{y}" text-anchor="end" {text}>{label}</text>')
    for i in range(0, REQUESTS + 1, REQUESTS // 4):
        x = at(min(i, REQUESTS - 1), 0).split(",")[0]
        y = HEIGHT - BOTTOM + 18
        parts.append(f'<text x="{x}" y="{y}" text-anchor="middle" {text}>{i}</text>')
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle" {text}>requests</text>'
    )
    for row, (name, (colour, costs)) in enumerate(series.items()):
        points = " ".join(at(i, cost) for i, cost in enumerate(costs))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        y = 36 + 18 * row
        label = f"{name}: ${costs[-1]:.2f}"
        parts.append(f'<text x="{LEFT + 14}" y="{y}" fill="{colour}" {text}>{label}</text>')
    path.write_text("\n".join([*parts, "</svg>\n"]))


async def main(url: str, path: Path) -> None:
    """Run the example."""

    async def answer(data: int, context: WorkflowContext) -> dict[str, int]:
        return {"question": data, "tokens": 200 + data % 7 * 100}

    def price(result: dict[str, int]) -> float:
        return result["tokens"] / 1000 * 0.03

    without: list[float] = []
    paid: list[float] = []
    async with CachePrimitive(
        answer, name="answer", backend="redis", redis_url=url, cost=price
    ) as cache:
        for question in asked():
            result = await cache.execute(question)
            without.append(price(result))
            paid.append(cache.stats().tasks["answer"].run_cost)
        stats = cache.stats().tasks["answer"]
    total = sum(without)
    plot(
        {
            "without the cache": ("#c0392b", list(accumulate(without))),
            "with it": ("#1e8449", paid),
        },
        path,
    )
    print(f"{REQUESTS} requests, {stats.runs} runs")
    print(f"${total:.2f} without the cache, ${stats.run_cost:.2f} with it")
    print(f"saved ${stats.saved_cost:.2f} ({stats.saved_cost / total:.0%}); the plot is in {path}")


if __name__ == "__main__":
    with redis_url() as url:
        asyncio.run(main(url, Path(sys.argv[1] if len(sys.argv) > 1 else "cost.svg")))
