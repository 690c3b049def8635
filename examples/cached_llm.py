"""Prompts to a language model, cached.

`python -m examples.cached_llm [--semantic]`

With `--semantic`, a question in other words is answered by the same entry: `pip install wordllama`,
which embeds texts by weights inside its wheel.

Asks the OpenAI-compatible endpoint that `OPENAI_BASE_URL` names (with `OPENAI_API_KEY`, and
`OPENAI_MODEL`), or one that it starts: that answers in a second, and counts tokens as words.
"""

import asyncio
import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from examples.embedded import redis_url
from tta_taskcache import CachePrimitive, Semantic, WorkflowContext

PROMPTS = ["What is a cache?", "What is a lease?", "What is a cache?", "what is a  cache?"]

#: Paraphrases, and what only looks like one.
IN_OTHER_WORDS = [
    "How do I enable two-factor authentication?",
    "How can I enable two-factor authentication?",
    "How do I disable two-factor authentication?",
    "How do I enable two-factor authentication?",
]

#: Of a thousand tokens.
PRICE = 0.03


class LocalModel(BaseHTTPRequestHandler):
    """Answers `POST /v1/chat/completions` as OpenAI's endpoint does."""

    seconds = 1.0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = asked["messages"][-1]["content"]
        time.sleep(self.seconds)
        answer = f"You asked: {prompt.strip()} It depends."
        tokens = len(prompt.split()) + len(answer.split())
        body = {
            "object": "chat.completion",
            "model": asked["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": answer}}],
            "usage": {"total_tokens": tokens},
        }
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def endpoint() -> Iterator[str]:
    """The base URL of a model."""
    if given := os.environ.get("OPENAI_BASE_URL"):
        yield given
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), LocalModel) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def normalized(data: dict[str, str], context: WorkflowContext) -> str:
    """Prompts that differ in case and spaces only are one."""
    return " ".join(data["prompt"].lower().split())


def semantic_keys() -> Semantic:
    """Prompts that differ in some words are one, if their vectors are near and the guard agrees."""
    from wordllama import WordLlama  # noqa: PLC0415 - only this mode needs it

    folder = Path(find_spec("wordllama").origin).parent  # type: ignore[union-attr,arg-type]
    model = WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(texts: list[str]) -> list[Any]:
        """Runs in a thread, for the texts of all calls that missed at the same time."""
        return list(model.embed(texts, norm=True))

    # Measure yours in shadow mode: docs/semantic.md.
    return Semantic(on="prompt", embed=embed, threshold=0.9, embedder="wordllama 256")


async def main(redis: str, base: str, *, is_semantic: bool = False) -> None:
    """Run the example."""
    asked: list[str] = []
    prompts = IN_OTHER_WORDS if is_semantic else PROMPTS
    options: Any = {"semantic": semantic_keys()} if is_semantic else {}

    def ask(data: dict[str, str], context: WorkflowContext) -> dict[str, Any]:
        """A plain function: it runs in a thread, so the loop goes on."""
        asked.append(data["prompt"])
        message = {"role": "user", "content": data["prompt"]}
        model = os.environ.get("OPENAI_MODEL", "local")
        request = urllib.request.Request(  # noqa: S310 - the URL is the user's
            f"{base}/chat/completions",
            json.dumps({"model": model, "messages": [message]}).encode(),
            {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}",
            },
        )
        with urllib.request.urlopen(request) as reply:  # noqa: S310 - likewise
            answer = json.load(reply)
        return {
            "text": answer["choices"][0]["message"]["content"],
            "tokens": answer["usage"]["total_tokens"],
        }

    async with CachePrimitive(
        ask,
        name="llm",
        ttl_seconds=3600,
        key_fn=normalized,
        backend="redis",
        redis_url=redis,
        cost=lambda answer: answer["tokens"] / 1000 * PRICE,
        **options,
    ) as llm:
        for prompt in prompts:
            started = time.perf_counter()
            answer, status = await llm.execute_with_status({"prompt": prompt})
            seconds = time.perf_counter() - started
            near = f"  (as {status.matched!r}, {status.similarity:.2f})" if status.matched else ""
            print(f"{seconds:6.3f} s  {prompt!r}: {answer['text']!r}{near}")
        stats = llm.stats().tasks["llm"]
    print(f"{len(prompts)} prompts, {len(asked)} sent; saved ${stats.saved_cost:.5f}")


if __name__ == "__main__":
    with redis_url() as url, endpoint() as base:
        asyncio.run(main(url, base, is_semantic="--semantic" in sys.argv[1:]))
