"""The commands of ``celery -A proj cache``: one module each, of the command's name.

May import ``cli``'s other modules and all that lies below ``cli``.
"""
