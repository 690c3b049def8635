"""How a leading run has ended decides whether equal calls wait for the next one (C3, C6)."""

from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated, WorkerLostError
from celery.exceptions import Ignore, Reject, Retry

from tta_taskcache.celery.worker.lease_watch import End, LeaderWatch


class Request:
    """Callbacks of a request, for the watch to wrap."""

    def on_accepted(self, *_: Any) -> None: ...

    def on_success(self, *_: Any) -> None: ...

    def on_failure(self, *_: Any) -> None: ...

    def on_timeout(self, *_: Any) -> None: ...


def ends_of(error: BaseException) -> list[End]:
    ends: list[End] = []
    request: Any = Request()
    LeaderWatch(request, lambda: None, ends.append, in_process=True)
    with pytest.raises(type(error)) as caught:
        raise error
    info = ExceptionInfo((caught.type, caught.value, caught.tb))
    request.on_failure(info)
    request.on_failure(info)
    return ends


@pytest.mark.parametrize("error", [Terminated(9), WorkerLostError("gone"), SystemExit(1)], ids=repr)
def test_c3_after_a_lost_process_the_next_one_leads(error: BaseException) -> None:
    assert ends_of(error) == [End.LOST]


@pytest.mark.parametrize("error", [ValueError(), Retry(), Ignore(), Reject()], ids=repr)
def test_c6_after_a_run_without_a_result_equal_calls_do_not_wait(error: BaseException) -> None:
    assert ends_of(error) == [End.NO_RESULT]
