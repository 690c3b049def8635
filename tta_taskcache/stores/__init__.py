"""Where entries live: memory of this process (L1), Redis (L2), and what wraps them.

A store executes commands (``protocol``), which are plain data: the same engine then drives it from
sync and from asyncio code.
"""
