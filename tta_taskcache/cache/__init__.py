"""The engine: plans that look up, lead or follow, fill and invalidate. It knows no Celery.

Inside: ``event_loops`` above ``leases`` above ``engine`` above ``runs``. May import ``stores``,
``observability`` and ``core``.
"""
