"""The API that users import: ``TaskCache``, ``CachedTask`` and ``task.cache``.

May import ``maintenance`` and what lies below it.
"""
