"""Leases in a process: single-flight, the leases that are held, and the thread that renews them.

May import ``engine``.
"""
