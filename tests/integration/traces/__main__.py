"""``python -m tests.integration.traces opentelemetry threads``: the trees of all scenes, as JSON.

Each in a process of its own: SDKs change Celery for good, and Sentry's before Celery's worker is
imported. Without a name, the trees are put into docs/traces.md.
"""

import json
import sys
from importlib import import_module

from tests.integration.traces.document import DOCUMENTED, write

if len(sys.argv) > 1:
    played = import_module("tests.integration.traces.scenes").play(*sys.argv[1:])
    json.dump(played, sys.stdout)
else:
    for name in DOCUMENTED:
        write(name)
