"""``python -m tests.integration.documentation.run_page PAGE``: run its Python, in its order.

A worker is started in threads of this process before the first block that calls a task, so that
what a task does can be asserted. URLs of Redis are replaced by those of ``TEST_REDIS``.
"""

import ast
import os
import sys
import traceback
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

from celery import Celery
from celery.contrib.testing.worker import start_worker

from tests.integration.documentation.pages import blocks

#: Methods that need a worker.
_CALLS = {"delay", "apply_async", "get"}


def needs_worker(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return False
    nodes = (node.func for node in ast.walk(statement) if isinstance(node, ast.Call))
    return any(isinstance(node, ast.Attribute) and node.attr in _CALLS for node in nodes)


def start(module: ModuleType) -> AbstractContextManager[object]:
    app = next(value for value in vars(module).values() if isinstance(value, Celery))
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    worker = start_worker(app, pool="threads", concurrency=4, perform_ping_check=False)
    worker.__enter__()
    return worker


def main(page: Path, url: str) -> None:
    module = sys.modules["proj"] = ModuleType("proj")  # exceptions are found there
    worker = None  # what is collected is stopped
    for block in blocks(page):
        if block.language != "python" or block.mark:
            continue
        for statement in ast.parse(block.text.replace("redis://localhost", url)).body:
            if worker is None and needs_worker(statement):
                worker = start(module)
            code = compile(ast.Module([statement], []), str(page), "exec")
            exec(code, vars(module))  # noqa: S102 - our own page


try:
    main(Path(sys.argv[1]), os.environ["TEST_REDIS"])
except BaseException:  # noqa: BLE001 - whatever it is, the worker's threads end, too
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
os._exit(0)  # stopping a worker takes seconds
