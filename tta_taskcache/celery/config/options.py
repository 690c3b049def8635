"""Task options: reading the ``cache_*`` attributes of a task class into a policy and a keyer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from celery import Task

from ...core.arguments.binding import Binder
from ...core.identity.keys import Keyer
from ...core.options.option_values import Choices
from ...core.options.policy import read_policy
from ...errors import ConfigurationError
from .models import models_of
from .serializers import CODECS, reduce

PREFIX = "cache_"

#: Attributes of a cached task with that prefix that are no options.
_NOT_OPTIONS = frozenset({"cache_runtime", "cache_policy", "cache_keyer"})

#: Celery's own tasks (chord_unlock, …) are of the app's base class as well, and have effects.
BUILT_IN = "celery."


def attributes(cls: type[Task]) -> dict[str, Any]:
    """Return the options of a task class by names without ``cache_``, inherited ones too."""
    names = {name for base in cls.__mro__ for name in vars(base) if name.startswith(PREFIX)}
    options = sorted(names - _NOT_OPTIONS)
    return {name.removeprefix(PREFIX): getattr(cls, name) for name in options}


def read_keyer(cls: type[Task], default_ttl: float, secret: str = "") -> Keyer:
    """Validate the options of a task class.

    Args:
        cls: The class.
        default_ttl: The ttl of a task without one (s).
        secret: ``taskcache_secret``.

    Raises:
        ConfigurationError: An option is wrong; the message names task, option and what is allowed.
    """
    name = cls.name or f"{cls.__module__}.{cls.__name__}"
    function = _function(cls) if cls.run is not Task.run else None
    return make_keyer(
        name, attributes(cls), cls.run, function, default_ttl=default_ttl, secret=secret
    )


def make_keyer(
    name: str,
    options: dict[str, Any],
    run: Callable[..., Any],
    function: Callable[..., Any] | None,
    *,
    default_ttl: float,
    secret: str = "",
) -> Keyer:
    """Validate the options of a task.

    Args:
        name: The task's name.
        options: Its options by their names without ``cache_``.
        run: Its body.
        function: The body without ``self``; None for a base class, which has none.
        default_ttl: The ttl of a task without one (s).
        secret: ``taskcache_secret``.

    Raises:
        ConfigurationError: An option is wrong; the message names task, option and what is allowed.
    """
    binder = Binder(function) if function is not None else None
    choices = Choices(
        arguments=binder.names if binder else None,
        serializers=tuple(CODECS.serializers),
        compressions=tuple(CODECS.compressors),
    )
    if name.startswith(BUILT_IN):
        options = {**options, "enabled": False}
    policy = read_policy(name, options, choices, default_ttl=default_ttl)
    if policy.semantic is not None and find_spec("numpy") is None:
        raise ConfigurationError(
            f"task {name!r}: cache_semantic needs an extra: pip install 'tta-taskcache[semantic]'"
        )
    models = models_of(run) if binder else None
    return Keyer(name, binder, policy, reduce, source=run, models=models, secret=secret.encode())


def _function(cls: type[Task]) -> Callable[..., Any]:
    """Return ``run`` without ``self``."""
    if isinstance(inspect.getattr_static(cls, "run"), staticmethod):
        return cls.run  # type: ignore[no-any-return]  # Celery has no types
    return partial(cls.run, None)
