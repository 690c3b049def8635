"""S4: whatever workflow hypothesis makes up, it comes out as with plain tasks.

`CONFORMANCE_EXAMPLES` says how many; `make conformance` makes up two thousand.
"""

import os

import pytest
from celery.canvas import Signature
from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance import generated
from tests.conformance.app import CACHED
from tests.conformance.cases import Build
from tests.conformance.comparing import compare, run_plain
from tests.conformance.generated import Workflow
from tests.conformance.harness import Harness

pytestmark = [pytest.mark.one_server_kind, pytest.mark.timeout(0)]

EXAMPLES = int(os.environ.get("CONFORMANCE_EXAMPLES", "100"))


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(workflow=generated.workflows)
def test_s4_any_workflow_as_if_it_had_run(prefork: Harness, workflow: Workflow) -> None:
    def case(b: Build) -> Signature:
        return generated.build(b, workflow)

    plain = run_plain(prefork, case)
    for kind in CACHED:
        ran = compare(prefork, kind, case, plain)
        # What comes later isn't answered at the producer (S5).
        assert not ran or (kind == "producer" and "countdown" in repr(workflow)), ran
