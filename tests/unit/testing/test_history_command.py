"""`python -m tta_taskcache.testing.history`."""

from pathlib import Path

from click.testing import CliRunner

from tests.unit.testing.histories import history
from tta_taskcache.testing import (
    Invalidation,
    Read,
    Run,
)
from tta_taskcache.testing.history.__main__ import main


class TestCommand:
    def run(self, *arguments: str | Path) -> tuple[int, str]:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        return result.exit_code, result.output

    def test_says_that_all_is_well(self, tmp_path: Path) -> None:
        files = [tmp_path / "1", tmp_path / "2"]
        for file, record in zip(files, [Run("a", 0, 1, 1), Read("a", 1, 2, 1)], strict=True):
            history(record).dump(file)
        code, output = self.run(*files)
        assert code == 0
        assert "1 reads, 0 invalidations (0 not acknowledged), 1 runs (0 more" in output
        assert output.endswith(": 0 violations\n")

    def test_prints_violations(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        reads = [Read("a", 10 + number, 11 + number, 4) for number in range(30)]
        history(Invalidation("a", 9, 9.5, 5), *reads).dump(file)
        code, output = self.run(file)
        assert code == 1
        assert output.count("I1: a read of 'a'") == 20
        assert "… and 10 more" in output
        assert output.endswith(": 30 violations\n")
        assert self.run(file, "--staleness", "60")[0] == 0

    def test_refuses_what_is_no_history(self, tmp_path: Path) -> None:
        file = tmp_path / "history"
        file.write_text("{}\n")
        code, output = self.run(file)
        assert code == 2
        assert f"{file}:1" in output
        assert self.run(tmp_path / "absent")[0] == 2
        assert self.run()[0] == 2
