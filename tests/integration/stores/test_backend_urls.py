"""Each Redis URL that Celery takes for results is taken for the cache."""

import pytest
from celery import Celery

from tta_taskcache import TaskCache

pytestmark = pytest.mark.one_server_kind


@pytest.mark.parametrize(
    "url",
    [
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=CERT_NONE",
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=CERT_REQUIRED",
        "redis+socket:///nowhere/redis.sock?virtual_host=3",
    ],
)
def test_any_redis_url_that_celery_takes_for_results_is_taken(url: str) -> None:
    app = Celery("review", broker="memory://", backend=url, set_as_current=False)
    assert app.backend.connparams  # Celery takes it
    store = TaskCache(app).runtime.store.store
    pool = store.client.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    assert connection.db == app.backend.connparams["db"]
    if "ssl" in url:
        assert connection.cert_reqs == app.backend.connparams["ssl_cert_reqs"]
