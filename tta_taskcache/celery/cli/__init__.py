"""``celery -A proj cache …``: the command line of the cache.

Celery loads this module whenever any ``celery`` command starts, in every project of the
environment. So it imports nothing else of the library: a command is imported when it is used, and
the remote control commands when ``inspect`` or ``control`` is (promise S7). May import all other
folders of ``celery``.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module

import click
from celery.bin.base import handle_preload_options

if {"inspect", "control"} & set(sys.argv[1:]):
    # Registers our remote control commands: these two needn't import the project's modules.
    from ..worker import control  # noqa: F401

#: The commands in the order of the help, each in a module of its name.
COMMANDS = (
    "init",
    "stats",
    "top",
    "ls",
    "show",
    "explain",
    "invalidate",
    "sweep",
    "warm",
    "semantic",
    "doctor",
    "dashboards",
)

_EPILOG = """\b
Exit codes:
  0  done
  1  nothing found, something wrong (doctor), not confirmed, interrupted, or calls failed
  2  wrong usage or settings
  3  the cache can't be reached (or the broker), or this app shares none

\b
Example:
  celery -A proj cache stats
"""


class CacheGroup(click.Group):
    """A group that imports its commands when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f".commands.{cmd_name}", __name__), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", error.ctx) from None


@click.group(cls=CacheGroup, epilog=_EPILOG)
@click.pass_context
@handle_preload_options
def cache(ctx: click.Context) -> None:
    """See and operate the result cache.

    The commands work on the Redis that the app's tasks are cached in. An entry is a stored
    result; its key reads task:label:digest.
    """
