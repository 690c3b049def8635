"""What a workflow left behind, in a form in which two runs can be compared.

Ids differ from run to run, so each task is described by what it is and by what its relations are:
parent, root, children in their order, and the other members of its group. A chord's body is a child
of whichever member of the header happens to end last: of which isn't compared.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from celery.result import AsyncResult, GroupResult

from tests.conformance.witness import Node, Witness, same


@dataclass(frozen=True)
class Outcome:
    """What is compared.

    Attributes:
        view: What the caller gets: values, states and relations of the results.
        tasks: Each task that ended, described; how often.
        tries: Likewise those that are tried again.
        effects: What was called that isn't a task.
    """

    view: str
    tasks: Counter[str]
    tries: Counter[str]
    effects: list[str]

    def difference(self, other: "Outcome", *, tries: bool = True) -> str:
        """How another one differs, for people; empty when it doesn't.

        Args:
            other: The other one.
            tries: Whether what is tried again counts: an answer needs no second try.
        """
        lines: list[str] = []
        if self.view != other.view:
            lines += ["the caller sees", f"  - {self.view}", f"  + {other.view}"]
        for mine, theirs in ((self.tasks, other.tasks), (self.tries, other.tries))[: 1 + tries]:
            lines += [f"  - {task}" for task in (mine - theirs).elements()]
            lines += [f"  + {task}" for task in (theirs - mine).elements()]
        if self.effects != other.effects:
            lines += [f"  - {self.effects}", f"  + {other.effects}"]
        return "\n".join(lines)


class Describer:
    """Describes tasks and results by what they are."""

    def __init__(self, witness: Witness, *, stored: bool) -> None:
        self._backend = witness.app.backend
        self._stored = stored
        self._nodes = witness.nodes()
        # Tried again, or replaced, it has the same id: then only how it ended counts.
        ended = [node for node in self._nodes if node.state != "RETRY"]
        names: dict[str, set[str]] = defaultdict(set)
        for node in ended:
            names[node.id].add(self._label(node))
        self._labels = {task_id: " or ".join(sorted(found)) for task_id, found in names.items()}
        self._groups: dict[str, list[str]] = defaultdict(list)
        for node in ended:
            if node.group:
                self._groups[node.group].append(self._label(node))
        self._roots = self._shared_roots()

    def _shared_roots(self) -> dict[str, set[str]]:
        """Of a chord's body the root is that of whichever member ends last."""
        headers: dict[str, set[str]] = defaultdict(set)
        for node in self._nodes:
            if node.in_chord and node.group and node.root:
                headers[node.group].add(node.root)
        shared: dict[str, set[str]] = {}
        for roots in headers.values():
            merged = roots.union(*(shared.get(root, set()) for root in roots))
            shared.update(dict.fromkeys(merged, merged))
        return shared

    def root(self, task_id: str | None) -> str:
        roots = self._roots.get(task_id or "", {task_id})
        return " or ".join(sorted(map(self.label, roots)))

    def parent(self, node: Node) -> str:
        if node.parent == node.id:  # tried again: Celery makes it its own child
            tries = (other for other in self._nodes if other.id == node.id)
            node = next((first for first in tries if first.parent != node.id), node)
        above = next((other for other in self._nodes if other.id == node.parent), None)
        if above is not None and node.id in above.body:
            return f"one of {sorted(self._groups[above.group or ''])}"
        return self.label(node.parent)

    def _label(self, node: Node) -> str:
        words = [f"{node.name}{node.call}", node.state, node.value]
        if node.index is not None:
            words.append(f"#{node.index}")
        return " ".join(words)

    def label(self, task_id: str | None) -> str:
        if task_id is None:
            return "nothing"
        return self._labels.get(task_id, "what never ran")

    def tasks(self, *, tries: bool) -> Counter[str]:
        return Counter(
            same(self._describe(node)) for node in self._nodes if (node.state == "RETRY") is tries
        )

    def _describe(self, node: Node) -> str:
        told = [
            self._label(node),
            f"signals {','.join(node.signals)}",
            f"under {self.parent(node)}",
            f"root {self.root(node.root)}",
            f"children {[self.label(child) for child in node.children if child not in node.body]}",
        ]
        if node.group:
            told.append(f"beside {sorted(self._groups[node.group])}")
        if node.in_chord:
            told.append("in a chord")
        if node.stamps != "[]":
            told.append(f"stamps {node.stamps}")
        if self._stored and node.state != "RETRY":
            told.append(f"stored {self._meta(node)}")
        return "; ".join(told)

    def _meta(self, node: Node) -> str:
        meta = self._backend.get_task_meta(node.id, cache=False)
        stored = meta.get("children") or ()
        children = [self.tree(child) for child in stored if child[0][0] not in node.body]
        return f"{meta['status']} {meta['result']!r} {children}"

    def tree(self, stored: Any) -> str:
        """A result as it is stored with its parent's: `((id, parent), members)`."""
        (task_id, _), members = stored
        if members is None:
            return self.label(task_id)
        return f"[{', '.join(map(self.tree, members))}]"

    def view(self, result: Any) -> str:
        """A result as its caller has it, with all that came before it."""
        if isinstance(result, GroupResult):
            seen = f"[{', '.join(map(self.view, result.results))}]"
        elif isinstance(result, AsyncResult):
            seen = self.label(result.id)
            if self._stored:
                seen += f" {result.state} {result.result!r}"
        else:
            seen = repr(result)
        parent = getattr(result, "parent", None)
        return f"{seen} after ({self.view(parent)})" if parent is not None else seen


def outcome(witness: Witness, result: Any, *, stored: bool = True) -> Outcome:
    """Describe what came of a workflow that has ended.

    Args:
        witness: What saw it.
        result: What its `apply_async` returned.
        stored: Whether there is a result backend to ask.
    """
    describer = Describer(witness, stored=stored)
    return Outcome(
        same(describer.view(result)),
        describer.tasks(tries=False),
        describer.tasks(tries=True),
        witness.effects(),
    )
