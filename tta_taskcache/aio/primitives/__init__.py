"""What wraps async callables: ``CachePrimitive``, ``cached``, the router and the fallback.

May import ``definition`` and what lies below ``aio``.
"""
