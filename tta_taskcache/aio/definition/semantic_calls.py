"""The semantic keys of a primitive: what of a call is compared, and how near is near enough."""

from __future__ import annotations

from typing import Any

from ...cache.event_loops.async_read_through import DIRECT
from ...core.events import Fault
from ...core.options.policy import Policy
from ...core.record import record
from ...core.semantic.semantic_policy import read_threshold
from ...errors import UncacheableCall
from ...semantic.neighbour_lookup import CallNeighbours
from .primitive_keys import KeyerOfPrimitive
from .primitive_runtime import PrimitiveRuntime


@record
class SemanticCalls:
    """Makes the neighbours of a primitive's calls.

    Attributes:
        name: The primitive's name.
        policy: Its policy.
        keyer: Computes its keys.
        runtime: Its cache.
    """

    name: str
    policy: Policy
    keyer: KeyerOfPrimitive
    runtime: PrimitiveRuntime

    def neighbours(
        self, data: Any, context: Any, asked: float | bool | None
    ) -> CallNeighbours | None:
        """Return the neighbours of a call; None when it is compared with none. Raises no fault.

        Args:
            data: The call's data.
            context: Its context.
            asked: The threshold that it asks for; False for no neighbour, None for the primitive's.

        Raises:
            ValueError: The threshold isn't allowed.
        """
        semantic = self.policy.semantic
        if semantic is None:
            if asked is None or asked is False:
                return None
            raise ValueError(
                f"semantic={asked!r}: primitive {self.name!r} has no semantic keys; allowed: False"
            )
        threshold = read_threshold(asked, semantic.threshold, "semantic")
        parts = self.runtime.engine.parts
        try:
            about = self.keyer.semantic_call(data, context, parts.secret)
        except UncacheableCall:
            return None
        except Exception as error:  # noqa: BLE001 - a key_fn may need a text
            parts.observe(Fault(self.name, "semantic", error))
            return None
        if about is None:
            return None
        return CallNeighbours(self.runtime.neighbours, about, threshold, DIRECT)
