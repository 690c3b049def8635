"""The API that users import: ``TaskCache``, ``CachedTask`` and ``task.cache``.

May import ``canvas`` and what lies below it.
"""
