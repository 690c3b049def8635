"""L2, the store on Redis, sync and asyncio; its scanner, its health, and the warming's data.

May import ``connections`` and ``exchanges``.
"""
