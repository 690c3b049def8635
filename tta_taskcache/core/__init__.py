"""The rules of the cache, pure: no Celery, no Redis, no clock, no logging, no threads."""
