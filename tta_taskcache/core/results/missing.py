"""The value that stands for no value: ``None`` is a result like any other."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Missing(Enum):
    """The type of ``MISSING``: of one member, so that type checkers understand ``is MISSING``."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


#: Return value of ``get`` when nothing is stored: ``None`` is a result like any other.
MISSING: Final = Missing.MISSING
