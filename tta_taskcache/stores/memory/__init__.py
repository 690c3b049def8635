"""What is in the memory of this process: L1, and the store of apps without Redis.

May import ``exchanges``, for the replies of the ledger.
"""
