"""What is replaced of Celery and kombu, and what is reached into by a private name: all of it.

Each module is about one thing and takes what it puts in place as an argument. docs/patches.md lists
them with reasons. May import nothing of this library but what lies below ``celery``.
"""
