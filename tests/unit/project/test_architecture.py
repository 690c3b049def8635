"""The shape of the code: its layers, its names, and what it touches of others."""

import ast
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import tta_taskcache
from tta_taskcache.celery.cli import COMMANDS
from tta_taskcache.celery.config.settings import NAMES
from tta_taskcache.core.options.policy import OPTIONS
from tta_taskcache.observability.metrics.metric_families import FAMILIES

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "tta_taskcache"
PATCHES = PACKAGE / "celery" / "patches"
LINTER = Path(sys.executable).with_name("lint-imports")

#: What may be private to a module and is read next door: its own class, and what forks renew.
OURS = {
    "_taskcache", "_adopted", "_cache_keyer", "_cache_provider", "_taskcache_site", "_reset",
    "_wakeups", "_watched",
    "_client", "_forget",
}  # fmt: skip


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def private_names(tree: ast.Module) -> Iterator[str]:
    """Private names of something else than ``self`` and the like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            owner = node.value
            is_own = isinstance(owner, ast.Name) and owner.id in ("self", "cls", "me")
            if not is_own and not node.attr.startswith("__") and node.attr not in OURS:
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if any(
                part.startswith("_") and part != "__future__" for part in node.module.split(".")
            ):
                yield node.module
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))


def test_private_names_of_celery_are_read_in_patches_only() -> None:
    """Those of redis-py, by the stores that subclass its clients: docs/patches.md. And one of
    Sentry's: the start of a streamed span is no argument.
    """
    found = {
        str(path.relative_to(PACKAGE)): names
        for path, tree in modules()
        if PATCHES not in path.parents and (names := set(private_names(tree)))
    }
    assert found == {
        "observability/sentry.py": {"_start_timestamp"},
        "stores/connections/cluster.py": {"_execute_command", "_get_command_keys", "_lock"},
        "stores/connections/deadline.py": {"_connect"},
    }


def test_nothing_of_celery_is_replaced_outside_of_patches() -> None:
    """Attributes of names that were imported from Celery, kombu or redis."""
    replaced = []
    for path, tree in modules():
        foreign = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").split(".")[0] in ("celery", "kombu", "redis", "billiard")
            for alias in node.names
        }
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            replaced += [
                f"{path.relative_to(PACKAGE)}: {ast.unparse(target)}"
                for target in targets
                if isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id in (*foreign, "consumer", "backend", "app")
                and PATCHES not in path.parents
            ]
    assert replaced == []


def test_each_patch_is_on_the_page() -> None:
    page = (ROOT / "docs" / "patches.md").read_text()
    names = [path.name for path in PATCHES.rglob("*.py") if path.name != "__init__.py"]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_no_stem_is_in_two_places() -> None:
    stems = Counter(path.stem for path, _ in modules() if not path.stem.startswith("__"))
    assert [stem for stem, count in stems.items() if count > 1] == []


def test_no_class_name_is_in_two_places() -> None:
    names = Counter(
        node.name.lstrip("_")
        for _, tree in modules()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_folders_hold_nine_modules_at_most() -> None:
    """Two are plain lists: a file for each command, and one for each contract."""
    sizes = Counter(path.parent for path, _ in modules() if path.name != "__init__.py")
    large = {str(folder.relative_to(PACKAGE)) for folder, size in sizes.items() if size > 9}
    assert large == {"celery/cli/commands", "testing/contract"}


def test_each_folder_says_what_lives_there() -> None:
    folders = [path.parent for path, _ in modules() if path.name == "__init__.py"]
    silent = [
        folder
        for folder in folders
        if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("celery/config/settings.py", "from ..api import task_cache"),
        ("celery/calls/context.py", "from ..lookup import lookup"),
        ("cache/engine/reader.py", "from ...celery.calls import context"),
        # Between neighbours in a folder: a circle.
        ("celery/calls/call_request.py", "from . import hot_calls"),
        ("celery/api/runtime_provider.py", "from . import task_cache"),
        ("core/entries/entry.py", "from . import marks"),
    ],
)
def test_an_arrow_upwards_or_a_circle_fails_the_linter(
    tmp_path: Path, below: str, above: str
) -> None:
    """Also one for types only, which is how circles come about."""
    shutil.copytree(PACKAGE, tmp_path / "tta_taskcache")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    module = tmp_path / "tta_taskcache" / below
    module.write_text(
        module.read_text()
        + f"\n\nfrom typing import TYPE_CHECKING as CHECKING\nif CHECKING:\n    {above}\n"
    )
    command = [LINTER, "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "BROKEN" in done.stdout


def test_s7_importing_the_package_imports_no_celery() -> None:
    script = (
        "import sys, tta_taskcache as t; t.TaskCacheError; t.CacheMiss\n"
        "print([name for name in ('celery', 'kombu', 'redis') if name in sys.modules])\n"
        "from celery import Celery; before = Celery.task\n"
        "import tta_taskcache; print(Celery.task is before)\n"
        "tta_taskcache.CachedTask; print(Celery.task is before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:3] == ["[]", "True", "False"]


def test_s7_primitives_import_no_celery() -> None:
    script = (
        "import asyncio, sys\n"
        "from tta_taskcache import CachePrimitive, FallbackPrimitive, RouterPrimitive, "
        "WorkflowContext, cached, MISSING, CacheError\n"
        "async def double(data, context): return 2 * data\n"
        "print(asyncio.run(CachePrimitive(double).execute(4, WorkflowContext())))\n"
        "print([name for name in ('celery', 'kombu', 'billiard') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "8\n[]\n"


def test_the_public_surface_is_what_it_was() -> None:
    assert len(tta_taskcache.__all__) <= 22
    assert sorted(tta_taskcache.__all__) == [
        "CacheError", "CacheMiss", "CachePrimitive", "CachedTask", "ConfigurationError",
        "FallbackPrimitive", "Invalidate", "MISSING", "MissingContext", "NOT_MODIFIED",
        "RouterPrimitive", "Semantic", "StoreUnavailable", "TaskCache", "TaskCacheError",
        "UncacheableCall", "Warm", "WorkflowContext", "cache_control", "cache_previous",
        "cached", "cached_task",
    ]  # fmt: skip
    assert all(getattr(tta_taskcache, name) is not None for name in tta_taskcache.__all__)
    assert sorted(OPTIONS) == [
        "coalesce", "compression", "cost", "depends", "each", "enabled", "errors", "if", "ignore",
        "jitter", "key", "max_bytes", "min_run", "refresh_queue", "semantic", "serializer",
        "shadow", "sites", "stale_if_error", "stale_while_revalidate", "tags", "ttl", "validate",
        "vary", "verify", "version", "warm",
    ]  # fmt: skip
    assert sorted(NAMES) == [
        "default_ttl", "enabled", "l1_max_bytes", "l1_max_entries", "l1_max_staleness", "lease_ttl",
        "max_followers", "metrics_host", "metrics_namespace", "metrics_port", "namespace",
        "observers", "secret", "send_events", "shadow", "timeout", "url", "wait_replicas",
        "write_behind",
    ]  # fmt: skip
    assert COMMANDS == (
        "init", "stats", "top", "ls", "show", "explain", "invalidate", "sweep", "warm", "semantic",
        "doctor", "dashboards",
    )  # fmt: skip
    assert sorted(family.name for family in FAMILIES) == [
        "circuit_open", "circuit_opened", "coalesced", "coalesced_saved_cost",
        "coalesced_saved_seconds", "embed_cost", "embed_seconds", "errors", "evictions", "fills",
        "fills_refused", "followers", "hits", "invalidation_lag_seconds", "invalidations",
        "l1_bytes", "l1_entries", "latency_seconds", "lease_wait_seconds", "misses", "run_cost",
        "run_seconds", "saved_cost", "saved_seconds", "semantic_similarity", "shadow_hits",
        "shadow_misses", "shadow_saved_cost", "shadow_saved_seconds", "stale_served",
        "verifications",
    ]  # fmt: skip


def test_no_module_of_tests_is_longer_than_400_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert [str(path) for path, length in lengths.items() if length > 400] == []
