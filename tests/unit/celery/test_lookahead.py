"""F4: how many messages are fetched ahead while others are looked up."""

from celery import Celery
from kombu.common import QoS

from tta_taskcache.celery.worker.offload.lookahead import MOST, Lookahead


class Message:
    """A request."""


class Consumer:
    """Celery's consumer, and what its loop told the broker last."""

    def __init__(self, count: int, **conf: object) -> None:
        self.app = Celery(set_as_current=False, changes=conf)
        self.told = -1
        self.qos = QoS(self._tell, count)

    def fetches(self) -> int:
        """How much the broker delivers, after a turn of the loop."""
        if self.qos.prev != self.qos.value:
            self.qos.update()
        return self.told

    def _tell(self, prefetch_count: int) -> None:
        self.told = prefetch_count


def look_up(lookahead: Lookahead, times: int, *, is_hit: bool) -> None:
    for _ in range(times):
        request = Message()
        lookahead.begin_lookup(request)
        lookahead.end_lookup(request, is_hit=is_hit)


def begin(lookahead: Lookahead, times: int) -> list[Message]:
    requests = [Message() for _ in range(times)]
    for request in requests:
        lookahead.begin_lookup(request)
    return requests


def test_f4_misses_are_left_to_other_workers() -> None:
    consumer = Consumer(16)
    lookahead = Lookahead(consumer)
    begin(lookahead, 100)
    assert consumer.fetches() == 20
    long_tasks = Consumer(1)
    begin(Lookahead(long_tasks), 100)
    assert long_tasks.fetches() == 1


def test_f4_hits_are_fetched_ahead_within_a_bound_and_the_count_comes_back() -> None:
    consumer = Consumer(16)
    lookahead = Lookahead(consumer)
    look_up(lookahead, 100, is_hit=True)
    requests = begin(lookahead, 1_000)
    assert consumer.fetches() == 16 + MOST
    for request in requests:
        lookahead.end_lookup(request, is_hit=False)
    assert consumer.fetches() == consumer.qos.value == 16
    begin(lookahead, 100)
    assert consumer.fetches() == 20, "the last ones were misses"


def test_c2_nothing_is_fetched_ahead_where_a_user_wants_that() -> None:
    for conf in ({"worker_disable_prefetch": True}, {"worker_eta_task_limit": 20}):
        consumer = Consumer(16, **conf)
        lookahead = Lookahead(consumer)
        look_up(lookahead, 100, is_hit=True)
        begin(lookahead, 100)
        assert consumer.fetches() == 16
