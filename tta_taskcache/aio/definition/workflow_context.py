"""The context of a workflow, such as its user."""

from __future__ import annotations

from typing import Any


class WorkflowContext:
    """The context of a workflow, handed to each primitive that it executes.

    Args:
        workflow_id: Id of the workflow.
        user_id: Id of the user, if it runs for one.
        **values: Other values, such as ``tier="pro"``, which ``get`` returns.
    """

    def __init__(
        self, workflow_id: str | None = None, user_id: str | None = None, **values: Any
    ) -> None:
        self.workflow_id = workflow_id
        self.user_id = user_id
        self.values = values

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value by its name; ``workflow_id`` and ``user_id`` are names, too."""
        if name in ("workflow_id", "user_id"):
            value = getattr(self, name)
            return default if value is None else value
        return self.values.get(name, default)

    def __repr__(self) -> str:
        given = {"workflow_id": self.workflow_id, "user_id": self.user_id, **self.values}
        return (
            f"WorkflowContext({', '.join(f'{k}={v!r}' for k, v in given.items() if v is not None)})"
        )
