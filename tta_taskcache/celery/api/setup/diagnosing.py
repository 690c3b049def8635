"""What the doctor needs to know of an app, as far as nobody has to be asked."""

from __future__ import annotations

from celery import Celery

from ...config.serializers import CODECS
from ...doctor.facts import StaticFacts
from ...doctor.package_facts import read_packages
from ..cached_task import CachedTask
from ..task_cache import cache_of


def static_facts(app: Celery) -> StaticFacts:
    """Import an app's tasks, and read their policies and the settings.

    Raises:
        ConfigurationError: One of them is wrong.
    """
    app.loader.import_default_modules()
    app.finalize(auto=True)
    cached = (task for task in app.tasks.values() if isinstance(task, CachedTask))
    return StaticFacts(
        settings=cache_of(app).settings,
        policies={task.name: task.cache_policy for task in cached},
        codecs=frozenset((*CODECS.serializers, *CODECS.compressors)),
        result_serializer=app.conf.result_serializer,
        packages=read_packages(app),
    )
