"""The only part that knows Celery.

The folders, from the top down; each may import those below it:

- ``cli``: ``celery -A proj cache …``
- ``worker``: the worker's main process
- ``api``: ``TaskCache``, ``CachedTask`` and ``task.cache``, which users import
- ``canvas``: groups, chords and maps
- ``sites``: the sites that answer a call, producer and pool, and its completion
- ``lookup``: looking a call up, or running it and storing its result
- ``warming``: making calls ahead of demand, and the cache's own tasks
- ``calls``: the call request, the lookup result and the context of a call
- ``doctor``: findings on a cache's health
- ``config``: settings, options, and the runtime that they configure
- ``patches``: all patches of Celery and kombu

All of them may import what lies below: ``cache``, ``stores``, ``observability`` and ``core``.
"""
