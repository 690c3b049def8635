"""Batches: calls of tasks with ``cache_each``, whose items have an entry each (promise D5).

May import ``lookup`` and what lies below it.
"""
