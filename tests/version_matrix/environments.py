"""Virtual environments of the matrix, made by uv from PyPI and kept."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.workers import ROOT
from tests.version_matrix.version_sets import VersionSet

#: Where environments and results are kept.
HOME = ROOT / ".matrix"

UV = Path(sys.executable).with_name("uv")

#: What the versions of a set decide, and not the lock.
FREE = {"amqp", "billiard", "celery", "kombu", "redis", "vine"}


class NotInstallable(Exception):
    """uv's reasons why requirements can't be installed together."""


def uv(*args: str | Path) -> str:
    """Run uv; what it printed.

    Raises:
        NotInstallable: It failed.
    """
    done = subprocess.run(
        [UV, *args], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    if done.returncode:
        raise NotInstallable(done.stderr.strip())
    return done.stdout


def install(folder: Path, python: str, *requirements: str | Path) -> Path:
    """Make an environment anew; the path of its Python.

    Args:
        folder: Where.
        python: Version of Python.
        requirements: Arguments of `uv pip install`.

    Raises:
        NotInstallable: The requirements don't go together.
    """
    uv("venv", "--quiet", "--clear", "--python", python, folder)
    executable = folder / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", executable, *requirements)
    return executable


def test_environment(versions: VersionSet) -> Path:
    """The environment in which tests run with these versions; the path of its Python.

    All but Celery and what comes with it is as in the lock.
    """
    folder = HOME / versions.name / "venv"
    wanted = f"{versions}\n{(ROOT / 'pyproject.toml').read_text()}"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        locked = HOME / "constraints.txt"
        locked.parent.mkdir(exist_ok=True)
        locked.write_text("\n".join(_locked()))
        install(
            folder,
            versions.python,
            *("--constraint", locked),
            *("--group", "pyproject.toml:dev"),
            *("--editable", ".[prometheus,zstd]"),
            *versions.requirements,
        )
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def _locked() -> Sequence[str]:
    """The lock without hashes, and without what the versions decide."""
    lock = (ROOT / "requirements-dev.lock").read_text()
    pins = re.findall(r"^([\w.-]+)(==[^\\\n]+)", lock, re.MULTILINE)
    return [name + rest.strip() for name, rest in pins if name not in FREE]
