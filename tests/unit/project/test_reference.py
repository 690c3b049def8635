"""The site's reference says what the code says, and its pages have their form."""

import re
import runpy
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery

from tta_taskcache import CachedTask
from tta_taskcache.celery.config.settings import NAMES
from tta_taskcache.core.options.policy import OPTIONS

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import reference_pages  # noqa: E402
from definitions import everything  # noqa: E402

GENERATED = {DOCS / "reference" / kind for kind in reference_pages.PAGES}
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if not GENERATED & set(page.parents) and not {"_build", "notes"} & set(page.parts)
)


NOTES = sorted((DOCS / "reference" / "notes").glob("*.md"))


@pytest.mark.parametrize("kind", reference_pages.PAGES)
def test_the_tables_are_those_of_the_code(kind: str) -> None:
    page = (DOCS / "reference" / f"{kind}.md").read_text()
    definitions = dict(everything())[kind]
    assert page == reference_pages.with_table(kind, page, definitions), "run: make reference"


def test_each_option_and_setting_has_a_page() -> None:
    found = {kind: {each.name for each in definitions} for kind, definitions in everything()}
    assert found["options"] == {f"cache_{name}" for name in OPTIONS}
    assert found["settings"] == {f"taskcache_{name}" for name in NAMES}


def test_pages_say_what_is_allowed_and_which_default_there_is() -> None:
    for kind, definitions in everything():
        for each in definitions:
            assert each.meaning, each
            if kind in ("options", "settings"):
                assert each.default, each
                assert each.allowed, each


def test_notes_are_of_something_that_there_is() -> None:
    names = {reference_pages.file_name(each) for _, found in everything() for each in found}
    assert {note.stem for note in NOTES} <= names


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.stem)
def test_the_examples_of_an_option_define_tasks(note: Path, tmp_path: Path) -> None:
    """Each uses its option; a wrong option or name in a template would be an error here."""
    app = Celery(note.stem, set_as_current=False)
    names = {
        "app": SimpleNamespace(task=partial(app.task, shared=False)),
        "CachedTask": CachedTask,
        "timedelta": timedelta,
    }
    for code in re.findall(r"```python\n(.*?)```", note.read_text(), re.DOTALL):
        assert f"{note.stem}=" in code
        (tmp_path / "proj.py").write_text(code)
        runpy.run_path(str(tmp_path / "proj.py"), names)
    app.finalize()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_begins_with_its_title_and_what_it_says_in_short(page: Path) -> None:
    assert re.match(r"# .+\n\n> \*\*TL;DR\*\* \S", page.read_text())


def test_the_readme_is_a_front_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.count("\n") <= 150
    for page in re.findall(r"\]\((?!http)([^)#]+)", readme):
        assert (ROOT / page).exists(), page
