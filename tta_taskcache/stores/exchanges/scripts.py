"""The Lua scripts that Redis runs, by name. Each is read when it is first needed."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def script(*names: str) -> str:
    """Return the text of a script without comments, behind the scripts that it uses."""
    folder = resources.files(__package__).joinpath("lua")
    lines = "\n".join(folder.joinpath(f"{name}.lua").read_text() for name in names).splitlines()
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("--"))
