"""The run in progress: what it decides, the keys that it leads, and the hit in a run's place.

May import ``cache.outcome`` and what lies below ``cache``.
"""
