"""The version of a task, which is part of its keys (``cache_version``)."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from ...errors import ConfigurationError
from ..options.policy import SOURCE, Policy

DIGEST_BYTES = 16


def source_version(function: Callable[..., Any]) -> str:
    """A digest of the function's source code.

    Raises:
        OSError: The source isn't available.
    """
    source = inspect.getsource(inspect.unwrap(function))
    return hashlib.blake2b(source.encode(), digest_size=DIGEST_BYTES).hexdigest()


def version_of(task: str, policy: Policy, function: Callable[..., Any]) -> str:
    """Return the version of a task.

    Args:
        task: Its name.
        policy: Its policy.
        function: The function whose source ``cache_version="source"`` follows.

    Raises:
        ConfigurationError: The source isn't available.
    """
    if policy.version != SOURCE:
        return policy.version
    try:
        return f"{SOURCE}:{source_version(function)}"
    except (OSError, TypeError):
        raise ConfigurationError(
            f"task {task!r}: cache_version='source': its source code isn't available; "
            "give a version of your own"
        ) from None
