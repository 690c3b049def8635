"""The Grafana dashboard: of Grafana's schema, for any data source, and written by a command."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tta_taskcache.celery.cli.commands.dashboards import FILES, dashboards

FOLDER = Path(__file__).parents[3] / "tta_taskcache" / "observability" / "dashboards"


def dashboard() -> Any:
    return json.loads((FOLDER / "taskcache.json").read_text())


def lost(value: Any, kept: Any, where: str = "") -> Iterator[str]:
    """What Grafana's own types don't know, or change: they leave out what isn't in the schema."""
    match value, kept:
        case dict(), dict():
            for name, item in value.items():
                yield from lost(item, kept.get(name), f"{where}.{name}")
        case list(), list() if len(value) == len(kept):
            for number, (item, other) in enumerate(zip(value, kept, strict=True)):
                yield from lost(item, other, f"{where}[{number}]")
        case _ if value != kept:
            yield where


def unknown_to_grafana(board: Any) -> list[str]:
    plugins.register_default_plugins()
    return list(lost(board, json.loads(JSONEncoder().encode(Dashboard.from_json(board)))))


def test_the_dashboard_is_of_grafanas_schema() -> None:
    assert unknown_to_grafana(dashboard()) == []


def test_what_isnt_in_the_schema_is_found() -> None:
    board = dashboard()
    board["panels"][1]["options"]["colourMode"] = "value"
    board["panels"][1]["fieldConfig"]["defaults"]["unti"] = "s"
    board["refreshes"] = "10s"
    assert sorted(unknown_to_grafana(board)) == [
        ".panels[1].fieldConfig.defaults.unti",
        ".panels[1].options.colourMode",
        ".refreshes",
    ]


def test_the_dashboard_asks_the_data_source_that_its_user_chooses() -> None:
    """So it can be imported anywhere: it names no data source, and no id of a database."""
    board = dashboard()
    used = [panel["datasource"] for panel in board["panels"] if panel["type"] != "row"]
    targets = [each for panel in board["panels"] for each in panel.get("targets", ())]
    used += [target["datasource"] for target in targets]
    chosen, *others = board["templating"]["list"]
    used += [variable["datasource"] for variable in others]
    assert {tuple(each.items()) for each in used} == {
        (("type", "prometheus"), ("uid", f"${{{chosen['name']}}}"))
    }
    assert (chosen["type"], chosen["query"]) == ("datasource", "prometheus")
    assert "id" not in board
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


def test_the_command_writes_both_files(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"
    done = CliRunner().invoke(dashboards, ["--output", str(folder)])
    assert (done.exit_code, done.stdout.splitlines()) == (0, [str(folder / name) for name in FILES])
    assert {path.name for path in folder.iterdir()} == set(FILES)
    for name in FILES:
        assert (folder / name).read_bytes() == (FOLDER / name).read_bytes()
    assert CliRunner().invoke(dashboards, ["--output", str(folder)]).exit_code == 0, "the same"


def test_the_command_replaces_no_edited_file(tmp_path: Path) -> None:
    edited = tmp_path / "alerts.yml"
    edited.write_text("mine")
    done = CliRunner().invoke(dashboards, ["--output", str(tmp_path)])
    assert done.exit_code == 2
    assert str(edited) in done.output
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    assert CliRunner().invoke(dashboards, ["--output", str(tmp_path), "--force"]).exit_code == 0
    assert edited.read_text() != "mine"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_the_command_names_a_folder_that_cant_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(dashboards, ["--output", str(tmp_path / place)])
    assert done.exit_code == 2
    assert "file" in done.output
