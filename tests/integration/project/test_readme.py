"""The README's example does what its comments say."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.workers import ROOT, clean_environment


def test_the_example_runs(server_factory, worker_factory, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("make test") < len("".join(readme.splitlines(keepends=True)[:60]))
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    server = server_factory()  # the shared worker would take the messages
    url = server.url(0).rsplit("/", 1)[0]
    (tmp_path / "proj.py").write_text(code.replace("redis://localhost", url))
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    urls = {"CELERY_BROKER_URL": server.url(0), "CELERY_RESULT_BACKEND": server.url(1)}
    worker_factory("proj", env={**environment, **urls})
    done = subprocess.run(
        [sys.executable, "-m", "proj"],
        env=clean_environment({**environment, "PATH": ""}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ran, answered, explained = done.stdout.splitlines()
    assert ran == "{'summary': 'Once upon a time', 'model': 'small'}"
    assert answered.startswith(ran)
    assert "CacheStatus(hit=True" in answered
    assert "miss: nothing is stored" in explained
