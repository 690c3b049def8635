"""Django's configuration of the app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from .system_checks import TAG, check_cache


class TaskCacheConfig(AppConfig):
    """Registers the system check."""

    name = "tta_taskcache.django"
    label = "taskcache"
    verbose_name = "Task cache"

    def ready(self) -> None:
        """Have ``manage.py check`` check the cache."""
        register(check_cache, TAG)
