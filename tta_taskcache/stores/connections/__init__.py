"""Connections to Redis: one server, Sentinel or a cluster, within the deadline of an operation.

May import ``exchanges``.
"""
