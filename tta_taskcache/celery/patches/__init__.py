"""All patches of Celery and kombu, and all access to their private names.

Each module patches one thing, and takes the replacement as an argument. The folders are named after
what is patched. docs/patches.md lists the modules with reasons. May import nothing of this library
but what lies below ``celery``.
"""
