"""The value that stands for no value: ``None`` is a result like any other."""

from __future__ import annotations

from typing import Final, final


@final
class Missing:
    """The type of ``MISSING``."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


#: What ``get`` returns when nothing is stored.
MISSING: Final = Missing()
