"""FastAPI in front, Celery behind it: a page whose reports are computed once.

`python -m examples.web` starts a worker and the page, and says where it is (`--port`). The handlers
are `async`: a stored report is answered without a worker, another one is computed by one, and the
event loop waits for neither.
"""

import argparse
import os
import sys
import time
from typing import Any

import uvicorn
from celery import Celery
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from examples.analysis.demo.processes import running
from examples.embedded import redis
from tta_taskcache import CachedTask, TaskCache

tasks = Celery("web", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
tasks.conf.result_backend = os.environ.get("CELERY_RESULT_BACKEND", "cache+memory://")
tasks.conf.broker_connection_retry_on_startup = True
cache = TaskCache(tasks, os.environ.get("TASKCACHE_URL"), l1_max_staleness=0)


@tasks.task(base=CachedTask, name="web.report", cache_ttl=600, cache_tags=("region:{region}",))
def report(region: str) -> dict[str, Any]:
    """A report that takes a second."""
    time.sleep(1.0)
    return {"region": region, "total": sum(map(ord, region)) * 1_000, "computed_at": time.time()}


web = FastAPI(title="Reports")

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Reports</title>
<style>
  body { font: 16px sans-serif; max-width: 40em; margin: 3em auto; }
  td, th { padding: .3em 1em; text-align: right }
</style>
<h1>Reports</h1>
<form><label>Region <input name="region" value="north"></label>
<button>Show</button> <button type="button" id="end">Figures have changed</button></form>
<table><thead><tr><th>region<th>total<th>answered in</thead><tbody></tbody></table>
<script>
  const form = document.querySelector("form"), rows = document.querySelector("tbody");
  const url = () => "/reports/" + encodeURIComponent(form.region.value);
  form.onsubmit = async event => {
    event.preventDefault();
    const started = performance.now(), found = await (await fetch(url())).json();
    const row = rows.insertRow(0), took = Math.round(performance.now() - started);
    const cells = [found.region, found.total, took + " ms"];
    for (const text of cells) row.insertCell().textContent = text;
  };
  document.querySelector("#end").onclick = () => fetch(url(), {method: "DELETE"});
</script></html>"""


@web.get("/", response_class=HTMLResponse)
async def page() -> str:
    """The page."""
    return PAGE


@web.get("/reports/{region:path}")
async def show(region: str) -> dict[str, Any]:
    """A report: stored, or computed by a worker."""
    found: dict[str, Any] = await report.cache.acall(region)
    return found


@web.delete("/reports/{region:path}", status_code=204)
async def end(region: str) -> None:
    """The figures of a region have changed: its reports end, everywhere, now."""
    await cache.ainvalidate(tags=[f"region:{region}"])


def main() -> None:
    """Start a server, if none is named, a worker and the page."""
    parser = argparse.ArgumentParser(prog="examples.web")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    with (
        redis() as (folder, env),
        running(
            [sys.executable, "-m", "celery", "-A", "examples.web:tasks", "worker", "-c", "2"],
            folder / "worker.log",
            {**os.environ, **env},
        ),
    ):
        # This process was started before there were URLs.
        tasks.conf.update(
            broker_url=env["CELERY_BROKER_URL"], result_backend=env["CELERY_RESULT_BACKEND"]
        )
        TaskCache(tasks, env["TASKCACHE_URL"])
        print(f"http://127.0.0.1:{port}", flush=True)
        uvicorn.run(web, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    # Under its name: the worker imports this module, and both mean the same tasks.
    from examples import web as module

    module.main()
