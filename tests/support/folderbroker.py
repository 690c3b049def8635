"""Kombu's broker of files, with messages that appear whole.

Kombu's own opens a message's file under its final name and writes afterwards: a worker that looks
in between takes an empty message, and the call is lost. Its files of queues have the same gap.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from kombu.transport import filesystem
from kombu.utils.json import dumps


def _write_whole(file: Path, content: str) -> None:
    """Create a file that nobody sees half-written; one that exists stays as it is."""
    draft = file.with_name(f"{uuid4()}.draft")
    draft.write_text(content)
    with suppress(FileExistsError):
        os.link(draft, file)
    draft.unlink()


class Channel(filesystem.Channel):
    def _put(self, queue: Any, payload: Any, **kwargs: Any) -> None:
        # Names sort by the order of sending, as kombu's do.
        name = f"{int(time.monotonic() * 1000)}_{uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out) / name, dumps(payload))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        self.control_folder.mkdir(exist_ok=True)
        _write_whole(self._exchange_file(exchange), dumps([]))
        super()._queue_bind(exchange, routing_key, pattern, queue)


class Transport(filesystem.Transport):
    Channel = Channel
