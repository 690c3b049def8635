"""What the broker is told while messages are held beyond a worker's prefetch count."""

from types import SimpleNamespace

from celery import Celery
from kombu.common import QoS

from tta_taskcache.celery.patches.worker.prefetch_allowance import PrefetchAllowance


class Broker:
    """A consumer with Celery's count, and what the worker's loop told the broker last."""

    def __init__(self, count: int) -> None:
        self.app = Celery(set_as_current=False)
        self.connect(count)

    def connect(self, count: int) -> None:
        self.told = -1
        self.qos = QoS(self._tell, count)

    def turn(self) -> int:
        """One turn of the worker's loop."""
        if self.qos.prev != self.qos.value:
            self.qos.update()
        return self.told

    def _tell(self, prefetch_count: int) -> None:
        self.told = prefetch_count


def test_c2_the_count_is_restored_though_celery_sets_it_anew_meanwhile() -> None:
    broker, request = Broker(4), SimpleNamespace()
    allowance = PrefetchAllowance(broker, 100)
    for _ in range(20):
        assert allowance.hold(request)
    assert broker.turn() == 24
    broker.qos.value = 16  # after a lost connection, Celery restores it step by step
    assert broker.turn() == 36
    for _ in range(20):
        allowance.release(request)
    assert broker.turn() == broker.qos.value == 16


def test_c2_a_new_connection_begins_without() -> None:
    broker, request = Broker(4), SimpleNamespace()
    allowance = PrefetchAllowance(broker, 100)
    allowance.hold(request)
    assert broker.turn() == 5
    allowance.forget()
    broker.connect(8)
    assert broker.turn() == 8
    allowance.hold(request)
    assert broker.turn() == 9
    allowance.release(request)
    assert broker.turn() == 8


def test_c5_the_bound_holds_and_no_limit_stays_none() -> None:
    broker, request = Broker(0), SimpleNamespace()
    allowance = PrefetchAllowance(broker, 2)
    assert [allowance.hold(request) for _ in range(3)] == [True, True, False]
    assert broker.turn() == 0
