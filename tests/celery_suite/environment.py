"""Where Celery's own tests run: a virtual environment, and its source distribution from PyPI.

Nothing of that is kept in the repository: the run downloads it into ``build/celery-suite``.
"""

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / "build" / "celery-suite"

#: What Celery's tests need beside what it needs itself.
NEEDED = (
    "pytest==9.0.3",
    "pytest-celery>=1.3.0",
    "pytest-subtests>=0.14.1",
    "pytest-timeout==2.4.0",
    "pytest-click==1.1.0",
    "pytest-order==1.4.0",
    *("psutil", "gevent", "eventlet", "pydantic", "msgpack", "PyYAML", "cryptography"),
    *("sqlalchemy", "boto3", "moto", "pymongo", "django", "freezegun"),
)


def _run(*command: str | Path) -> None:
    subprocess.run([str(each) for each in command], check=True)


def python() -> Path:
    """The interpreter of an environment with this library and all that Celery's tests need."""
    venv, celery = HOME / "venv", version("celery")
    stamp = venv / f".installed-{celery}"
    if not stamp.exists():
        _run(sys.executable, "-m", "venv", "--clear", venv)
        pip = (
            venv / "bin" / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "-qq",
            "install",
        )
        _run(*pip, "-e", ROOT, f"celery=={celery}", *NEEDED)
        stamp.touch()
    return venv / "bin" / "python"


def tests() -> Path:
    """Celery's source distribution, of the version that is installed here."""
    name = f"celery-{version('celery')}"
    if not (HOME / name / "t").exists():
        HOME.mkdir(parents=True, exist_ok=True)
        options = ("--no-binary", "celery", "--no-deps", "--dest", HOME)
        _run(sys.executable, "-m", "pip", "-qq", "download", *options, name.replace("-", "=="))
        with tarfile.open(HOME / f"{name}.tar.gz") as archive:
            archive.extractall(HOME, filter="data")
    return HOME / name
