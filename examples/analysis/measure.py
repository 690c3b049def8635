"""Measuring Python sources: pure functions of their text, and all of it real work.

Nothing here knows Celery or a cache. Results are plain JSON values, so they equal themselves after
a round trip through a message.
"""

import ast
import sysconfig
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import combinations, pairwise, product
from math import log2
from pathlib import Path
from typing import Any

#: The sources that are measured: whatever is installed here.
LIBRARY = Path(sysconfig.get_path("stdlib"))

_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert)
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

#: Functions with fewer syntax nodes aren't compared, and pairs less alike than this aren't kin.
_SHORTEST, _KIN = 30, 0.7

Function = ast.FunctionDef | ast.AsyncFunctionDef
Shape = tuple[str, ...]
Shapes = dict[str, Shape]


def modules(largest: int, smallest: int) -> list[str]:
    """Names of the library's modules between two sizes in bytes, the largest first."""
    sizes = {path.name: path.stat().st_size for path in LIBRARY.glob("*.py")}
    fitting = [name for name, size in sizes.items() if smallest <= size <= largest]
    return sorted(fitting, key=lambda name: (-sizes[name], name))


def package_files(package: str) -> list[str]:
    """Names of a package's files."""
    return sorted(path.relative_to(LIBRARY).as_posix() for path in (LIBRARY / package).glob("*.py"))


def measure(name: str) -> dict[str, Any]:
    """Size, complexity, nesting and vocabulary of a module, and its functions that look alike."""
    tree = _parse(name)
    functions = _functions(tree)
    complexity = {label: _complexity(node) for label, node in functions.items()}
    worst = max(complexity, key=lambda label: (complexity[label], label), default="")
    return {
        "name": name,
        "lines": max((node.end_lineno or 0 for node in tree.body), default=0),
        "functions": len(functions),
        "complexity": sum(complexity.values()),
        "worst": {"function": worst, "complexity": complexity.get(worst, 0)},
        "nesting": max((_nesting(node) for node in functions.values()), default=0),
        "names": _vocabulary(tree),
        "twins": _twins(_shapes(functions)),
    }


def compare(left: str, right: str) -> dict[str, Any]:
    """How alike two modules are, function by function."""
    shapes = _shapes(_functions(_parse(left))), _shapes(_functions(_parse(right)))
    best: dict[str, tuple[float, str]] = {}
    for a, b in product(*shapes):
        alike = _alike(shapes[0][a], shapes[1][b])
        best[a] = max(best.get(a, (0.0, "")), (alike, b))
    closest = max(best, key=lambda label: (best[label], label), default="")
    score, twin = best.get(closest, (0.0, ""))
    return {
        "left": left,
        "right": right,
        "likeness": round(sum(score for score, _ in best.values()) / max(1, len(best)), 4),
        "closest": [closest, twin, round(score, 4)],
    }


def _parse(name: str) -> ast.Module:
    return ast.parse((LIBRARY / name).read_bytes(), filename=name)


def _functions(tree: ast.Module) -> dict[str, Function]:
    found = (node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS))
    return {f"{node.name}:{node.lineno}": node for node in found}


def _complexity(function: Function) -> int:
    """McCabe's number: the ways through a function."""
    ways = 1
    for node in ast.walk(function):
        if isinstance(node, _BRANCHES):
            ways += 1
        elif isinstance(node, ast.BoolOp):
            ways += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            ways += 1 + len(node.ifs)
    return ways


def _nesting(node: ast.AST) -> int:
    inside = max((_nesting(child) for child in ast.iter_child_nodes(node)), default=0)
    return inside + isinstance(node, _BLOCKS)


def _vocabulary(tree: ast.Module) -> dict[str, Any]:
    """How many identifiers there are, and how much each tells (bits of entropy, of pairs too)."""
    used = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {
        "used": len(used),
        "distinct": len(set(used)),
        "entropy": _entropy(Counter(used)),
        "pair_entropy": _entropy(Counter(pairwise(used))),
    }


def _entropy(counts: Counter[Any]) -> float:
    total = counts.total()
    # Sorted: the sum of floats depends on their order.
    return round(-sum(n / total * log2(n / total) for n in sorted(counts.values())), 4)


def _shapes(functions: dict[str, Function]) -> Shapes:
    """Of each function, its syntax nodes in order, whatever the names in it."""
    shapes = {label: tuple(_kinds(function)) for label, function in functions.items()}
    return {label: kinds for label, kinds in shapes.items() if len(kinds) >= _SHORTEST}


def _kinds(node: ast.AST) -> Iterator[str]:
    yield type(node).__name__
    for child in ast.iter_child_nodes(node):
        yield from _kinds(child)


def _alike(left: Shape, right: Shape) -> float:
    """The share of syntax nodes that an alignment matches; 0 when it can't make them kin."""
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    if matcher.real_quick_ratio() < _KIN or matcher.quick_ratio() < _KIN:
        return 0.0
    return matcher.ratio()


def _twins(shapes: Shapes) -> dict[str, Any]:
    """Pairs of functions that have most of their shape in common."""
    alike = {(a, b): _alike(shapes[a], shapes[b]) for a, b in combinations(shapes, 2)}
    closest = max(alike, key=lambda pair: (alike[pair], pair), default=("", ""))
    return {
        "pairs": sum(score >= _KIN for score in alike.values()),
        "closest": [*closest, round(alike.get(closest, 0.0), 4)],
    }
