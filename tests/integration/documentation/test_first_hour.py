"""README's example and the tutorial, typed as they stand; `make first-hour` uses the wheel."""

import re
from pathlib import Path

import pytest

from tests.integration.documentation.pages import DOCS, ROOT, blocks
from tests.integration.documentation.reader import Reader
from tests.support.waiting import wait_until

pytestmark = pytest.mark.one_server_kind


def test_the_readmes_example(server_factory, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("make test") < len("".join(readme.splitlines(keepends=True)[:60]))
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code
    with Reader(tmp_path, server_factory()) as reader:
        reader.write("proj.py", code[1])
        assert "python proj.py, with `celery -A proj worker` running" in code[1]
        reader.start("worker", "celery -A proj worker --loglevel=INFO", " ready.")
        ran, answered, explained = reader.run("python proj.py").splitlines()
        assert "proj.summarize" in reader.run("celery -A proj cache stats")
    assert ran == "{'summary': 'Once upon a time', 'model': 'small'}"
    assert answered.startswith(ran)
    assert "CacheStatus(hit=True" in answered
    assert "miss: nothing is stored" in explained


@pytest.mark.timeout(240)
def test_the_tutorial_as_it_stands(server_factory, tmp_path: Path) -> None:
    with Reader(tmp_path, server_factory()) as reader:
        for block in blocks(DOCS / "tutorial" / "index.md"):
            reader.follow(block)
        hit = re.compile(r'flower_events_total\{task="proj.report",type="task-cache-hit"')
        wait_until(lambda: hit.search(reader.flower_metrics()) is not None, timeout=20)
