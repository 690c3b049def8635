"""Task options: the ``cache_*`` attributes of a task class become a policy and a keyer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Task

from ...core.binding import Binder
from ...core.keys import Keyer
from ...core.option_values import Choices
from ...core.policy import read_policy
from .models import models_of
from .serializers import CODECS, reduce

PREFIX = "cache_"

#: Attributes of a cached task that begin like options.
_NOT_OPTIONS = frozenset({"cache_runtime", "cache_policy", "cache_keyer"})

#: Celery's own tasks (chord_unlock, …) are of the app's base class as well, and have effects.
BUILT_IN = "celery."


def attributes(cls: type[Task]) -> dict[str, Any]:
    """The options of a task class by their names without ``cache_``, inherited ones too."""
    names = {name for base in cls.__mro__ for name in vars(base) if name.startswith(PREFIX)}
    options = sorted(names - _NOT_OPTIONS)
    return {name.removeprefix(PREFIX): getattr(cls, name) for name in options}


def read_keyer(cls: type[Task], default_ttl: float) -> Keyer:
    """Validate the options of a task class.

    Raises:
        ConfigurationError: Naming task, option and what is allowed.
    """
    name = cls.name or f"{cls.__module__}.{cls.__name__}"
    binder = Binder(_function(cls)) if _has_run(cls) else None
    choices = Choices(
        arguments=binder.names if binder else None,
        serializers=tuple(CODECS.serializers),
        compressions=tuple(CODECS.compressors),
    )
    options = attributes(cls)
    if name.startswith(BUILT_IN):
        options["enabled"] = False
    policy = read_policy(name, options, choices, default_ttl=default_ttl)
    models = models_of(cls.run) if binder else None
    return Keyer(name, binder, policy, reduce, source=cls.run, models=models)


def _has_run(cls: type[Task]) -> bool:
    return cls.run is not Task.run


def _function(cls: type[Task]) -> Callable[..., Any]:
    """``run`` without ``self``."""
    if isinstance(inspect.getattr_static(cls, "run"), staticmethod):
        return cls.run  # type: ignore[no-any-return]  # Celery has no types
    return partial(cls.run, None)
