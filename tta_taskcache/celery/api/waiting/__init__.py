"""Waiting on behalf of a caller: for results, in event loops, and for a database's commit.

May import ``canvas`` and what lies below it.
"""
