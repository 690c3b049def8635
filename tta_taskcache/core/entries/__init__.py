"""Entries and leases, the marks that end them, and the decision whether an entry is served.

May import ``options`` and ``errors``.
"""
