"""Python processes whose wall clock is wrong.

`skewed(60, "some.module", "--option")` is the command of `python -m some.module --option` where
`time.time` and `time.time_ns` are 60 s ahead, for it and for what it forks, from its first import
on. Monotonic clocks are right. So is `datetime.now()`, which doesn't ask `time.time`.
"""

import runpy
import sys
import time


def skewed(seconds: float, module: str, *arguments: str) -> list[str]:
    """The command; to be run where the modules are found."""
    return [sys.executable, "-m", __name__, str(seconds), module, *arguments]


def main() -> None:
    seconds, module = float(sys.argv[1]), sys.argv[2]
    right, right_ns, off_ns = time.time, time.time_ns, int(seconds * 1e9)
    time.time = lambda: right() + seconds
    time.time_ns = lambda: right_ns() + off_ns
    del sys.argv[:2]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
