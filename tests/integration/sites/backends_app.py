"""The application of the integration tests, counting beside its cache: results may be anywhere."""

import json
import os

broker, backend, cache = (
    # Celery puts its variables above an app's own configuration.
    os.environ.pop(name)
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "TASKCACHE_URL")
)

from tests.integration.app import make_app  # noqa: E402 - it would make an app of the variables

conf = json.loads(os.environ.get("APP_CONF", "{}"))
app = make_app(cache, cache, cache, **{**conf, "broker_url": broker, "result_backend": backend})
