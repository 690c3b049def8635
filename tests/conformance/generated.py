"""Workflows made up by hypothesis: everything that canvas has, in everything, three deep.

A workflow is described by plain tuples, which hypothesis can shrink and print, and is built of
tasks of any kind. What it returns is one value or many, so that each step can take what comes.
"""

from typing import Any

from celery import chain, chord, group
from celery.canvas import Signature
from hypothesis import strategies as st

from tests.conformance.cases import Build

#: `("call", x, extras)`, `("chain", first, steps)`, `("group", members)`, …
Workflow = tuple[Any, ...]

_numbers = st.integers(0, 3)

#: Callbacks and errbacks, and whether the call fails.
_extras = st.fixed_dictionaries(
    {},
    optional={
        "links": st.integers(1, 2),
        "errback": st.just(True),
        "fails": st.sampled_from([False, False, False, True]),
        "countdown": st.just(0.01),
        "expires": st.just(60.0),
        "priority": st.integers(0, 9),
    },
)
_calls = st.tuples(st.just("call"), _numbers, _extras)
_steps = st.tuples(st.just("step"), _numbers, _extras)
_ends = st.tuples(st.just("end"), _extras)


def _groups(members: st.SearchStrategy[Workflow]) -> st.SearchStrategy[Workflow]:
    return st.tuples(st.just("group"), st.lists(members, min_size=1, max_size=3))


def _larger(smaller: st.SearchStrategy[Workflow]) -> st.SearchStrategy[Workflow]:
    """Workflows that start by themselves, made of others that do."""
    inner_steps = st.lists(st.one_of(_steps, _groups(_steps)), min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.just("chain"), smaller, inner_steps),
        st.tuples(st.just("chord"), st.lists(smaller, min_size=1, max_size=3), _ends),
        _groups(smaller),
    )


workflows: st.SearchStrategy[Workflow] = st.recursive(_calls, _larger, max_leaves=7)


def build(b: Build, workflow: Workflow) -> Signature:
    """Make the signature."""
    return _build(b, workflow)[0]


def _build(b: Build, workflow: Workflow) -> tuple[Signature, bool]:
    """The signature, and whether what it returns is many."""
    match workflow:
        case ("call", x, extras):
            sig = b.fails(x) if extras.get("fails") else b.add(x)
            return _with_extras(b, sig, extras), False
        case ("step", x, extras):
            sig = b.spoil() if extras.get("fails") else b.more(x)
            return _with_extras(b, sig, extras), False
        case ("end", extras):
            sig = b.spoil() if extras.get("fails") else b.collect()
            return _with_extras(b, sig, extras), False
        case ("group", members):
            return group([_build(b, each)[0] for each in members]), True
        case ("chord", members, end):
            return chord([_build(b, each)[0] for each in members], _build(b, end)[0]), False
        case ("chain", first, steps):
            return _chain(b, first, steps)
    raise AssertionError(workflow)


def _chain(b: Build, first: Workflow, steps: list[Workflow]) -> tuple[Signature, bool]:
    start, many = _build(b, first)
    parts = [start]
    for step in steps:
        if many:  # what comes next takes one value
            parts.append(b.collect())
        sig, many = _build(b, step)
        parts.append(sig)
    return chain(*parts), many


def _with_extras(b: Build, sig: Signature, extras: dict[str, Any]) -> Signature:
    for i in range(extras.get("links", 0)):
        sig.link(b.note(f"note {i} of "))
    if extras.get("errback"):
        sig.link_error(b.errback("error"))
    options = {
        name: extras[name] for name in ("countdown", "expires", "priority") if name in extras
    }
    return sig.set(**{name: extras[name] for name in options if name in extras})
