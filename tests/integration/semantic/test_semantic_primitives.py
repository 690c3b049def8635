"""``semantic`` on primitives and functions of asyncio: in memory and in Redis."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from tests.integration.semantic.harness import embed
from tests.support.servers import Server
from tta_taskcache import MISSING, CacheMiss, CachePrimitive, Semantic, WorkflowContext, cached

Make = Callable[..., CachePrimitive]


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - whatever is waited for tells nobody
            await asyncio.sleep(0.001)


class Model:
    """A source that counts its runs, and the embedder of its prompts."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.go_on = threading.Event()
        self.go_on.set()

    async def __call__(self, data: Any, _: Any) -> str:
        prompt = data if isinstance(data, str) else data["prompt"]
        self.runs.append(prompt)
        return f"re: {prompt}"

    def embed(self, texts: list[str]) -> list[Any]:
        self.batches.append(texts)
        self.threads.add(threading.get_ident())
        assert self.go_on.wait(60)
        return embed(texts)

    async def embed_later(self, texts: list[str]) -> list[Any]:
        return self.embed(texts)

    def semantic(self, **options: Any) -> Semantic:
        own = {"on": "prompt", "embed": self.embed, "threshold": 0.9, "embedder": "toy"}
        return Semantic(**{**own, **options})


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest, redis_server: Server, model: Model) -> Make:
    place: dict[str, Any] = {}
    if request.param == "redis":
        place = {"backend": "redis", "redis_url": redis_server.url(), "timeout": 5.0}

    def make(semantic: Semantic | None = None, **options: Any) -> CachePrimitive:
        chosen = semantic or model.semantic()
        return CachePrimitive(model, **place, **{"name": "model", "semantic": chosen, **options})

    return make


def ask(prompt: str, **rest: Any) -> dict[str, Any]:
    return {"prompt": prompt, **rest}


@in_loop
async def test_a_neighbour_answers_and_says_so(make: Make, model: Model) -> None:
    async with make(tags=("kind:{kind}",), cost=2.0) as cache:
        assert await cache.execute(ask("cats are what?", kind="a")) == "re: cats are what?"
        assert model.batches == [["cats are what?"]]
        assert await cache.execute(ask("cats are what?", kind="a")) == "re: cats are what?"
        assert model.batches == [["cats are what?"]]  # an exact hit embeds nothing
        value, status = await cache.execute_with_status(ask("cats?", kind="a"))
        assert (value, status.hit, status.matched) == ("re: cats are what?", True, "cats are what?")
        assert 0.9 <= (status.similarity or 0) < 1
        _, exact = await cache.execute_with_status(ask("cats are what?", kind="a"))
        assert (exact.hit, exact.similarity, exact.matched) == (True, None, None)
        # The dogs, another kind, and the guard's veto run.
        for data in (ask("dogs?", kind="a"), ask("cats?", kind="b"), ask("cats aren't?", kind="a")):
            _, status = await cache.execute_with_status(data)
            assert not status.hit
        assert len(model.runs) == 4
        await cache.ainvalidate(tags=["kind:a"])
        assert await cache.execute(ask("cats, now?", kind="a")) == "re: cats, now?"
        stats = cache.stats().tasks["model"]
        assert stats.saved_cost == 6.0
        assert sum(n for label, n in stats.semantic.items() if label.endswith("/hit")) == 1


@in_loop
async def test_partitions_are_users_contexts_and_versions(make: Make, model: Model) -> None:
    async with make() as cache, make(vary=("tenant",)) as varied, make(version="2") as newer:
        for user in ("u1", "u2", None):
            await cache.execute(ask("cats are what?"), WorkflowContext(user_id=user))
        for tenant in ("a", "b"):
            await varied.execute(ask("cats are what?"), WorkflowContext(tenant=tenant))
        await newer.execute(ask("cats are what?"))
        assert len(model.runs) == 6
        assert await cache.execute(ask("cats?"), WorkflowContext(user_id="u2"))
        assert await varied.execute(ask("cats?"), WorkflowContext(tenant="b"))
        assert len(model.runs) == 6
        assert await cache.execute(ask("cats?"), WorkflowContext(user_id="u3")) == "re: cats?"


@in_loop
async def test_the_partition_is_what_key_fn_makes_of_the_rest(make: Make, model: Model) -> None:
    """What ``key_fn`` leaves out, such as an id of the request, parts no calls."""

    def key_fn(data: dict[str, Any], _: Any) -> str:
        return f"{data['model']}:{' '.join(data['prompt'].lower().split())}"

    async with make(key_fn=key_fn) as cache:
        await cache.execute(ask("cats are what?", model="small", request=1))
        assert await cache.execute(ask("CATS are  what?", model="small", request=2))
        assert len(model.batches) == 1
        answer = await cache.execute(ask("cats?", model="small", request=3))
        assert answer == "re: cats are what?"
        assert await cache.execute(ask("cats?", model="large", request=4)) == "re: cats?"

    def needs_a_text(data: dict[str, Any], _: Any) -> str:
        return str(data["prompt"].split()[0])

    async with make(key_fn=needs_a_text) as cache:  # then only exact keys count
        assert await cache.execute(ask("ants?")) == "re: ants?"
        assert cache.stats().faults == 1


@in_loop
async def test_data_that_are_a_text_are_compared_whole(make: Make, model: Model) -> None:
    async with make() as cache:
        await cache.execute("cats are what?")
        assert await cache.execute("cats?") == "re: cats are what?"
        for other in (ask("cats?"), {"prompt": "cats?", "x": 1}):
            await cache.execute(other)
        assert len(model.runs) == 3


@in_loop
async def test_a_call_may_turn_it_off_or_raise_the_threshold(make: Make, model: Model) -> None:
    async with make() as cache:
        assert await cache.aset(ask("cats are what?"), "pets")
        assert await cache.aget(ask("cats?")) == "pets"
        assert await cache.aget(ask("cats?"), semantic=False) is MISSING
        assert await cache.aget(ask("cats?"), semantic=0.9999) is MISSING
        assert await cache.execute(ask("cats!"), cache="only") == "pets"
        with pytest.raises(CacheMiss):
            await cache.execute(ask("cats!"), cache="only", semantic=False)
        assert await cache.execute(ask("cats!"), cache="no-store", semantic=False) == "re: cats!"
        assert await cache.execute(ask("cats!"), semantic=0.9999) == "re: cats!"
        assert await cache.execute(ask("cats, new?"), cache="refresh") == "re: cats, new?"
        with pytest.raises(ValueError, match=r"semantic=0\.5: .* never lower it"):
            await cache.execute(ask("cats?"), semantic=0.5)
    async with CachePrimitive(model, name="plain") as plain:
        with pytest.raises(ValueError, match="has no semantic keys"):
            await plain.execute(ask("cats?"), semantic=0.95)


def test_methods_without_a_loop(make: Make, model: Model) -> None:
    cache = make()
    assert cache.set(ask("cats are what?"), "pets")
    assert cache.get(ask("cats?")) == "pets"
    assert cache.get(ask("cats?"), semantic=False) is MISSING

    async def inside() -> None:
        # They wait for nothing there: so only the exact key counts.
        assert cache.get(ask("cats?")) is MISSING
        assert cache.get(ask("cats are what?")) == "pets"
        assert cache.set(ask("dogs are what?"), "more pets")
        await cache.aclose()

    before = len(model.batches)
    asyncio.run(inside())
    assert len(model.batches) == before


@pytest.mark.parametrize("name", ["embed", "embed_later"])
@in_loop
async def test_calls_at_once_are_embedded_together(make: Make, model: Model, name: str) -> None:
    async with make(model.semantic(embed=getattr(model, name))) as cache:
        texts = [f"x{i} is what?" for i in range(300)]
        answers = await asyncio.gather(*(cache.execute(ask(text)) for text in texts))
        assert answers == [f"re: {text}" for text in texts]
        assert len(model.batches) < 30
        assert (threading.get_ident() in model.threads) == (name == "embed_later")


@in_loop
async def test_equal_calls_at_once_share_one_neighbour(make: Make, model: Model) -> None:
    async with make() as cache:
        await cache.aset(ask("cats are what?"), {"say": "pets"})
        model.batches.clear()
        answers = await asyncio.gather(*(cache.execute(ask("cats?")) for _ in range(500)))
        assert answers == [{"say": "pets"}] * 500
        assert len({id(answer) for answer in answers}) == 500  # each has its own
        # Those that began after the neighbour was read look again.
        assert 1 <= len(model.batches) < 10
        assert model.runs == []


@in_loop
async def test_a_follower_takes_no_neighbour_that_it_doesnt_accept(
    make: Make, model: Model
) -> None:
    async with make() as cache:
        await cache.aset(ask("cats are what?"), "pets")
        model.batches.clear()
        model.go_on.clear()
        leader = asyncio.create_task(cache.execute(ask("cats?")))
        await until(lambda: model.batches == [["cats?"]])
        strict = asyncio.create_task(cache.execute(ask("cats?"), semantic=0.9999))
        exact = asyncio.create_task(cache.execute(ask("cats?"), semantic=False))
        like = asyncio.create_task(cache.execute(ask("cats?")))
        await asyncio.sleep(0)
        model.go_on.set()
        assert await leader == "pets"
        assert await strict == await exact == "re: cats?"
        assert await like in ("pets", "re: cats?")  # which there is by then
        assert model.runs == ["cats?"]


@in_loop
async def test_when_the_leader_is_cancelled_while_it_embeds_the_next_leads(
    make: Make, model: Model
) -> None:
    async with make() as cache:
        await cache.aset(ask("cats are what?"), "pets")
        model.batches.clear()
        model.go_on.clear()
        leader = asyncio.create_task(cache.execute(ask("cats?")))
        await until(lambda: model.batches == [["cats?"]])
        follower = asyncio.create_task(cache.execute(ask("cats?")))
        await asyncio.sleep(0)
        leader.cancel()
        model.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert await follower == "pets"


@in_loop
async def test_an_embedder_that_fails_fails_no_call(make: Make, model: Model) -> None:
    def down(_: list[str]) -> Any:
        raise RuntimeError("down")

    async with make(model.semantic(embed=down)) as cache:
        assert await cache.execute(ask("cats?")) == "re: cats?"
        assert await cache.execute(ask("cats?")) == "re: cats?"
        assert model.runs == ["cats?"]  # the exact key counts all the same
        assert cache.stats().faults == 2  # for the look, and for the index


@in_loop
async def test_an_async_equal_is_awaited(make: Make, model: Model) -> None:
    async def equal(asked: str, stored: str) -> bool:
        return asked.endswith("!")

    async with make(model.semantic(equal=equal)) as cache:
        await cache.aset(ask("cats are what?"), "pets")
        assert await cache.aget(ask("cats?")) is MISSING
        assert await cache.aget(ask("cats!")) == "pets"


@in_loop
async def test_shadow_mode_and_verification_measure_wrong_hits(make: Make, model: Model) -> None:
    async with make(shadow=True) as shadowed, make(verify=1.0, name="verified") as verified:
        for cache in (shadowed, verified):
            await cache.execute(ask("cats are what?"))
            assert await cache.execute(ask("cats?")) == "re: cats?"

        def outcomes(cache: CachePrimitive, name: str) -> dict[str, int]:
            labels = cache.stats().tasks[name].semantic
            return {label.partition("/")[2]: count for label, count in labels.items()}

        assert outcomes(shadowed, "model") == {"shadow": 1, "different": 1}
        assert outcomes(verified, "verified") == {"hit": 1, "different": 1}
        assert shadowed.stats().tasks["model"].shadow == {"miss": 1, "hit": 1}


@in_loop
async def test_a_function_names_its_argument(model: Model, redis_server: Server) -> None:
    @cached(
        ttl=60, semantic=model.semantic(), backend="redis", redis_url=redis_server.url(), timeout=5
    )
    async def answer(prompt: str, tenant: str = "a") -> str:
        model.runs.append(prompt)
        return f"{tenant}: {prompt}"

    assert await answer("cats are what?") == "a: cats are what?"
    assert await answer("cats?") == "a: cats are what?"
    assert await answer("cats?", tenant="b") == "b: cats?"
    assert len(model.runs) == 2
    await answer.cache.primitive.aclose()


@in_loop
async def test_processes_share_the_index(model: Model, redis_server: Server) -> None:
    place: dict[str, Any] = {"backend": "redis", "redis_url": redis_server.url(), "timeout": 5.0}
    options = {"name": "model", "semantic": model.semantic(), "secret": "s", **place}
    async with CachePrimitive(model, **options) as here, CachePrimitive(model, **options) as there:
        await here.execute(ask("cats are what?"))
        assert await there.execute(ask("cats?")) == "re: cats are what?"


@in_loop
async def test_memory_that_is_full_hides_no_neighbour(model: Model) -> None:
    """Records of evicted entries leave the index once they have been candidates."""
    options: dict[str, Any] = {"max_size": 2, "semantic": model.semantic()}
    cache = CachePrimitive(model, name="model", **options)
    for i in range(20):
        await cache.aset(ask(f"cats {i}".translate(str.maketrans("0123456789", "abcdefghij"))), i)
    for _ in range(5):  # each removes those that it has read
        found = await cache.aget(ask("cats are what?"))
    assert found in (18, 19)
