"""Patches of the tracer, which runs a task: what it does beside the stored result, and Sentry's.

May import what lies below ``celery``.
"""
