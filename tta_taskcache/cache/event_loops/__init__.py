"""The cache in event loops: the driver of plans for asyncio, leases, and read-through.

May import ``leases``, ``engine`` and ``runs``.
"""
