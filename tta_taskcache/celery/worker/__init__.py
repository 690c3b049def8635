"""The worker's main process: answering hits without a pool slot, followers, leases, metrics.

May import ``api`` and what lies below it.
"""
