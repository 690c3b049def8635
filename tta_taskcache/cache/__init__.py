"""The engine: plans that look up, lead or follow, fill and invalidate. It knows no Celery.

May import ``stores``, ``observability`` and ``core``.
"""
