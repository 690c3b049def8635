"""``python -m tests.integration.traces opentelemetry``: the trees of all scenes, as JSON.

Each in a process of its own: SDKs change Celery for good, and Sentry's before Celery's worker is
imported. Without a name, the trees of all SDKs are put into docs/traces.md.
"""

import json
import sys
from importlib import import_module

from tests.integration.traces.document import write

SDKS = {"opentelemetry": "OpenTelemetry", "sentry": "Sentry"}

if len(sys.argv) > 1:
    name = sys.argv[1]
    sdk = getattr(import_module(f"tests.integration.traces.with_{name}"), SDKS[name])()
    played = import_module("tests.integration.traces.scenes").play(sdk)
    json.dump({"trees": played, "figures": sdk.figures()}, sys.stdout)
else:
    for name in SDKS:
        write(name)
