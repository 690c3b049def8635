"""The rules of the cache, pure: no Celery, no Redis, no clock, no logging, no threads.

Time and chance are arguments. Inside: ``identity`` and ``results`` above ``options`` above
``arguments``; ``entries``; ``semantic``. May import ``errors`` only.
"""
