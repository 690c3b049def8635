"""The pytest plugin: the fixture ``taskcache`` and the marker of that name (docs/testing.md).

It is loaded in every test run of an environment: nothing else is imported before a test asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..celery.api.setup.isolation import CacheUnderTest

#: Fixtures of Celery's plugin that make an app.
APPS = ("celery_app", "celery_session_app")


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line(
        "markers",
        "taskcache(*modes, shared=False): the test has a result cache of its own; 'off': every "
        "call runs; 'shadow': calls are looked up and run; 'strict': what goes wrong in the cache "
        "fails the test; shared: the cache that the app's settings name, cleared",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give what is marked the fixture, whether it asks for it or not."""
    names: list[str] | None = getattr(item, "fixturenames", None)
    if names is not None and "taskcache" not in names and item.get_closest_marker("taskcache"):
        names.append("taskcache")


@pytest.fixture
def taskcache_app(request: pytest.FixtureRequest) -> Any:
    """The app whose cache a test has: that of Celery's fixtures, else the current one.

    To be overridden where it is another.
    """
    from ..celery.patches.internals import current_app  # noqa: PLC0415 - see above

    for name in APPS:
        if name in request.fixturenames:
            return request.getfixturevalue(name)
    return current_app()


@pytest.fixture
def taskcache(request: pytest.FixtureRequest, taskcache_app: Any) -> Iterator[CacheUnderTest]:
    """An empty result cache of the test's own, in memory.

    ``taskcache.hits(task)`` and ``taskcache.runs(task)`` count, ``taskcache.travel(60)`` lets a
    minute pass, ``taskcache.cache`` is the app's ``TaskCache``.
    """
    from ..celery.api.setup.isolation import isolated  # noqa: PLC0415 - see above

    modes, shared = _read_marker(request.node.get_closest_marker("taskcache"))
    with isolated(taskcache_app, modes, shared=shared) as tested:
        yield tested
    if "strict" in modes and tested.complaints:
        pytest.fail("the cache complains: " + "; ".join(tested.complaints), pytrace=False)


def _read_marker(marker: pytest.Mark | None) -> tuple[tuple[str, ...], bool]:
    """The modes that a test asks for, and whether its cache is shared.

    Raises:
        pytest.UsageError: It asks for something else.
    """
    from ..celery.api.setup.isolation import MODES  # noqa: PLC0415 - see above

    if marker is None:
        return (), False
    unknown = [*(set(marker.args) - set(MODES)), *(set(marker.kwargs) - {"shared"})]
    if unknown:
        raise pytest.UsageError(
            f"@pytest.mark.taskcache: unknown {', '.join(map(repr, unknown))} "
            f"(allowed: {', '.join(map(repr, MODES))}, shared=True)"
        )
    return marker.args, bool(marker.kwargs.get("shared"))
