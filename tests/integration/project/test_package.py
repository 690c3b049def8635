"""What is uploaded: the page on PyPI, the wheel, and a source distribution that tests itself."""

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from urllib.request import Request, urlopen
from zipfile import ZipFile

import pytest

from tests.support.workers import ROOT, clean_environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Source"]

#: Where a file of the repository is shown, and where an image is read from.
FILES = (f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/")
IMAGES = REPOSITORY.replace("github.com", "raw.githubusercontent.com") + "/main/"

#: Set by whoever wants links to other hosts to be followed, too.
FOLLOW = "FOLLOW_LINKS" in os.environ

LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")


@dataclass
class Package:
    """The two files that are uploaded."""

    wheel: Path
    sdist: Path

    @property
    def page(self) -> Message:
        """The metadata; its payload is the page on PyPI."""
        with ZipFile(self.wheel) as opened:
            (name,) = (each for each in opened.namelist() if each.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(opened.read(name))

    @property
    def text(self) -> str:
        return str(self.page.get_payload(decode=True), "utf-8")


def python(*args: str, cwd: Path = ROOT, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *args],
        env=clean_environment(os.environ) | env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Both, the wheel made from the unpacked source distribution, as installers make it."""
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--no-isolation", "--outdir", str(folder))
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Package(wheel, sdist)


def links(text: str) -> Iterator[str]:
    code = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    yield from (link for link in LINK.findall(code) if "://localhost" not in link)


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives headings."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_page_has_absolute_links_to_what_is_there(package: Package) -> None:
    found = list(links(package.text))
    assert len(found) > 5
    for link in found:
        place, _, anchor = link.partition("#")
        if not place:
            assert anchor in anchors(ROOT / "README.md"), link
            continue
        assert place.startswith("https://"), f"{link}: is relative"
        for prefix in (*FILES, IMAGES):
            if place.startswith(prefix):
                path = ROOT / place.removeprefix(prefix)
                assert path.exists(), link
                assert not anchor or anchor in anchors(path), link


def test_the_projects_links_lead_into_one_repository() -> None:
    assert {url.startswith(REPOSITORY) for url in PROJECT["urls"].values()} == {True}
    for url in PROJECT["urls"].values():
        for prefix in FILES:
            assert not url.startswith(prefix) or (ROOT / url.removeprefix(prefix)).exists(), url


@pytest.mark.skipif(not FOLLOW, reason="asks other hosts: FOLLOW_LINKS=1")
def test_links_to_other_hosts_lead_somewhere(package: Package) -> None:
    """The repository's own address is a placeholder yet; its files are checked above."""
    own = (REPOSITORY, IMAGES)
    for link in sorted({each for each in links(package.text) if not each.startswith(("#", *own))}):
        request = Request(link, headers={"User-Agent": "tta-taskcache's link check"})  # noqa: S310
        with urlopen(request, timeout=20) as reply:  # noqa: S310 - https, as tested above
            assert reply.status == 200, link


def test_classifiers_are_of_what_is_tested(package: Package) -> None:
    """The Pythons that CI has are those that are promised."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    tested = re.search(r"python: \[(.*)\]", workflow)
    assert tested
    promised = {
        each.rpartition(" ")[2]
        for each in package.page.get_all("Classifier", ())
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", each)
    }
    assert promised == set(re.findall(r"3\.\d+", tested[1]))


def test_the_wheel_has_everything_and_nothing_else(package: Package) -> None:
    with ZipFile(package.wheel) as opened:
        names = set(opened.namelist())
    source = ROOT / "tta_taskcache"
    files = {
        str(path.relative_to(ROOT))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == files
    assert "tta_taskcache/py.typed" in files


def test_the_source_distribution_passes_its_own_tests(package: Package, tmp_path: Path) -> None:
    """Some of them here, all units with `make package`; a wheel of it is the same version."""
    with tarfile.open(package.sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    said = python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0"),
        *("tests/unit/project/test_docs.py", "tests/unit/core/test_keys.py"),
        "tests/integration/documentation/test_first_hour.py::test_the_readmes_example",
        cwd=folder,
        PYTHONPATH=str(folder),
    )
    assert re.search(r"\d+ passed", said)
    place = python("-c", "import tta_taskcache as t; print(t.__file__)", cwd=folder)
    assert place.startswith(str(folder))
    metadata = email.message_from_string((folder / "PKG-INFO").read_text())
    assert metadata["Version"] == package.page["Version"]
