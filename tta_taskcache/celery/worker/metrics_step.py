"""The worker's metrics, served from its main process with the shares of its pool processes."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals

from ...errors import ConfigurationError
from ...observability.metrics.deferred_metrics import PACKAGE
from ..api.task_cache import cache_of

if TYPE_CHECKING:
    from ...observability.metrics.metrics_server import MetricsServer
    from ...observability.metrics.prometheus_metrics import Metrics

logger = logging.getLogger("tta_taskcache")


class MetricsStep(bootsteps.StartStopStep):
    """Bootstep of the worker, made before the pool forks.

    Raises:
        ConfigurationError: Metrics are to be served, and prometheus_client isn't installed.
    """

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        settings = cache_of(worker.app).settings
        self._host, self._port = settings.metrics_host, settings.metrics_port
        self._metrics = None if self._port is None else _load(settings.metrics_namespace)
        self._server: MetricsServer | None = None
        super().__init__(worker, **kwargs)

    def include_if(self, _: Any) -> bool:
        """Only with ``taskcache_metrics_port``."""
        return self._port is not None

    def create(self, _: Any) -> None:
        """Share memory with the pool's processes."""
        try:
            if self._metrics is not None:
                self._metrics.share()
        except OSError as error:
            logger.warning("what pool processes do is missing in the metrics: %s", error)

    def start(self, _: Any) -> None:
        """Serve the metrics."""
        if self._port is not None and self._metrics is not None:
            from ...observability.metrics.metrics_server import MetricsServer  # noqa: PLC0415 - if used

            self._server = MetricsServer(self._metrics, self._port, self._host)

    def stop(self, _: Any) -> None:
        """Free the port."""
        if self._server is not None:
            self._server.stop()

    terminate = stop


def _load(namespace: str) -> Metrics:
    try:
        from ...observability.metrics.prometheus_metrics import metrics_of  # noqa: PLC0415 - if used
    except ImportError as error:
        raise ConfigurationError(
            "taskcache_metrics_port needs prometheus-client: "
            "pip install 'tta-taskcache[prometheus]'"
        ) from error
    return metrics_of(namespace)


@signals.worker_process_shutdown.connect
def _gone(**_: Any) -> None:
    """In prometheus_client's multiprocess mode, the gauges of a pool process end with it."""
    if sys.modules.get(PACKAGE) is None:
        return
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - if used

    from ...observability.metrics.prometheus_metrics import is_multiprocess  # noqa: PLC0415

    if is_multiprocess():
        mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
