"""Stores of entries: memory of this process (L1), Redis (L2), and the circuit breaker around one.

A store executes commands (``protocol``), which are plain data, so the same engine drives it from
sync and asyncio code. Inside: ``redis`` above ``connections`` above ``exchanges``; ``memory`` above
``exchanges``; ``wrappers``. May import ``core`` only.
"""
