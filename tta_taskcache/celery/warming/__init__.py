"""Warming, once or on schedule; and the cache's own tasks, which warm, invalidate and sweep.

May import ``calls`` and what lies below it.
"""
