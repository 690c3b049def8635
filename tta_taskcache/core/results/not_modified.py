"""The return value of a run that has found its previous result unchanged (promise D4)."""

from __future__ import annotations

from enum import Enum
from typing import Final


class NotModified(Enum):
    """The type of ``NOT_MODIFIED``: of one member, so that type checkers understand it."""

    NOT_MODIFIED = "NOT_MODIFIED"

    def __repr__(self) -> str:
        return "NOT_MODIFIED"


#: What a run returns to renew its previous entry in place; its callers get the previous value.
NOT_MODIFIED: Final = NotModified.NOT_MODIFIED
