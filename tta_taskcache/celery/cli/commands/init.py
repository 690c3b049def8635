"""``cache init``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from celery import Celery
from kombu.utils.url import maybe_sanitize_url

from ....errors import StoreUnavailable
from ....stores.connections.connection import Link
from ....stores.redis.health import examine
from ...api.cached_task import CachedTask
from ...api.task_cache import cache_of
from ...config.result_backend import key_prefix
from ...config.settings import NAMES, Settings, result_backend_url
from ...patches.internals import config_source
from .. import formatting
from ..app_setup import LOCAL, AppSetup, ConfigKind
from ..session import PATIENCE, USAGE, CacheCommand, Failure, example, note

#: Main name of the app that Celery makes when the command line names none.
_DEFAULT_APP = "default"


@click.command(
    cls=CacheCommand,
    short_help="Say what the app has and lacks, and write settings.",
    epilog=example(
        "celery -A proj cache init",
        "celery -A proj cache init >> proj/celeryconfig.py",
        "celery -A proj cache init --output taskcache_settings.py",
    ),
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the settings to this new file, not to stdout.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and write nothing.")
@click.pass_obj
def init(context: Any, output: Path | None, as_json: bool) -> None:
    """Write the settings that the cache needs in this app, and say what was found.

    Looked at are how the app is set up (Django, a configuration module, app.conf), its broker,
    result backend, serializers and tasks, and whether the cache's Redis answers. The settings go to
    stdout in the form in which the app has its others, or with --output to a file, which must be
    new: nothing is ever overwritten. What was found, and what is missing, goes to stderr.

    Settings that the app has are left as they are, and with a result backend in Redis few are
    needed: the cache is on by itself for each task with base=CachedTask.
    """
    setup = _read_setup(context.app)
    if as_json:
        click.echo(formatting.machine(_report(setup)))
        return
    note("\n".join(_found(setup)))
    lines = setup.lines(as_module=output is not None)
    if not setup.settings():
        note(f"\nNothing to write: {setup.place} has what the cache needs.")
    elif output is None:
        note(f"\nAdd {setup.where_to_add}:")
        click.echo("\n".join(lines))
    else:
        _write(output, lines)
        note(f"\nWrote {output}. {_how_to_load(setup, output)}")
    note("\nThen restart workers and producers, and ask: celery -A proj cache doctor")


def _found(setup: AppSetup) -> list[str]:
    lines = [f"{head:<15} {text}" for head, text in setup.found().items()]
    missing = list(setup.missing())
    return lines + [f"{'' if i else 'Missing':<15} {text}" for i, text in enumerate(missing)]


def _report(setup: AppSetup) -> dict[str, Any]:
    names = {head.lower().replace(" ", "_"): text for head, text in setup.found().items()}
    return {
        "found": names | {"cached_tasks": setup.cached, "settings": setup.given},
        "missing": list(setup.missing()),
        "settings": {name: value for name, value, _ in setup.settings()},
        "lines": setup.lines() if setup.settings() else [],
    }


def _write(path: Path, lines: list[str]) -> None:
    text = "\n".join(['"""Settings of tta_taskcache."""', "", *lines, ""])
    try:
        with path.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise Failure(
            f"{path}: there already; nothing was written (name a new file, or add the lines "
            f"yourself: celery -A proj cache init >> {path})",
            USAGE,
        ) from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", USAGE) from None


def _how_to_load(setup: AppSetup, path: Path) -> str:
    if setup.kind is ConfigKind.APP:
        return f"Have the app read it: app.config_from_object({path.stem!r})."
    return f"Import it in {setup.place}: from {path.stem} import *"


def _read_setup(app: Celery) -> AppSetup:
    """Read how an app is set up, and ask the cache's Redis what it is.

    Raises:
        ConfigurationError: A setting or task option is wrong.
    """
    app.loader.import_default_modules()
    app.finalize()
    settings = cache_of(app).settings
    backends = result_backend_url(app)
    kind, source = _place(app)
    tasks = {name: task for name, task in app.tasks.items() if not _is_librarys(name)}
    cached = tuple(sorted(name for name, task in tasks.items() if isinstance(task, CachedTask)))
    given = tuple(name for name in NAMES if _is_given(app, settings, name))
    setup = AppSetup(
        name=app.main or "",
        kind=kind,
        source=source,
        prefix=app.conf.prefix or "",
        broker=_broker(app),
        result_backend=_backend(app.conf.result_backend),
        serializers=f"{app.conf.task_serializer} for messages, {app.conf.result_serializer} for "
        "results",
        cached=cached,
        plain=len(tasks) - len(cached),
        given=given,
        is_backends=settings.url is not None and settings.url == backends,
        lacks_django_app=kind is ConfigKind.DJANGO and not _has_django_app(),
    )
    if "namespace" not in given and not key_prefix(app.conf):
        setup = replace(setup, namespace=_namespace(setup.name))
    if settings.url is None:
        url, remark = _suggested_url(app)
        return replace(setup, url=url, remark=remark)
    return _ask(setup, settings.url, settings)


def _is_librarys(name: str) -> bool:
    return name.startswith(("celery.", "tta_taskcache."))


def _place(app: Celery) -> tuple[ConfigKind, str]:
    """Return where an app's settings are written, and the name of that module."""
    source = config_source(app)
    django = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    if source.partition(":")[0] == "django.conf" or (django and source == django):
        return ConfigKind.DJANGO, django
    return (ConfigKind.MODULE, source) if source else (ConfigKind.APP, "")


def _has_django_app() -> bool:
    from django.conf import settings as django_settings  # noqa: PLC0415 - in Django's apps only

    installed: list[str] = django_settings.INSTALLED_APPS
    return any(name.startswith("tta_taskcache.django") for name in installed)


def _is_given(app: Celery, settings: Settings, name: str) -> bool:
    """Whether an app has a setting, in its configuration or as a keyword of ``TaskCache``."""
    if name == "url":
        return settings.url is not None and settings.url != result_backend_url(app)
    value, default = getattr(settings, name), getattr(Settings(), name)
    return bool(value != (key_prefix(app.conf) + default if name == "namespace" else default))


def _broker(app: Celery) -> str:
    with app.connection_for_write() as connection:  # connects to nothing
        default = connection.as_uri()
    return _without_password(app.conf.broker_write_url or default)


def _backend(backend: object) -> str:
    text = _without_password(backend) if backend else ""
    return "" if text.startswith("disabled") else text


def _without_password(where: object) -> str:
    urls = where if isinstance(where, (list, tuple)) else str(where).split(";")
    return formatting.printable(", ".join(maybe_sanitize_url(str(url)) for url in urls))


def _namespace(name: str) -> str:
    """Return the namespace for an app of this name; empty where the default has to do."""
    first = name.partition(".")[0]
    is_own = first.isidentifier() and not first.startswith("__") and first != _DEFAULT_APP
    return first if is_own else ""


def _suggested_url(app: Celery) -> tuple[str, str]:
    """Return a URL for the cache where there is none, and what to know about it."""
    with app.connection_for_write() as connection:
        if connection.transport.driver_type != "redis" or not connection.hostname:
            return LOCAL, "A Redis that may evict: maxmemory-policy volatile-lru."
        database = str(connection.virtual_host or "0").strip("/")
        other = int(database) + 1 if database.isdigit() else 1
        login = ":PASSWORD@" if connection.password else ""
        url = f"redis://{login}{connection.hostname}:{connection.port or 6379}/{other}"
        return url, "The broker's Redis. Better is one of its own, which may evict."


def _ask(setup: AppSetup, url: str, settings: Settings) -> AppSetup:
    """Add what the cache's Redis says of itself."""
    link = Link(url, max(settings.timeout, PATIENCE))
    setup = replace(setup, cache=f"redis {link.place}")
    try:
        health = examine(link, settings.namespace)
    except StoreUnavailable as error:
        return replace(setup, fault=str(error).removeprefix(f"redis {link.place}: "))
    kinds = {f"{server.product} {server.version}" for server in health.servers}
    is_used = bool(health.log.incarnation)
    return replace(setup, server=", ".join(sorted(kinds)), is_used=is_used)
