"""Processes that never outlive the test run, and whose output is at hand when a test fails."""

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec nothing may be imported or allocated that another thread locks.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A subprocess in a session of its own, so that Ctrl-C in a terminal leaves it to its fixture.

    When the test process ends in whatever way, so does this one. Linux counts the *thread* that
    started it as its parent: start none from a thread that ends earlier.
    """

    _running: ClassVar["weakref.WeakSet[Process]"] = weakref.WeakSet()

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        # Without a name: nothing to clean up. Kept open, and read with pread, because the child
        # writes at the offset that it shares with us.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the object
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - safe with threads: see _libc
        )
        self._running.add(self)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative signal number when a signal ended it."""
        return self._popen.poll()

    @property
    def log(self) -> str:
        """What it wrote so far, stdout and stderr."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def terminate(self, timeout: float) -> None:
        """Ask it to end, wake it up to hear that, and kill what is left of it after `timeout`."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """SIGKILL it and every process it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._running.discard(self)

    @classmethod
    def kill_all(cls, owner: int) -> None:
        if os.getpid() == owner:  # not in a fork of the test process
            for process in list(cls._running):
                process.kill()


# On Linux the kernel's signal is enough for the process, but not for what it started itself, such
# as the pool of a worker.
atexit.register(Process.kill_all, os.getpid())
