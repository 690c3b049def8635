"""Patches of the result backend and of what waits for its results.

May import what lies below ``celery``.
"""
