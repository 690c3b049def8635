"""``python -m examples.analysis.demo``: the cache at work, on a Redis and a worker of its own."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import NoReturn

from . import show
from .processes import DemoError, server

LOG_TAIL = 40


class Interrupted(BaseException):
    """A signal asks the demo to end. Its argument is the number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 0 only if everything was as promised."""
    parser = argparse.ArgumentParser(prog="python -m examples.analysis.demo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same with fewer requests")
    parser.add_argument(
        "--redis",
        metavar="URL",
        default=os.environ.get("DEMO_REDIS_URL"),
        help="use this server, whose databases 0, 1 and 2 must be empty ($DEMO_REDIS_URL)",
    )
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="taskcache-demo-") as folder:
            return _run(Path(folder), options.redis, quick=options.quick)
    except DemoError as error:
        show.console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 2
    except Interrupted as interrupted:
        return _interrupted(interrupted)


def _run(folder: Path, url: str | None, *, quick: bool) -> int:
    started = perf_counter()
    promises = show.Promises()
    log = folder / "worker.log"
    with server(folder, url) as (name, environment):
        # The app reads its URLs when it is imported.
        os.environ.update(environment)
        from .play import play  # noqa: PLC0415

        try:
            play(name, environment, log, promises, quick=quick)
        except Interrupted as interrupted:
            # Here and not further up: results unsubscribe when they are freed, with their frames.
            return _interrupted(interrupted)
        except Exception:
            _show_log(log)
            raise
    held = not promises.broken
    for text in promises.broken:
        show.console.print(f"  broken: {text}", style="red", markup=False, soft_wrap=True)
    if not held:
        _show_log(log)
    total = len(promises.kept) + len(promises.broken)
    show.note(
        f"{len(promises.kept)} of {total} promises checked and kept. "
        f"Worker and server are gone, {show.duration(perf_counter() - started)} after the start."
    )
    return 0 if held else 1


def _show_log(log: Path) -> None:
    if log.exists():
        lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
        print("The end of the worker's log:", *lines, sep="\n  ", file=sys.stderr)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _interrupted(interrupted: Interrupted) -> int:
    number: int = interrupted.args[0]
    show.note(f"Interrupted ({signal.Signals(number).name}): nothing is left running.")
    return 128 + number


if __name__ == "__main__":
    sys.exit(main())
