"""The engine and its parts: the reader, the writer, the refresher; sweeps, and comparing runs.

May import ``runs`` and what lies below ``cache``.
"""
