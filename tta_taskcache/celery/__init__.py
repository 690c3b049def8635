"""The only part that knows Celery."""
