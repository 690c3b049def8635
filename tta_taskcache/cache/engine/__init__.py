"""The engine and its parts: the reader, the judgement, the writer, the refresher; and sweeps.

May import ``runs`` and what lies below ``cache``.
"""
