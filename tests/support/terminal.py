"""A command in a real terminal: a pty, and an emulator that knows what would be on its screen."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pyte


class Terminal:
    """`with Terminal([…], env=…, columns=80) as terminal: terminal.screen`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self._ours, theirs = pty.openpty()
        self._screen: Any = pyte.Screen(columns, lines)
        self._stream: Any = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.resize(columns, lines)
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**env, "TERM": "xterm-256color"},
            cwd=cwd,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        os.close(self._ours)

    @property
    def screen(self) -> list[str]:
        """The lines that a person would see, without blanks at their ends."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def resize(self, columns: int, lines: int) -> None:
        """What happens when a person drags a corner of the window."""
        with self._lock:
            self._screen.resize(lines, columns)
            # An emulator of a terminal that reflows nothing: what is left of before is cleared.
            self._screen.reset()
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended; returns the exit code."""
        return self._process.wait(timeout=30)

    def _read(self) -> None:
        with suppress(OSError):  # its other end is closed
            while part := os.read(self._ours, 65536):
                with self._lock:
                    self._stream.feed(part)
