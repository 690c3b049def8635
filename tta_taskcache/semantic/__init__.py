"""Semantic keys: the index of texts, each process's copy of it, and the search for a neighbour.

It needs numpy (the extra ``semantic``), which is imported when a task with ``cache_semantic`` is
first looked up. Imports ``cache`` and what lies below it; knows neither Celery nor asyncio.
"""
