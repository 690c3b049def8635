"""For tests of stores and of code that uses the cache: clock, faults, and the stores' contract."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.contract")

from .clock import FakeClock  # noqa: E402 - asserts are rewritten from here on
from .contract import StoreContract, make_entry  # noqa: E402 - likewise
from .faults import FaultyStore  # noqa: E402 - likewise

__all__ = ["FakeClock", "FaultyStore", "StoreContract", "make_entry"]
