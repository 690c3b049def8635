"""All patches of Celery and kombu, and all access to their private names.

Each module patches one thing, and takes the replacement as an argument. docs/patches.md lists them
with reasons. May import nothing of this library but what lies below ``celery``.
"""
