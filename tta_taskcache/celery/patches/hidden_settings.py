"""Keeping the cache's URL out of ``celery report`` and ``inspect conf``: it may hold a password.

Celery censors the URLs of broker and backend, and what is named like a secret; ours it can't know.
The setting is hidden wherever Celery shows an app's configuration.
"""

from __future__ import annotations

import re

from celery.app import utils

_NAME = "TASKCACHE_URL"


def hide_url() -> None:
    """Have Celery censor ``taskcache_url``, in every spelling of settings."""
    hidden = utils.HIDDEN_SETTINGS
    if _NAME not in hidden.pattern:
        utils.HIDDEN_SETTINGS = re.compile(f"{hidden.pattern}|{_NAME}", hidden.flags)
