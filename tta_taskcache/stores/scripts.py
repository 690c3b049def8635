"""The Lua scripts that Redis runs, by name."""

from __future__ import annotations

from importlib import resources


def script(name: str) -> str:
    """Return the text of a script."""
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text()
