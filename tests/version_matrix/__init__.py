"""The tests on other versions of Celery, kombu and redis-py than the lock's (`make matrix`)."""
