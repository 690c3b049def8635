"""The cache's URL in ``celery report`` and ``inspect conf``: hidden, as it may hold a password.

Celery censors the URLs of broker and backend, and settings named like a secret, not
``taskcache_url``. It is hidden wherever Celery shows an app's configuration.
"""

from __future__ import annotations

import re

from celery.app import utils

_NAME = "TASKCACHE_URL"


def hide_url() -> None:
    """Have Celery censor ``taskcache_url``, in every spelling of its name."""
    hidden = utils.HIDDEN_SETTINGS
    if _NAME not in hidden.pattern:
        utils.HIDDEN_SETTINGS = re.compile(f"{hidden.pattern}|{_NAME}", hidden.flags)
