"""The cache for asyncio: primitives that wrap async callables. It knows no Celery.

Inside: ``primitives`` above ``definition``. May import ``cache`` and what lies below it.
"""
