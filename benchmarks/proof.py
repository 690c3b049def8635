"""What a cache saves on real request streams: the figures of docs/proof.md.

`make proof TRACES=DIR`, or `python -m benchmarks.proof DIR`: the folder has any of the files that
`STREAMS` names. None of them is in this repository, as their licences differ: docs/proof.md says
where they come from. Prints the page's table.
"""

import gzip
import json
import lzma
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tta_taskcache.stores.memory.bounded_map import BoundedMap

#: Sizes of L1, as shares of the different calls.
SHARES = (0.05, 0.2, 1.0)


@dataclass
class Value:
    """What is kept of a call: L1 asks for its size and counts its hits."""

    hits: int = 0
    size: int = 1


def integers(path: Path) -> Iterable[str]:
    """Read little-endian 32-bit integers, one a request."""
    return (str(key) for (key,) in struct.iter_unpack("<i", lzma.decompress(path.read_bytes())))


def lines(path: Path) -> Iterable[str]:
    """Read a key a line."""
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def prompts(path: Path) -> Iterable[str]:
    """Read whole prompts, by the hashes of all their blocks."""
    text = lzma.decompress(path.read_bytes()).decode()
    return (str(json.loads(line)["hash_ids"]) for line in text.splitlines())


STREAMS: dict[str, tuple[str, Callable[[Path], Iterable[str]]]] = {
    "web07.trace.xz": ("pages of a web shop", integers),
    "multi1.trace.gz": ("blocks read by mixed programs", lines),
    "loop.trace.gz": ("a scan, over and over", lines),
    "mooncake_conversation.jsonl.xz": ("whole prompts of a chat", prompts),
}


def ratio(requests: list[str], entries: int) -> float:
    """Return the share of requests that a memory of so many entries answers."""
    memory: BoundedMap[Value] = BoundedMap(entries, entries)
    hits = 0
    for key in requests:
        if memory.get(key) is None:
            memory.put(key, Value())
        else:
            hits += 1
    return hits / len(requests)


def faster(ratio: float, run: float, hit: float) -> float:
    """Return by how much the mean latency falls: with runs and hits of so many seconds."""
    return run / (ratio * hit + (1 - ratio) * (run + hit))


def rows(folder: Path) -> list[str]:
    """Return the rows of the table, in Markdown."""
    found = []
    for name, (what, read) in STREAMS.items():
        if (folder / name).exists():
            requests = list(read(folder / name))
            distinct = len(set(requests))
            ratios = [ratio(requests, max(1, round(distinct * share))) for share in SHARES]
            cells = " | ".join(f"{each:.1%}" for each in ratios)
            gain = f"{faster(ratios[-1], 1.0, 0.001):.1f}x"
            found.append(f"| {what} | {len(requests):,} | {distinct:,} | {cells} | {gain} |")
    return found


def main(arguments: list[str]) -> None:
    """Print the table."""
    found = rows(Path(arguments[0])) if len(arguments) == 1 else []
    if not found:
        sys.exit(
            f"usage: make proof TRACES=DIR, with any of these files in DIR: {', '.join(STREAMS)}\n"
            "They aren't in this repository; docs/proof.md says where they come from."
        )
    sizes = " | ".join(f"{share:.0%}" for share in SHARES)
    print(f"| stream | requests | different | {sizes} | mean latency |")  # noqa: T201 - a command
    print("|---|---|---|---|---|---|---|", *found, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
