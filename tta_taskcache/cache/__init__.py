"""The engine: look up, run, fill, invalidate. It knows stores and policies, not Celery."""
