"""Tasks of workers: a report of a summary of a user, each cached, asked for in several ways."""

import threading
from contextvars import copy_context
from typing import Any

from celery import group
from celery.result import allow_join_result

from tta_taskcache import cache_control


def ask(task: Any, how: str, *args: Any) -> Any:
    match how:
        case "get":
            return task.cache.get(*args) or task.cache.call(*args)
        case "thread":
            found: list[Any] = []
            act = (lambda: found.append(task.cache.call(*args)),)
            thread = threading.Thread(target=copy_context().run, args=act)
            thread.start()
            thread.join()
            return found[0]
        case "join":
            with allow_join_result():
                return task.delay(*args).get(timeout=30)
        case "group":
            with allow_join_result():
                return group(task.s(*args)).apply_async().get(timeout=30)[0]
    return task.cache.call(*args)


def define_chain(tasks: Any) -> None:
    def count(name: str, *args: Any) -> int:
        return int(tasks.counts.incr(":".join(map(str, (name, *args)))))

    @tasks.cached("made.user", cache_tags=("user:{tag}",), cache_key="{tag}")
    def user(tag: str) -> int:
        cache_control(tags=[f"row:{tag}"])
        return count("user", tag)

    @tasks.cached("made.summary", cache_key="{tag}", cache_ignore=("how",))
    def summary(tag: str, how: str) -> str:
        count("summary", tag)
        # A third process, to join that as well, isn't there.
        return f"summary of {ask(user, 'call' if how in ('join', 'group') else how, tag)}"

    @tasks.cached("made.report", cache_key="{tag}", cache_ignore=("how",))
    def report(tag: str, how: str) -> str:
        count("report", tag)
        return f"report of {ask(summary, how, tag, how)}"

    @tasks.cached(
        "made.token",
        cache_ttl=lambda result: result["expires_in"],
        cache_tags=lambda result: [f"account:{result['account']}"],
    )
    def token(tag: str, expires_in: float) -> dict[str, Any]:
        return {"expires_in": expires_in, "account": tag, "run": count("token", tag)}
