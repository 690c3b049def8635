"""K3: headers, and the mode, of calls that a task or a sender by name makes."""

import pytest

from tests.integration.harness import Harness
from tests.integration.sites.local_apps import local_app
from tests.support.workers import Worker
from tta_taskcache import CachedTask

pytestmark = pytest.mark.one_server_kind


@pytest.mark.parametrize("how", ["by name", "through a plain task"])
def test_k3_a_header_of_the_call_beats_the_ambient_one_however_it_is_sent(
    harness: Harness, worker: Worker, how: str
) -> None:
    with harness.cache.context(tenant="acme"):
        headers = {"tenant": "other"}
        if how == "by name":
            sent = harness.app.send_task("tenant.of", (harness.tag,), headers=headers)
            assert sent.get(timeout=20) == f"{harness.tag}@other"
        else:
            parent = harness.task("tenant.parent").apply_async((harness.tag,), headers=headers)
            child = harness.app.AsyncResult(parent.get(timeout=20))
            assert child.get(timeout=20) == f"{harness.tag}@other"
        assert harness.task("tenant.of").delay(harness.tag).get(timeout=20) == f"{harness.tag}@acme"


def test_disabled_holds_for_what_is_sent_by_name(harness: Harness, worker: Worker) -> None:
    harness.task("cached.add").delay(harness.tag, 1).get(timeout=20)
    with harness.cache.disabled():
        harness.app.send_task("cached.add", (harness.tag, 1)).get(timeout=20)
    assert harness.runs("add", harness.tag, 1, 0) == 2


def test_a_task_that_passes_its_headers_on_does_not_pass_its_mode_on() -> None:
    app, _ = local_app()

    @app.task(base=CachedTask)
    def double(x: int) -> int:
        return 2 * x

    double.cache.set(4, 2)
    headers = {"taskcache": {"mode": "refresh"}}  # as in request.headers of a refreshed call
    assert double.apply_async((2,), headers=headers).cache_status.hit
