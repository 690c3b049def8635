"""Results: their bytes and back, remembered exceptions, special values, and differences.

May import ``options`` and ``errors``.
"""
