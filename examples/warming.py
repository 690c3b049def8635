"""The first users wait for nothing: common questions are asked before them.

`python -m examples.warming`
"""

import asyncio
import time

from examples.embedded import redis_url
from tta_taskcache import CachePrimitive, WorkflowContext

QUESTIONS = [f"question {i}" for i in range(20)]


async def main(url: str) -> None:
    """Run the example."""

    async def answer(data: dict[str, str], context: WorkflowContext) -> str:
        await asyncio.sleep(0.2)
        return data["prompt"].upper()

    def make() -> CachePrimitive:
        return CachePrimitive(
            answer,
            name="answer",
            key_fn=lambda data, context: data["prompt"],
            backend="redis",
            redis_url=url,
        )

    async with make() as deploying:  # a process that is started before the others
        started = time.perf_counter()
        context = WorkflowContext(workflow_id="cache-warming")
        await asyncio.gather(*(deploying.execute({"prompt": q}, context) for q in QUESTIONS))
        print(f"{len(QUESTIONS)} answers warmed in {time.perf_counter() - started:.2f} s")
    async with make() as serving:  # another, whose memory is empty
        started = time.perf_counter()
        for question in QUESTIONS:
            await serving.execute({"prompt": question})
        print(f"{len(QUESTIONS)} answers served in {time.perf_counter() - started:.2f} s")
        print("runs while serving:", serving.stats().tasks["answer"].runs)


if __name__ == "__main__":
    with redis_url() as url:
        asyncio.run(main(url))
