"""The metrics server: metrics over HTTP from a process without a web server of its own."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from .prometheus_metrics import Metrics, is_multiprocess

logger = logging.getLogger("tta_taskcache")


class MetricsServer:
    """Serves metrics on a port, from a thread; logs a warning when the port is taken.

    Only the library's are served, in prometheus_client's multiprocess mode all there are. Its
    default registry has locks: a process forked while this thread holds one would wait for it.

    Args:
        metrics: The metrics.
        port: The port.
        host: The address to listen on; by default only this machine can reach it.
    """

    def __init__(self, metrics: Metrics, port: int, host: str = "127.0.0.1") -> None:
        self._server: Any = None
        registry = CollectorRegistry()
        if is_multiprocess():
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(metrics)
        try:
            self._server, _ = start_http_server(port, host, registry=registry)
        except OSError as error:
            logger.warning(
                "no metrics on port %d (taskcache_metrics_port) of %s: %s", port, host, error
            )
            return
        logger.info("metrics on port %d of %s", port, host)
        _servers.add(self)

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def forget(self) -> None:
        """Close the socket in a forked process, so that the port is free after the parent."""
        if self._server is not None:
            with suppress(OSError):
                self._server.socket.close()
            self._server = None


_servers: WeakSet[MetricsServer] = WeakSet()


def _forget_in_child() -> None:
    for server in list(_servers):
        server.forget()


os.register_at_fork(after_in_child=_forget_in_child)
