"""Where workflows are run: a producer in this process, a worker, and the witness of both."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.worker.request import Request

from tests.conformance.app import make_app
from tests.conformance.cases import Build, Case
from tests.conformance.outcome import Outcome, outcome
from tests.conformance.witness import Witness
from tests.support.results import take_leave
from tests.support.servers import Server
from tests.support.waiting import wait_until

MODULE = "tests.conformance.app"

#: Whether Celery stores of a rejected task what came of it: since 5.7, which also has this.
STORES_REJECTED = hasattr(Request, "_success_was_stored")

#: Databases of the server.
BROKER, BACKEND, CACHE, WITNESS = 5, 6, 7, 8


@dataclass
class Harness:
    """An application, and what happens in it.

    Attributes:
        app: The producer's app.
        stored: Whether there is a result backend to ask.
    """

    app: Celery
    stored: bool = True

    @property
    def witness(self) -> Witness:
        return self.app.witness  # type: ignore[no-any-return]  # ours, on Celery's object

    def run(self, kind: str, case: Case, tag: str) -> Outcome:
        """Run a workflow made of one kind of task, and wait until all of it has ended."""
        with self.witness.run():
            result = self.start(Build(self.app, kind, tag), case)
        self._settle()
        return outcome(self.witness, result, stored=self.stored)

    def _settle(self) -> None:
        """The worker's main process stores of a rejected task what came of it, later."""
        if self.stored and STORES_REJECTED:
            for node in self.witness.nodes():
                if node.state == "REJECTED":
                    wait_until(self.app.AsyncResult(node.id).ready, what="what was rejected")

    def start(self, build: Build, case: Case) -> Any:
        made = case(build)
        return made.apply_async() if hasattr(made, "apply_async") else made

    def bodies(self) -> list[str]:
        """Names of the tasks whose bodies the last run has run."""
        return self.witness.bodies()


def new_tag() -> str:
    return f"run-{uuid4().hex[:12]}"


def settings(server: Server, **conf: Any) -> dict[str, Any]:
    """What an app on a server is made with."""
    return {
        "broker": server.url(BROKER),
        "backend": server.url(BACKEND),
        "cache": server.url(CACHE),
        "witness": server.url(WITNESS),
        "short": bool(os.environ.get("CONFORMANCE_SHORT")),
        **conf,
    }


def environment(made_with: dict[str, Any]) -> dict[str, str]:
    """The environment of a worker of the same application, whose receivers miss nothing: else it
    would store its hits together, after the witness has seen them end.
    """
    return {
        "CONFORMANCE": json.dumps({**made_with, "short": False}),
        "CELERY_BROKER_URL": made_with["broker"],
    }


@contextmanager
def make_harness(made_with: dict[str, Any]) -> Iterator[Harness]:
    """The producer's side."""
    app = make_app(**made_with)
    try:
        yield Harness(app, stored=made_with["backend"] is not None)
    finally:
        take_leave(app)
        app.witness.close()
        app.close()
