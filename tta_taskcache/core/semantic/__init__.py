"""Semantic keys, the pure part: the option, the guard against opposite texts, the statistics.

May import ``errors``. The arithmetic of vectors is in ``tta_taskcache.semantic``.
"""
