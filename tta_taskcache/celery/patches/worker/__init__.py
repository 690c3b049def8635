"""Patches of the worker: its consumer, event loop, prefetch count, failures and revoked calls.

May import what lies below ``celery``.
"""
