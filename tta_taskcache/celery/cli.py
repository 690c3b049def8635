"""``celery -A proj cache …``."""

from __future__ import annotations

import click


@click.group()
def cache() -> None:
    """See and operate the result cache."""
