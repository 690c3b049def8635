"""The only part that knows Celery.

The folders, from the top down; each may import those below it:

- ``cli``: ``celery -A proj cache …``
- ``worker``: the worker's main process
- ``api``: ``TaskCache``, ``CachedTask`` and ``task.cache``, which users import
- ``maintenance``: the cache's own tasks
- ``canvas``: groups, chords and maps
- ``sites``: where a call is answered: at the producer, in the pool
- ``lookup``: finding an answer, or running the call and storing what it returns
- ``warming``: making calls before anybody asks for them
- ``calls``: the call and what is known of it
- ``doctor``: judgements on a cache's health
- ``config``: settings, options, and the cache of a process that is made of them
- ``patches``: what is replaced of Celery and kombu

All of them may import what lies below: ``cache``, ``stores``, ``observability`` and ``core``.
"""
