"""A RAG workflow whose steps are cached: retrieve, rerank, answer.

`python -m examples.rag`

The documents are those of Python's own standard library: what its modules say of themselves.
"""

import ast
import asyncio
import math
import re
import sysconfig
import time
from collections import Counter
from pathlib import Path

from examples.embedded import redis_url
from tta_taskcache import CachePrimitive, WorkflowContext

QUESTIONS = [
    "How do I parse command line arguments?",
    "How do I send an email message?",
    "how do i parse command-line arguments?",
    "Which module reads and writes CSV files?",
]


def words(text: str) -> list[str]:
    """The words of a text."""
    return re.findall(r"[a-z]{3,}", text.lower())


def documents() -> dict[str, str]:
    """The docstrings of the standard library's modules, by their names."""
    found = {}
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        except (SyntaxError, UnicodeDecodeError):
            continue
        if text:
            found[path.stem] = text
    return found


class Library:
    """What can be looked for in documents, and how often each step has run."""

    def __init__(self) -> None:
        self.documents = documents()
        self.runs: Counter[str] = Counter()
        self._words = {name: Counter(words(text)) for name, text in self.documents.items()}
        everywhere = Counter(word for counts in self._words.values() for word in counts)
        self._weight = {w: math.log(len(self._words) / n) for w, n in everywhere.items()}

    async def retrieve(self, data: dict[str, list[str]], context: WorkflowContext) -> list[str]:
        """Names of the documents that share the most telling words with a question."""
        self.runs["retrieve"] += 1
        await asyncio.sleep(0.2)  # a vector database
        terms = data["terms"]

        def score(name: str) -> float:
            return sum(self._weight.get(w, 0.0) for w in terms if w in self._words[name])

        return sorted(self._words, key=score, reverse=True)[:10]

    async def rerank(self, data: dict[str, list[str]], context: WorkflowContext) -> list[str]:
        """The best of them: that say it in the fewest words."""
        self.runs["rerank"] += 1
        await asyncio.sleep(0.3)  # a model that compares pairs
        terms = set(data["terms"])

        def score(name: str) -> float:
            counts = self._words[name]
            found = sum(self._weight.get(w, 0.0) for w in terms if w in counts)
            return found / math.log(2 + sum(counts.values()))

        return sorted(data["names"], key=score, reverse=True)[:3]

    async def answer(self, data: dict[str, list[str]], context: WorkflowContext) -> str:
        """What the best document says first."""
        self.runs["answer"] += 1
        await asyncio.sleep(0.5)  # a language model
        best = data["names"][0]
        return f"{best}: {self.documents[best].splitlines()[0]}"


async def main(url: str) -> None:
    """Run the example."""
    library = Library()
    steps = {
        name: CachePrimitive(
            getattr(library, name),
            name=name,
            ttl_seconds=3600,
            backend="redis",
            redis_url=url,
            tags=("library",),
        )
        for name in ("retrieve", "rerank", "answer")
    }
    context = WorkflowContext(workflow_id="rag")
    for question in QUESTIONS:
        started = time.perf_counter()
        terms = sorted(set(words(question)))
        names = await steps["retrieve"].execute({"terms": terms}, context)
        best = await steps["rerank"].execute({"terms": terms, "names": names}, context)
        text = await steps["answer"].execute({"terms": terms, "names": best}, context)
        print(f"{time.perf_counter() - started:6.3f} s  {question}\n          {text}")
    print(f"{len(library.documents)} documents; runs: {dict(library.runs)}")
    await steps["retrieve"].ainvalidate(tags=["library"])  # the documents have changed
    print("after an invalidation of the library:", await steps["answer"].akeys())
    for step in steps.values():
        await step.aclose()


if __name__ == "__main__":
    with redis_url() as url:
        asyncio.run(main(url))
