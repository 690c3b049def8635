"""The rules of the cache, pure: no Celery, no Redis, no clock, no logging, no threads.

Time and chance are arguments. May import ``errors`` only.
"""
