"""The cache's own tasks: queued invalidations and sweeps.

May import ``canvas`` and what lies below it.
"""
