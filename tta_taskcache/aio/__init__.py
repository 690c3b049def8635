"""The cache for asyncio: primitives that wrap async callables. It knows no Celery."""
