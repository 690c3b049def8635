"""A headless Chromium, spoken to over a pipe (Chrome DevTools Protocol), without a driver."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any, Self

#: The programs that will do, in order.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

BINARY = next(filter(None, map(shutil.which, PROGRAMS)), None)

#: Why tests of pages are skipped without it.
MISSING = f"no {' or '.join(PROGRAMS)} on PATH (Debian: chromium)"


class Browser:
    """A browser with one page.

    Args:
        folder: Where it keeps its profile and its log.
    """

    def __init__(self, folder: Path) -> None:
        assert BINARY is not None, MISSING
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command = [BINARY, *flags, f"--user-data-dir={folder / 'profile'}", "--no-first-run"]
        command += ["--remote-debugging-pipe", "about:blank"]
        # It reads from descriptor 3 and writes to 4.
        become = "import os, sys; a, b, *command = sys.argv[1:]; os.dup2(int(a), 3);"
        become += "os.dup2(int(b), 4); os.execv(command[0], command)"
        ends = (str(theirs_in), str(theirs_out))
        with (folder / "browser.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", become, *ends, *command],
                pass_fds=(theirs_in, theirs_out),
                stdout=log,
                stderr=log,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._unread = b""
        self._numbers = count(1)
        self._session = ""
        targets = self._ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]

    def open(self, url: str) -> None:
        """Go to a page."""
        assert "errorText" not in self._ask("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression of the page's; that of a promise, once it has one."""
        answer = self._ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._read()
            if reply.get("id") == number:
                assert "error" not in reply, reply
                result: dict[str, Any] = reply["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            read = os.read(self._from, 65536)
            assert read, "the browser has ended (see browser.log)"
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._session = ""
            os.write(self._to, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        os.close(self._to)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
