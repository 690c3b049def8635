"""`make proof`, on a stream made for the test; and what the page says of it without one."""

import gzip
import re
from pathlib import Path

import pytest

from benchmarks.proof import STREAMS, faster, main, rows

PAGE = (Path(__file__).parents[3] / "docs" / "proof.md").read_text()


def test_a_stream_is_played_through_memories_of_three_sizes(tmp_path: Path) -> None:
    requests = "\n".join(["a", "b"] * 50)
    (tmp_path / "multi1.trace.gz").write_bytes(gzip.compress(requests.encode()))
    (row,) = rows(tmp_path)
    assert row.startswith("| blocks read by mixed programs | 100 | 2 | ")
    assert "98.0% | " in row


def test_without_streams_it_says_which_and_where_they_are(tmp_path: Path) -> None:
    for arguments in ([], [str(tmp_path)]):
        with pytest.raises(SystemExit, match=r"web07\.trace\.xz.*\n.*docs/proof\.md"):
            main(arguments)


def test_the_chart_is_that_of_the_formula() -> None:
    ratios = [int(each) / 100 for each in re.findall(r'"(\d+) %"', PAGE)]
    bars = re.search(r"bar \[(.*)\]", PAGE)
    assert bars is not None
    assert bars[1].split(", ") == [f"{faster(ratio, 1.0, 0.001):.1f}" for ratio in ratios]


def test_each_stream_has_its_row_and_its_source() -> None:
    for what, _ in STREAMS.values():
        assert f"| {what} |" in PAGE
